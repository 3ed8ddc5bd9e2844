// Preheats: says in a room's feed that an image is wanted, follows what members answer, and does
// what others have said (docs/FEED.md, "Preheat"). On the loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/feeds.h"
#include "agent/preheat_report.h"
#include "agent/rooms.h"
#include "base/digest.h"
#include "base/executor.h"
#include "base/result.h"
#include "base/rng.h"

namespace shoal::agent {

inline constexpr Duration kPreheatLife = std::chrono::hours(24);
// Of others' preheats; the others wait. Each pull is of six blobs at once.
inline constexpr std::size_t kPreheatPullsAtOnce = 2;
// Of our own, that are remembered with what members answered.
inline constexpr std::size_t kPreheatsKept = 64;

// Of one host, as its answers say.
struct PreheatHost {
  PeerId id;
  PreheatReport report;
  bool silent = false;  // it has not answered for too long
};

struct PreheatView {
  std::string id;
  std::string image;
  std::string room;  // as records name it
  bool withdrawn = false;
  bool ended = false;  // nobody is waited for
  WallTime expires;
  std::vector<PreheatHost> hosts;
};

class Preheats {
 public:
  struct Pull {
    std::uint64_t id = 0;
    bool joined = false;  // it ran already, for somebody else
  };
  struct Ports {
    Loop& loop;
    Rooms& rooms;
    Feeds& feeds;
    PeerId self;
    std::vector<std::string> wanted;  // patterns of images; preheat.images
    bool open = false;                // whether the open room's word counts; preheat.open
    // Whether there is such an image; `done` is called once, on the loop.
    std::function<void(const std::string& image, std::function<void(Status)> done)> check;
    std::function<Result<Pull>(const std::string& image)> pull;
    // nullopt when it is known no more.
    std::function<std::optional<PreheatReport>(std::uint64_t pull)> progress;
    std::function<void(std::uint64_t pull)> cancel;
    // Tells the writer of a message; `done` is called once, on the loop.
    std::function<void(const PeerId& writer, const std::string& room, std::uint64_t sequence,
                       const std::string& body, std::function<void(Status)> done)>
        answer;
  };

  Preheats(Ports ports, Rng rng);

  // --- people ---
  // room  a name or id; "" when there is only one that may see the image. `done` gets the id.
  // Errors: kInvalid, kNotFound when there is no such image, kDenied, kRetryLater.
  void Begin(const std::string& image, const std::string& room, Duration life,
             std::function<void(Result<std::string>)> done);
  // Members stop, and those who come later do not begin. Errors: kNotFound.
  Status Withdraw(const std::string& id);
  [[nodiscard]] std::optional<PreheatView> Find(const std::string& id) const;
  // The newest first.
  [[nodiscard]] std::vector<PreheatView> List() const;

  // --- the feed ---
  void OnMessage(const std::string& room, const index::SharedFeedMessage& message);
  // A member answers our message. Errors: kNotFound when it is none of ours, kInvalid.
  Status OnAnswer(const PeerId& from, const std::string& room, std::uint64_t sequence,
                  std::string_view body);

 private:
  static constexpr Duration kTick = std::chrono::milliseconds(250);
  static constexpr Duration kAnswerAgain = std::chrono::seconds(2);
  static constexpr int kAnswersTried = 5;  // of the last answer
  static constexpr int kPullsTried = 3;    // after 2 s and 4 s
  static constexpr Duration kPullAgain = std::chrono::seconds(2);
  static constexpr Duration kSilentAfter = std::chrono::seconds(15);

  struct Own {
    std::string image;
    std::string room;
    WallTime expires;
    Time begun;
    bool withdrawn = false;
    struct Answer {
      PreheatReport report;
      Time at;
    };
    std::map<PeerId, Answer> answers;
  };
  // What somebody's message asks of us.
  struct Task {
    std::string room;
    index::FeedName name;
    std::string image;
    Time start;
    std::optional<Pull> pull;
    PreheatReport report;
    int pulls_failed = 0;
    Time told{};  // when the writer was last told, and of which state
    std::optional<PreheatState> told_state;
    bool telling = false;
    int tries = 0;
  };

  [[nodiscard]] Result<std::string> ChooseRoom(const std::string& image,
                                               const std::string& room) const;
  // Why we do not fetch it; "" when we do.
  [[nodiscard]] std::string WhyNot(const std::string& room, const std::string& image) const;
  [[nodiscard]] Duration TellEvery(const std::string& room) const;
  [[nodiscard]] PreheatView ViewOf(std::uint64_t sequence, const Own& own) const;
  void Replace(const std::string& room, const index::FeedName& name, const std::string& image,
               bool withdrawn);
  void Tick();
  void TickSoon();
  void Work(Task& task, std::size_t& pulling);
  void OnPull(Task& task, PreheatReport report);
  void Tell(Task& task);

  Ports ports_;
  Rng rng_;
  std::map<std::uint64_t, Own> own_;  // by the message's number
  std::map<std::pair<std::string, index::FeedName>, Task> tasks_;
  bool ticking_ = false;
};

}  // namespace shoal::agent
