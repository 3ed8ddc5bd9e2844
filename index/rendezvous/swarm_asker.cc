#include "index/rendezvous/swarm_asker.h"

#include <boost/asio/post.hpp>
#include <iterator>

namespace shoal::index {

void SwarmAsker::Ask(const SwarmAsk& ask, PeerIndex::OnSwarm done) {
  if (stopped_) return;
  if (waiting_.size() == kWaiting) return GiveUp({{ask, std::move(done)}});
  waiting_.push_back({ask, std::move(done)});
  if (flush_posted_) return;
  // Behind what was posted in the same moment.
  flush_posted_ = true;
  boost::asio::post(ports_.context, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->flush_posted_ = false;
      self->Flush();
    }
  });
}

void SwarmAsker::Flush() {
  while (!stopped_ && !waiting_.empty() && requests_ < kUnderWay) {
    const auto count = static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kSwarmAsksMax));
    std::vector<Asking> askings(std::make_move_iterator(waiting_.begin()),
                                std::make_move_iterator(waiting_.begin() + count));
    waiting_.erase(waiting_.begin(), waiting_.begin() + count);
    SwarmRequest request;
    for (const auto& asking : askings) request.asks.push_back(asking.ask);
    request.known = Known();
    const auto id = ++last_id_;
    const bool sent = ports_.send(
        std::move(request), [weak = weak_from_this(), id](const Result<ServerAnswer>& answer) {
          if (const auto self = weak.lock()) self->OnAnswer(id, answer);
        });
    if (!sent) {
      GiveUp(std::move(askings));
      continue;
    }
    ++requests_;
    auto& batch =
        under_way_.emplace(id, Batch{std::move(askings), boost::asio::steady_timer(ports_.context)})
            .first->second;
    batch.timer.expires_after(kPatience);
    batch.timer.async_wait([weak = weak_from_this(), id](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || self == nullptr) return;
      const auto it = self->under_way_.find(id);
      if (it == self->under_way_.end()) return;
      auto late = std::move(it->second.askings);
      self->under_way_.erase(it);
      self->GiveUp(std::move(late));
    });
  }
}

void SwarmAsker::OnAnswer(std::uint64_t id, const Result<ServerAnswer>& answer) {
  if (stopped_) return;
  --requests_;
  const auto it = under_way_.find(id);
  if (it != under_way_.end()) {
    auto askings = std::move(it->second.askings);
    under_way_.erase(it);
    const bool fits = answer && answer->error.ok() && answer->swarms.size() == askings.size();
    if (!fits) {
      GiveUp(std::move(askings));
    } else {
      const Time until = SteadyNow() + kKnownLife;
      for (const auto& record : answer->records) known_[record.id()] = until;
      ports_.deliver(answer->records, [askings = std::move(askings), swarms = answer->swarms] {
        for (std::size_t i = 0; i < askings.size(); ++i) {
          const bool same = swarms[i].first == askings[i].ask.digest;
          askings[i].done(same ? std::optional(swarms[i].second) : std::nullopt);
        }
      });
    }
  }
  Flush();
}

void SwarmAsker::GiveUp(std::vector<Asking> askings) {
  ports_.deliver({}, [askings = std::move(askings)] {
    for (const auto& asking : askings) asking.done(std::nullopt);
  });
}

std::vector<PeerPrefix> SwarmAsker::Known() {
  const Time now = SteadyNow();
  std::erase_if(known_, [now](const auto& entry) { return entry.second <= now; });
  std::vector<PeerPrefix> out;
  for (const auto& [peer, until] : known_) {
    if (out.size() == kSwarmKnownMax) break;
    out.push_back(PrefixOf(peer));
  }
  return out;
}

void SwarmAsker::Stop() {
  stopped_ = true;
  waiting_.clear();
  under_way_.clear();
}

}  // namespace shoal::index
