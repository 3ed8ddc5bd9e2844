// Givers: what hosts and the registry send to those who ask: maps, and answers with bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/sim/fetches.h"
#include "tests/sim/world.h"

namespace shoal::sim {

// Bytes of one request on their way.
struct Answer {
  HostId from = kNoHost;
  HostId to = kNoHost;
  FetchRef fetch;
  fetch::RequestId request = 0;
  BlobId blob = 0;
  const Cut* cut = nullptr;  // null: the registry's, until the asker knows how to cut the blob
  fetch::PieceIndex first;
  fetch::PieceIndex next;
  fetch::PieceIndex end;
  std::optional<fetch::PieceIndex> breaks_in;  // the connection is cut in the middle of this one
  FlowId flow = kNoFlow;
  fetch::UploadId upload = 0;
};

class Givers {
 public:
  explicit Givers(World& world);

  void OnMapAsk(const Message& ask);
  void OnPieceAsk(const Message& ask);
  void OnCancel(const Message& cancel);
  // A mark of an answer's flow is reached.
  void OnFlow(AnswerId id);
  // The polls of this line that were held back long enough are answered.
  void OnPoll(std::uint32_t line);
  // The fetch has more than before; or it is over.
  void OnNews(FetchId id);
  void OnEnded(FetchId id);
  void Crash(HostId host);
  // After reachability changed.
  void Reblock();

  AnswerId Begin(Answer answer, double cap);
  // The asker of upstream bytes knows now how the blob is cut: piece by piece from here on.
  void Continue(AnswerId id, const Cut& cut);
  [[nodiscard]] Bytes Moved(AnswerId id) { return world_.network.Moved(answers_[id].flow); }
  // Who has been getting bytes from this host for longest.
  [[nodiscard]] std::optional<HostId> LongestFrom(HostId host) const;
  [[nodiscard]] std::uint32_t polls_peak() const { return polls_peak_; }
  // Asks for pieces, and those of them that were told "busy".
  [[nodiscard]] std::uint64_t asked() const { return asked_; }
  [[nodiscard]] std::uint64_t busy() const { return busy_; }
  // Asks for maps, and answers about pieces that told of others.
  [[nodiscard]] std::uint64_t maps() const { return maps_; }
  [[nodiscard]] std::uint64_t told() const { return told_; }
  // Answers of holders that their askers took back in the middle.
  [[nodiscard]] std::uint64_t taken_back() const { return taken_back_; }

 private:
  // A question for a map that is held back. All of one line wait equally long, so they are due in
  // the order in which they came: one event for each line is enough, however many are answered
  // before they are due.
  struct Poll {
    HostId from = kNoHost;
    HostId to = kNoHost;
    BlobId blob = 0;
    FetchRef fetch;
    fetch::RequestId request = 0;
    std::int32_t count = 0;
    Time due{};
    std::uint32_t line = 0;
    std::uint32_t before = kNoPoll;  // its neighbours in the line
    std::uint32_t after = kNoPoll;
  };
  struct Line {
    Duration wait;
    std::uint32_t first = kNoPoll;
    std::uint32_t last = kNoPoll;
    bool planned = false;
  };
  static constexpr std::uint32_t kNoPoll = ~std::uint32_t{0};

  void ReplyMap(const Message& ask, std::shared_ptr<const fetch::HolderMap> map);
  void Refuse(const Message& ask, MessageKind kind, Error error);
  void MapOfLiar(const Message& ask);
  std::shared_ptr<const fetch::HolderMap> NewsFor(const Message& ask);
  void Hold(const Message& ask, FetchId id, bool first);
  void PlanLine(std::uint32_t line);
  // Takes it out of its line and frees it.
  Poll TakePoll(std::uint32_t poll);
  void SettlePoll(std::uint32_t poll);
  void NextMark(AnswerId id);
  void CheckSlots(const Host& host);
  // Takes the flow down. What moved is the registry's or the holder's account.
  Bytes End(AnswerId id);
  [[nodiscard]] Version VersionOf(const Answer& answer) const;
  [[nodiscard]] bool Has(HostId host, BlobId blob, fetch::PieceIndex piece) const;

  World& world_;
  Pool<Answer> answers_;
  Pool<Poll> polls_;
  std::vector<Line> lines_;
  std::uint32_t polls_peak_ = 0;
  std::uint64_t asked_ = 0;
  std::uint64_t maps_ = 0;
  std::uint64_t told_ = 0;
  std::uint64_t busy_ = 0;
  std::uint64_t taken_back_ = 0;
};

}  // namespace shoal::sim
