// Feed: one room's feed on one host: takes messages, keeps what stands, and passes them on so that
// each member gets each about once (docs/FEED.md). Says what to send; sends nothing itself.
//
// Rules
// - Neighbours: kLinksWanted are asked for, at a bounded pace, kLinksMax are taken. Who asks is
//   taken, although it refused us before; also when that no comes after its asking. Each is pushed
//   to or only named to. A push that was not new turns it to naming, on both sides; asking for what
//   was only named turns it back.
// - What was named and has not come within kGraftWait is asked for, from those who named it, one
//   after the other.
// - Every kRoundEvery all that is here is compared with a random member, who is taken for a
//   neighbour meanwhile. A member that appears is compared with at once by some.
// - A message is looked at once: dropped if known, then its room, times, number, signature and
//   writer.
// - Who sends what is malformed or forged is no neighbour for kRefusedFor, and the rest of what
//   it sent is not looked at.
// Source: Leitao, Pereira, Rodrigues, "Epidemic Broadcast Trees", SRDS 2007.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "index/feed_frame.h"
#include "index/feed_log.h"
#include "index/feed_message.h"
#include "index/peer_bag.h"
#include "index/signing_key.h"

namespace shoal::index {

struct FeedLimits {
  FeedLogLimits log;
  std::size_t links_wanted = 5;
  std::size_t links_max = 12;
  // Asked to be neighbours, and then one in every link_ask: who is refused by all (nobody can dial
  // it, or it is not known yet) does not ask a whole room again and again.
  std::size_t link_asks = 16;
  Duration link_ask = std::chrono::seconds(1);
  std::size_t members = 20'000;  // as many as a roster takes
  std::size_t missing = 512;     // writers of whom something was named that is not here
  Duration lazy_wait = std::chrono::milliseconds(200);
  Duration graft_wait = std::chrono::milliseconds(400);
  Duration graft_again = std::chrono::seconds(1);
  Duration round = std::chrono::seconds(20);
  Duration refused = std::chrono::seconds(60);  // who sent what is wrong
  Duration full = std::chrono::seconds(5);      // who would not have us, or did not answer
};

// To one peer. Several to one peer go in their order.
struct FeedSend {
  PeerId to;
  FeedFrame frame;
};

struct FeedActions {
  std::vector<FeedSend> sends;
  FeedChanges changes;
};

struct FeedCounts {
  std::int64_t given = 0;    // messages, once each
  std::int64_t copies = 0;   // messages that came, known ones too
  std::int64_t refused = 0;  // messages that were not taken
  std::int64_t frames = 0;   // that were sent
};

class Feed {
 public:
  struct Ports {
    // Until when this peer may write, by the membership beside its message. Errors: kDenied.
    std::function<Result<WallTime>(const PeerId& writer, std::string_view membership)> may_write;
    // Our own membership, "" in the open room; nullopt when we are not in the room now.
    std::function<std::optional<std::string>()> membership;
  };

  // room  as records name it.
  Feed(FeedLimits limits, std::string room, SigningKey key, Ports ports, Rng rng);

  // What was kept over a restart. Nothing is passed on; what does not stand any more is dropped.
  void Load(Time now, WallTime wall, const std::vector<std::string>& texts, FeedActions& actions);
  // Our own word. Errors: kDenied when we are not in the room; those of NextFeedNumber,
  // FeedMessage::Sign and FeedLog::Add.
  Result<FeedName> Publish(Time now, WallTime wall, const std::string& kind,
                           const std::string& topic, const std::string& body, Duration life,
                           FeedActions& actions);

