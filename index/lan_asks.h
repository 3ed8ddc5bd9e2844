// LanAsks: "who has this blob", asked and answered by datagrams to all neighbours.
// docs/PROTOCOL.md, "Neighbours on a LAN".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "index/peer_index.h"
#include "index/signing_key.h"

namespace shoal::index {

// So many who answered are enough: a swarm names the others.
inline constexpr std::size_t kAnswersEnough = 3;
// Holders wait a random time, by which those that come first spare the others: kAnswerSpread for
// each neighbour, as then few of them answer within the time that an answer takes to be heard.
// Not at all with so few neighbours, the asker among them, that nobody can be spared.
inline constexpr Duration kAnswerSpread = std::chrono::microseconds(20);
inline constexpr Duration kAnswerSpreadMax = std::chrono::milliseconds(20);
// An answer that has not come this much later will not come: looking up, signing, a busy host.
// Where answers have taken longer lately, as hosts have much to do, we wait as long as these took.
inline constexpr Duration kAnswerGrace = std::chrono::milliseconds(5);
inline constexpr Duration kAnswerGraceMax = std::chrono::milliseconds(50);
// So long an answer that comes too late is still heard, for what it says of the time answers take.
inline constexpr Duration kLateAnswer = std::chrono::milliseconds(200);

struct AskLimits {
  int asks_per_second = 50;  // of ours; beyond it nobody is asked
  // Who waits for a blob has it looked for every second; all neighbours verify each question.
  Duration ask_again = std::chrono::seconds(5);  // the same question
  // Of others', each of which costs a verification (10,000 a second on a core) and a look into the
  // inventory; and how many answers we give.
  int heard_per_second = 500;
  int answers_per_second = 200;
  std::size_t waiting_max = 256;  // answers that wait for their turn
  std::size_t asking_max = 256;   // questions of ours without an end yet
};

struct LanQuestion {
  PeerId asker;
  Key key;
  std::int64_t sent_ms = 0;
  auto operator<=>(const LanQuestion&) const = default;
};
struct LanAnswer {
  PeerId holder;
  Key key;
};

// Whether a datagram is for LanAsks, and not a beacon. Says nothing of whether it is right.
bool IsAskOrAnswer(std::string_view datagram);

// Rules
// - Only neighbours count: those whose beacon was heard, and whose record holds.
// - A question of which `sent` is not above that of the asker's last one is a repetition.
// - The same is asked again after limits.ask_again at the earliest.
// - Whoever holds what is asked for answers after a random wait of at most Spread(neighbours),
//   unless kAnswersEnough others have been heard to answer by then.
// - An answer counts that is to a question of ours which has not ended.
// - How long we wait follows the time that first answers take, late ones too, as TCP's timer
//   follows round trips (RFC 6298): who answers late on purpose makes us wait kAnswerGraceMax at
//   most.
class LanAsks {
 public:
  LanAsks(AskLimits limits, const SigningKey& key, Rng rng);

  // The datagram that asks; nothing when we ask too much, or asked that lately. The question ends
  // with OnEnd.
  std::optional<std::string> Ask(Time now, WallTime wall, const Key& key);
  void OnEnd(Time now, const Key& key);

  // neighbour  whether this is one, known by its beacon.
  // Returns    a question that somebody else asks, to look whether we hold it; an answer to ours.
  // Errors     kCancelled for what is normal and of no interest; else why it was dropped.
  template <class IsNeighbour>
  Result<std::variant<LanQuestion, LanAnswer>> OnDatagram(Time now, std::string_view datagram,
                                                          IsNeighbour&& neighbour) {
    auto parts = TakeApart(datagram);
    if (!parts) return parts.error();
    if (!neighbour(parts->from)) {
      return Error{Code::kCancelled, "LAN question: of somebody who is no neighbour"};
    }
    return OnParts(now, *parts);
  }
  // We hold what was asked for. neighbours: how many there are.
  void OnHolds(Time now, const LanQuestion& question, std::size_t neighbours);

  // Answers to send.
  void OnDeadline(Time now, std::vector<std::string>& out);
  [[nodiscard]] Time NextDeadline() const;

  // How long a question of ours waits for its first answer.
  [[nodiscard]] Duration Patience(std::size_t neighbours) const;
  // The longest that a holder waits.
  [[nodiscard]] static Duration Spread(std::size_t neighbours);
  void CheckInvariants() const;

 private:
  struct Parts {
    PeerId from;
    PublicKey key;
    Signature signature{};
    std::string payload;
    bool is_answer = false;
    Key asked;
    std::int64_t sent_ms = 0;
    std::optional<PeerId> asker;  // of an answer
  };
  struct Asking {
    std::int64_t sent_ms = 0;
    Time when{};
    bool is_answered = false;
  };
  struct Waiting {
    Time when;
    std::set<PeerId> answered;  // others
  };
  // So many a second, none saved up.
  struct Budget {
    Time begin{};
    int count = 0;
    bool Take(Time now, int per_second);
  };

  [[nodiscard]] static Result<Parts> TakeApart(std::string_view datagram);
  Result<std::variant<LanQuestion, LanAnswer>> OnParts(Time now, const Parts& parts);
  [[nodiscard]] std::string Sealed(std::string_view member, std::string_view context,
                                   const std::string& payload) const;
  [[nodiscard]] Asking* Ended(Time now, const Key& key);
  void OnFirstAnswer(Duration took);

  AskLimits limits_;
  SigningKey key_;
  Rng rng_;
  std::map<Key, Asking> asking_;  // ours
  std::map<Key, Asking> ended_;   // ours without an answer, for kLateAnswer
  std::map<Key, Time> asked_;     // ours, of the last limits.ask_again or a little longer
  std::optional<Duration> took_;  // first answers, smoothed
  Duration took_apart_{};         // how far they lie apart
  std::map<LanQuestion, Waiting> waiting_;
  std::map<PeerId, std::int64_t> last_asks_;  // of neighbours
  std::int64_t last_sent_ms_ = 0;
  Budget asks_;
  Budget heard_;
  Budget answers_;
};

}  // namespace shoal::index
