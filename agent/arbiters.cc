#include "agent/arbiters.h"

#include <algorithm>
#include <utility>

namespace shoal::agent {

// One asking: answers by rank, the index server before all peers.
struct Arbiters::Round {
  struct Place {
    bool over = false;
    std::optional<index::SwarmAnswer> answer;
  };
  std::vector<Place> places;
  Met met;
  Done done;
  std::optional<std::size_t> told;  // the rank of the answer that was passed on; the last for none
  bool for_slots = false;
  bool is_late = false;  // better ones than have answered are not waited for
  bool is_over = false;  // nobody is
};

struct Arbiters::UnderWay {
  Time since;
  index::SwarmAsk ask;
  std::shared_ptr<Round> round;  // the newest that goes by its answer
  std::size_t rank;              // there
};

namespace {

// But for how far it is: the arbiter hears of that with the next.
bool SaysTheSame(const index::SwarmAsk& one, index::SwarmAsk other) {
  other.progress = one.progress;
  return one == other;
}

}  // namespace

Arbiters::Arbiters(Ports ports)
    : ports_(std::move(ports)),
      table_(index::SwarmLimits{}),
      under_way_(std::make_shared<UnderWays>()) {}

void Arbiters::Send(const std::optional<PeerId>& to, const index::SwarmAsk& ask,
                    std::shared_ptr<Round> round, std::size_t rank) {
  std::shared_ptr<UnderWay>& last = (*under_way_)[{to, ask.digest}];
  const Time now = ports_.loop.Now();
  const bool is_late = ask.wants_lead && last && now - last->since >= kRenewAgain;
  if (last && SaysTheSame(last->ask, ask) && !is_late) {
    last->round = std::move(round);
    last->rank = rank;
    return;
  }
  const auto own = std::make_shared<UnderWay>(UnderWay{now, ask, std::move(round), rank});
  last = own;
  Done done = [own, to, all = under_way_](std::optional<index::SwarmAnswer> answer) {
    const auto it = all->find({to, own->ask.digest});
    if (it != all->end() && it->second == own) all->erase(it);
    Take(own->round, own->rank, std::move(answer));
  };
  if (to) {
    ports_.ask_peer(*to, ask, std::move(done));
  } else {
    ports_.ask_server(ask, std::move(done));
  }
}

void Arbiters::Ask(const index::SwarmAsk& ask, Met met, Done done) {
  std::vector<PeerId> peers = ports_.living(ask.digest);
  peers.push_back(ports_.self);
  const std::vector<PeerId> best = index::RankArbiters(ask.digest, peers, kArbiters);
  const std::size_t servers = has_server() ? 1 : 0;

  auto round = std::make_shared<Round>();
  round->places.resize(servers + best.size());
  round->met = std::move(met);
  round->done = std::move(done);
  round->for_slots = ask.slots.has_value();
  if (servers > 0) {
    Send(std::nullopt, ask, round, 0);
  }
  for (std::size_t i = 0; i < best.size(); ++i) {
    if (best[i] == ports_.self) {
      index::SwarmAsk own = ask;
      if (ports_.table_key) own.digest = ports_.table_key(ask.digest);
      Take(round, servers + i, table_.OnAsk(ports_.loop.Now(), own));
    } else {
      Send(best[i], ask, round, servers + i);
    }
  }
  const auto after = [&](Duration patience, bool Round::*passed) {
    ports_.loop.After(patience, [round, passed] {
      (*round).*passed = true;
      Decide(*round);
    });
  };
  after(ask.slots ? kSlotArbiterPatience : kArbiterPatience, &Round::is_late);
  after(ask.slots ? kSlotArbiterPatience : kSilencePatience, &Round::is_over);
}

void Arbiters::Take(const std::shared_ptr<Round>& round, std::size_t rank,
                    std::optional<index::SwarmAnswer> answer) {
  Round::Place& place = round->places[rank];
  if (answer && round->for_slots && !answer->slots) answer.reset();  // it keeps none
  if (answer && !answer->members.empty()) round->met(answer->members);
  place.over = true;
  place.answer = std::move(answer);
  Decide(*round);
}

// The best ranked of those that answered, as soon as nobody ranks better who still may.
void Arbiters::Decide(Round& round) {
  if (round.told && round.for_slots) return;
  const auto may_answer = [](const Round::Place& place) { return !place.over; };
  const auto first = std::ranges::find_if(round.places, [&](const Round::Place& place) {
    return place.answer || (may_answer(place) && !round.is_late && !round.told);
  });
  const bool any = first != round.places.end();
  if (any && !first->answer) return;
  if (!any && !round.is_over && std::ranges::any_of(round.places, may_answer)) return;
  const auto rank = static_cast<std::size_t>(first - round.places.begin());
  if (round.told && rank >= *round.told) return;
  round.told = rank;
  round.done(any ? first->answer : std::nullopt);
}

index::SwarmAnswer Arbiters::OnAsk(const index::SwarmAsk& ask) {
  return table_.OnAsk(ports_.loop.Now(), ask);
}

}  // namespace shoal::agent
