#include "tests/sim/feed_room.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "index/signing_key.h"
#include "tests/sim/made_keys.h"

namespace shoal::sim {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

// One way between two hosts of a data centre, with the handling at both ends.
constexpr Duration kDelayMin = std::chrono::microseconds(500);
constexpr std::uint64_t kDelaySpreadUs = 1500;
// After so long whoever sent it takes it for lost.
constexpr Duration kLost = seconds(1);

class Room {
 public:
  explicit Room(const FeedRoomOptions& options)
      : options_(options), rng_(options.seed), scheduled_(options.hosts, kNever) {
    const index::Feed::Ports ports{
        [](const PeerId&, std::string_view) -> ::shoal::Result<WallTime> {
          return WallTime::max();
        },
        [] { return std::string(); }};
    for (std::uint32_t i = 0; i < options.hosts; ++i) {
      const auto key = KeyOf(i);
      numbers_[key.id()] = i;
      ids_.push_back(key.id());
      feeds_.push_back(
          std::make_unique<index::Feed>(index::FeedLimits{}, "open", key, ports, Rng(rng_.Next())));
    }
    // Everybody comes within ten seconds.
    const bool all = options.known + 1 >= options.hosts;
    const std::uint32_t each = all ? options.hosts : options.known / 2;
    for (std::uint32_t i = 0; i < options.hosts; ++i) {
      for (std::uint32_t n = 0; n < each; ++n) {
        const auto other = all ? n : static_cast<std::uint32_t>(rng_.Below(options.hosts));
        if (other == i || (all && other > i)) continue;
        Push(now_ + Duration(static_cast<std::int64_t>(rng_.Below(10'000'000))), i, other, {},
             Kind::kMeet);
      }
    }
    Run(seconds(30));
  }

  FeedSpread Say(int count, int number) {
    FeedSpread spread;
    spread.messages = count;
    const auto copies_before = Copies();
    const auto frames_before = frames_;
    const auto bytes_before = bytes_;
    for (int i = 0; i < count; ++i) {
      given_at_.clear();
      const Time begun = now_;
      const auto writer = static_cast<std::uint32_t>(rng_.Below(options_.hosts));
      index::FeedActions actions;
      auto said =
          feeds_[writer]->Publish(now_, Wall(), "test", "topic-" + std::to_string(number + i), "{}",
                                  std::chrono::hours(1), actions);
      SHOAL_CHECK(said.ok());
      Do(writer, actions);
      Run(seconds(options_.loss > 0 ? 90 : 5));
      spread.given += given_at_.size();
      std::ranges::sort(given_at_);
      spread.half = std::max(spread.half, given_at_[given_at_.size() / 2] - begun);
      spread.last = std::max(spread.last, given_at_.back() - begun);
    }
    const double all = static_cast<double>(count) * options_.hosts;
    spread.copies = static_cast<double>(Copies() - copies_before) / (all - count);
    spread.frames = static_cast<double>(frames_ - frames_before) / all;
    spread.bytes = static_cast<double>(bytes_ - bytes_before) / all;
    return spread;
  }

  // Frames and bytes of a member a minute.
  std::pair<double, double> BeQuiet(Duration time) {
    const auto frames_before = frames_;
    const auto bytes_before = bytes_;
    Run(time);
    const double member_minutes =
        static_cast<double>(time.count()) / 60e6 * static_cast<double>(options_.hosts);
    return {static_cast<double>(frames_ - frames_before) / member_minutes,
            static_cast<double>(bytes_ - bytes_before) / member_minutes};
  }

 private:
  enum class Kind : std::uint8_t { kFrame, kFailed, kMeet, kDeadline };
  struct Event {
    Time at;
    std::uint64_t order;
    std::uint32_t host;
    std::uint32_t other;
    Kind kind;
    std::shared_ptr<const index::FeedFrame> frame;  // owners: the copies of this event
    bool operator<(const Event& than) const {
      return std::tie(at, order) > std::tie(than.at, than.order);
    }
  };

  [[nodiscard]] WallTime Wall() const {
    return FromUnixMs(1'790'000'000'000) + now_.time_since_epoch();
  }
  [[nodiscard]] std::int64_t Copies() const {
    std::int64_t copies = 0;
    for (const auto& feed : feeds_) copies += feed->counts().copies;
    return copies;
  }

