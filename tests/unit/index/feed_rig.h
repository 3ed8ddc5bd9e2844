// A room of simulated hosts, each with a Feed, and a network between them that can lose, cut and
// delay. No real time.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "index/feed.h"
#include "tests/unit/index/rooms.h"

namespace shoal::index {

using namespace std::chrono_literals;

class FeedRig {
 public:
  struct Host {
    int number = 0;
    std::unique_ptr<Feed> feed;
    std::vector<FeedName> given;
    std::vector<std::string> topics;
    Time last_given{};
    bool up = true;
    int side = 0;  // of a cut; hosts of different sides do not reach each other
  };

  explicit FeedRig(int hosts, std::uint64_t seed = 1, FeedLimits limits = {})
      : limits_(limits), rng_(seed) {
    for (int i = 0; i < hosts; ++i) Add();
  }

  // A newcomer that learns of all, and all of it.
  int Add() {
    const int number = static_cast<int>(hosts_.size());
    auto host = std::make_unique<Host>();
    host->number = number;
    Feed::Ports ports{[this](const PeerId& writer, std::string_view) -> Result<WallTime> {
                        if (out_.contains(writer)) return Error{Code::kDenied, "it is revoked"};
                        return TestWall() + kDay * 30;
                      },
                      [] { return std::string(); }};
    host->feed = std::make_unique<Feed>(limits_, "open", KeyNo(number + 1), std::move(ports),
                                        Rng(rng_.Next()));
    numbers_[KeyNo(number + 1).id()] = number;
    hosts_.push_back(std::move(host));
    for (int other = 0; other < number; ++other) Meet(number, other);
    return number;
  }

  void Meet(int one, int other) {
    FeedActions mine;
    At(one).feed->OnMember(now_, IdOf(other), mine);
    Do(one, mine);
    FeedActions theirs;
    At(other).feed->OnMember(now_, IdOf(one), theirs);
    Do(other, theirs);
  }
  void Part(int one, int other) {
    FeedActions mine;
    At(one).feed->OnMemberGone(now_, IdOf(other), mine);
    Do(one, mine);
    FeedActions theirs;
    At(other).feed->OnMemberGone(now_, IdOf(one), theirs);
    Do(other, theirs);
  }
  // From now on, and until Heal; those of different sides find that out at once.
  void Cut(const std::function<int(int)>& side) {
    for (auto& host : hosts_) host->side = side(host->number);
    EachCutPair([this](int one, int other) { Part(one, other); });
  }
  void Heal() {
    std::vector<std::pair<int, int>> pairs;
    EachCutPair([&](int one, int other) { pairs.emplace_back(one, other); });
    for (auto& host : hosts_) host->side = 0;
    for (const auto& [one, other] : pairs) Meet(one, other);
  }

  FeedName Publish(int host, const std::string& topic, Duration life = 1h) {
    FeedActions actions;
    auto name = At(host).feed->Publish(now_, Wall(), "test", topic, "{}", life, actions);
    EXPECT_TRUE(name) << name.error().text;
    Do(host, actions);
    return name ? *name : FeedName{};
  }
  void Frame(int host, int from, const FeedFrame& frame) {
    FeedActions actions;
    At(host).feed->OnFrame(now_, Wall(), IdOf(from), frame, actions);
    Do(host, actions);
  }
  void Revoke(int host) {
    out_.insert(IdOf(host));
    for (auto& each : hosts_) {
      FeedActions actions;
      each->feed->OnWritersChanged(Wall(), actions);
      Do(each->number, actions);
    }
  }

  void Run(Duration duration) {
    const Time end = now_ + duration;
    for (;;) {
      Time next = queue_.empty() ? kNever : queue_.top().at;
      for (const auto& host : hosts_) {
        if (host->up) next = std::min(next, std::max(now_, host->feed->NextDeadline()));
      }
      if (next > end) break;
      Step(next);
    }
    now_ = end;
    for (const auto& host : hosts_) host->feed->CheckInvariants();
  }

  Host& At(int host) { return *hosts_[static_cast<std::size_t>(host)]; }
  [[nodiscard]] int count() const { return static_cast<int>(hosts_.size()); }
  static PeerId IdOf(int host) { return KeyNo(host + 1).id(); }
  [[nodiscard]] WallTime Wall() const { return TestWall() + (now_ - Time{}); }
  [[nodiscard]] Time now() const { return now_; }
  // Hosts that were given it.
  int Reached(const FeedName& name) {
    return static_cast<int>(std::ranges::count_if(
        hosts_, [&](const auto& host) { return std::ranges::count(host->given, name) == 1; }));
  }
  [[nodiscard]] std::int64_t Copies() const {
    std::int64_t copies = 0;
    for (const auto& host : hosts_) copies += host->feed->counts().copies;
    return copies;
  }

  double loss = 0;        // of frames, which the sender hears of
  double quiet_loss = 0;  // and of those of which it does not
  std::int64_t frames = 0;

 private:
  struct Event {
    Time at;
    std::uint64_t order;
    int to;
    int from;
    FeedFrame frame;
    bool failed = false;  // `to` hears that what it sent to `from` did not arrive
    bool operator<(const Event& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };

  void EachCutPair(const std::function<void(int, int)>& work) {
    for (int one = 0; one < count(); ++one) {
      for (int other = 0; other < one; ++other) {
        if (At(one).side != At(other).side) work(one, other);
      }
    }
  }

  void Step(Time next) {
    now_ = next;
    if (!queue_.empty() && queue_.top().at <= now_) {
      const Event event = queue_.top();
      queue_.pop();
      if (!At(event.to).up) return;
      FeedActions actions;
      if (event.failed) {
        At(event.to).feed->OnSendFailed(now_, IdOf(event.from), actions);
      } else {
        At(event.to).feed->OnFrame(now_, Wall(), IdOf(event.from), event.frame, actions);
      }
      Do(event.to, actions);
      return;
    }
    for (const auto& host : hosts_) {
      if (!host->up || host->feed->NextDeadline() > now_) continue;
      FeedActions actions;
      host->feed->OnDeadline(now_, Wall(), actions);
      Do(host->number, actions);
    }
  }

  void Do(int host, const FeedActions& actions) {
    Host& own = At(host);
    for (const auto& message : actions.changes.given) {
      own.given.push_back(message->name());
      own.topics.push_back(message->word().topic);
      own.last_given = now_;
    }
    for (const auto& send : actions.sends) {
      if (send.frame.empty()) continue;
      const std::string text = EncodeFeedFrame(send.frame);
      EXPECT_LE(text.size(), kFeedFrameBytesMax);
      auto read = DecodeFeedFrame(text);
      ASSERT_TRUE(read) << read.error().text;
      EXPECT_EQ(*read, send.frame);
      ++frames;
      const int to = numbers_.at(send.to);
      const Time at = now_ + 1ms + Duration(static_cast<std::int64_t>(rng_.Below(1000)));
      if (!At(to).up || At(to).side != own.side || rng_.Unit() < loss) {
        queue_.push({at, ++order_, host, to, {}, true});
      } else if (rng_.Unit() >= quiet_loss) {
        queue_.push({at, ++order_, to, host, *std::move(read)});
      }
    }
  }

  FeedLimits limits_;
  Rng rng_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::map<PeerId, int> numbers_;
  std::set<PeerId> out_;  // whose word does not count
  std::priority_queue<Event> queue_;
  std::uint64_t order_ = 0;
  Time now_{std::chrono::seconds(1000)};
};

}  // namespace shoal::index