  // A living member of the room that can be dialled; and that it is none any more.
  void OnMember(Time now, const PeerId& peer, FeedActions& actions);
  void OnMemberGone(Time now, const PeerId& peer, FeedActions& actions);
  // What a member sent, or answered. What goes back to it is among the sends.
  void OnFrame(Time now, WallTime wall, const PeerId& from, const FeedFrame& frame,
               FeedActions& actions);
  // A send did not arrive.
  void OnSendFailed(Time now, const PeerId& to, FeedActions& actions);
  // Who may write has changed.
  void OnWritersChanged(WallTime wall, FeedActions& actions);
  void OnDeadline(Time now, WallTime wall, FeedActions& actions);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] const FeedLog& log() const { return log_; }
  [[nodiscard]] const std::string& room() const { return room_; }
  [[nodiscard]] const FeedCounts& counts() const { return counts_; }
  [[nodiscard]] std::vector<PeerId> Links() const;
  [[nodiscard]] std::size_t pushed_links() const;
  [[nodiscard]] std::size_t member_count() const { return members_.size(); }
  void CheckInvariants() const;

 private:
  // Of those who named a message that is not here.
  static constexpr std::size_t kNamedByMax = 4;
  // How often what has ended is looked for.
  static constexpr Duration kSweepEvery = std::chrono::seconds(5);

  struct Link {
    bool pushed = true;
    Time since;
    // It asked for this link while we waited for an answer to our own asking, which may be a no
    // that it said before.
    bool crossed = false;
    std::map<PeerId, std::uint64_t> knows;  // of each writer what it has, as far as we know
  };
  struct Missing {
    std::uint64_t sequence = 0;
    std::deque<PeerId> named_by;
    Time due;
  };

  [[nodiscard]] FeedFrame Whole() const;
  // The one frame that answers `to` in these actions.
  FeedFrame& FrameTo(const PeerId& to, FeedActions& actions);
  void Send(const PeerId& to, FeedFrame frame, FeedActions& actions);
  void MakeLink(Time now, const PeerId& peer, bool pushed);
  void Unlink(Time now, const PeerId& peer, Duration refused_for);
  static void Learn(Link& link, const FeedName& name);
  void TopUp(Time now, FeedActions& actions);
  void AskForLink(Time now, const PeerId& peer, bool pushed, FeedActions& actions);
  [[nodiscard]] std::optional<PeerId> RandomMember(bool may_be_link);
  [[nodiscard]] bool HasLied(Time now, const PeerId& peer) const;

  void OnLinkWords(Time now, const PeerId& from, const FeedFrame& frame, FeedActions& actions);
  void OnNames(Time now, const PeerId& from, const FeedFrame& frame, FeedActions& actions);
  // Returns whether anything in it was new.
  bool OnMessages(Time now, WallTime wall, const PeerId& from, const FeedFrame& frame,
                  FeedActions& actions);
  // Errors: kCorrupt when whoever sent it is to blame; any other when it is not.
  Result<FeedLog::Taken> Take(Time now, WallTime wall, const SharedFeedMessage& message,
                              FeedActions& actions);
  void Answer(const PeerId& to, const FeedName& after, FeedFrame& frame, std::size_t& bytes);
  void PassOn(Time now, std::size_t given_before, const PeerId* from, FeedActions& actions);
  void NameWhatIsNew(FeedActions& actions);
  void AskForMissing(Time now, FeedActions& actions);
  void Round(Time now, FeedActions& actions);

  FeedLimits limits_;
  std::string room_;
  SigningKey key_;
  Ports ports_;
  Rng rng_;
  FeedLog log_;
  FeedCounts counts_;
  PeerBag members_;
  std::map<PeerId, Link> links_;
  std::map<PeerId, Time> asked_;    // for a link, and when
  std::map<PeerId, Time> refused_;  // until when it is not asked
  Time refused_end_ = kNever;       // not after the first of these
  FeedPace asks_;                   // for links
  Time top_up_at_ = kNever;         // when there are too few, and more may be asked
  std::map<PeerId, Missing> missing_;
  std::set<PeerId> to_name_;  // writers with news
  Time name_at_ = kNever;
  Time round_at_{};
  Time sweep_at_{};
};

}  // namespace shoal::index