  void Push(Time at, std::uint32_t host, std::uint32_t other,
            std::shared_ptr<const index::FeedFrame> frame, Kind kind) {
    events_.push({at, ++order_, host, other, kind, std::move(frame)});
  }

  void Do(std::uint32_t host, index::FeedActions& actions) {
    for (std::size_t i = 0; i < actions.changes.given.size(); ++i) given_at_.push_back(now_);
    for (auto& send : actions.sends) {
      if (send.frame.empty()) continue;
      ++frames_;
      bytes_ += index::EncodeFeedFrame(send.frame).size();
      const std::uint32_t to = numbers_.at(send.to);
      const Time at =
          now_ + kDelayMin + Duration(static_cast<std::int64_t>(rng_.Below(kDelaySpreadUs)));
      if (rng_.Unit() < options_.loss) {
        Push(now_ + kLost, host, to, {}, Kind::kFailed);
      } else {
        Push(at, to, host, std::make_shared<const index::FeedFrame>(std::move(send.frame)),
             Kind::kFrame);
      }
    }
    const Time next = std::max(feeds_[host]->NextDeadline(), now_ + milliseconds(1));
    if (next >= scheduled_[host]) return;
    scheduled_[host] = next;
    Push(next, host, host, {}, Kind::kDeadline);
  }

  void Take(const Event& event) {
    index::FeedActions actions;
    index::Feed& feed = *feeds_[event.host];
    switch (event.kind) {
      case Kind::kFrame:
        feed.OnFrame(now_, Wall(), ids_[event.other], *event.frame, actions);
        break;
      case Kind::kFailed:
        feed.OnSendFailed(now_, ids_[event.other], actions);
        break;
      case Kind::kMeet: {
        index::FeedActions theirs;
        feeds_[event.other]->OnMember(now_, ids_[event.host], theirs);
        Do(event.other, theirs);
        feed.OnMember(now_, ids_[event.other], actions);
        break;
      }
      case Kind::kDeadline:
        if (scheduled_[event.host] != event.at) return;
        scheduled_[event.host] = kNever;
        feed.OnDeadline(now_, Wall(), actions);
        break;
    }
    Do(event.host, actions);
  }

  void Run(Duration time) {
    const Time end = now_ + time;
    while (!events_.empty() && events_.top().at <= end) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      Take(event);
    }
    now_ = end;
  }

  FeedRoomOptions options_;
  Rng rng_;
  Time now_{seconds(1000)};
  std::vector<PeerId> ids_;
  std::unordered_map<PeerId, std::uint32_t> numbers_;
  std::vector<std::unique_ptr<index::Feed>> feeds_;
  std::vector<Time> scheduled_;
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  std::vector<Time> given_at_;
  std::uint64_t frames_ = 0;
  std::uint64_t bytes_ = 0;
};

std::string Line(const char* what, const FeedSpread& spread, std::uint64_t hosts) {
  const auto ms = [](Duration time) { return duration_cast<milliseconds>(time).count(); };
  return fmt::format(
      "{:<10} given {} of {}   copies {:.2f}   frames {:.2f}   bytes {:.0f}   "
      "half {} ms   last {} ms\n",
      what, spread.given, hosts * static_cast<std::uint64_t>(spread.messages), spread.copies,
      spread.frames, spread.bytes, ms(spread.half), ms(spread.last));
}

}  // namespace

FeedRoomResult RunFeedRoom(const FeedRoomOptions& options) {
  Room room(options);
  FeedRoomResult result;
  result.hosts = options.hosts;
  result.first = room.Say(1, 0);
  result.later = room.Say(options.messages, 1);
  std::tie(result.quiet_frames, result.quiet_bytes) = room.BeQuiet(options.quiet);
  return result;
}

std::string ToTable(const FeedRoomOptions& options, const FeedRoomResult& result) {
  return fmt::format("feed: {} hosts, seed {}, loss {}, each knows {} members\n", options.hosts,
                     options.seed, options.loss, std::min(options.known, options.hosts - 1)) +
         Line("first", result.first, result.hosts) + Line("later", result.later, result.hosts) +
         fmt::format("quiet      a member sends {:.1f} frames and {:.0f} bytes a minute\n",
                     result.quiet_frames, result.quiet_bytes);
}

}  // namespace shoal::sim
