// IndexWorld: the hosts of an index room, those with a roster, and what goes between them.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "index/gossip.h"
#include "index/roster.h"
#include "tests/sim/engine.h"
#include "tests/sim/index_room.h"
#include "tests/sim/room_feeds.h"

namespace shoal::sim {

enum class Sent : std::uint8_t { kKeys, kIntroduction, kRenewal, kFresh, kWhole, kRecords };
inline constexpr std::size_t kSentKinds = 6;
std::string_view ToString(Sent kind);

class IndexWorld {
 public:
  static constexpr std::uint32_t kInvented = 50;

  struct Host {
    index::SigningKey key;
    std::uint32_t place = 0;  // the machine it runs on; hosts come one after the other there
    Time born{};
    Time died = kNever;
    std::optional<index::SignedRecord> record;
    Time renew_at{};
    bool liar = false;
    bool late = false;  // came after the start
  };
  struct Whole {
    std::uint32_t host = 0;
    std::unique_ptr<index::Roster> roster;
    std::unique_ptr<index::Gossip> gossip;
    Time due = kNever;
    bool liars_asked = false;
    bool complete = false;  // a late one that knows most of the room
    std::size_t known_max = 0;
  };
  struct Counts {
    std::array<std::uint64_t, kSentKinds> messages{};
    std::array<std::uint64_t, kSentKinds> bytes{};
  };

  explicit IndexWorld(const IndexRoomOptions& options);

  void RunUntil(Time end);
  // All that is planned for these minutes.
  void Churn(Duration time);
  void Say();

  [[nodiscard]] Engine& engine() { return engine_; }
  [[nodiscard]] RoomFeeds& feeds() { return feeds_; }
  [[nodiscard]] const std::vector<Host>& hosts() const { return hosts_; }
  [[nodiscard]] const std::vector<Whole>& wholes() const { return wholes_; }
  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] bool is_alive(std::uint32_t host) const { return hosts_[host].died == kNever; }
  // The first hosts are none.
  [[nodiscard]] static bool is_invented(std::uint32_t host) { return host < kInvented; }
  [[nodiscard]] std::uint32_t number(const PeerId& peer) const { return numbers_.at(peer); }
  // The longest that a dead host may be taken for living, as the design has it.
  [[nodiscard]] Duration NoticeBound() const;
  // Of late ones.
  [[nodiscard]] const std::vector<Duration>& newcomers_know() const { return newcomers_know_; }
  [[nodiscard]] const std::vector<Duration>& newcomers_known() const { return newcomers_known_; }
  [[nodiscard]] const std::vector<Duration>& deaths_noticed() const { return deaths_noticed_; }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }
  void CheckInvariants() const;

 private:
  enum class Note : std::uint8_t {
    kBirth,
    kDeath,
    kSay,
    kIntroduce,
    kSynced,
    kSyncFailed,
    kRecord,
    kNames,
    kRecords,
    kAskFailed,
  };
  struct Message {
    Note note = Note::kBirth;
    std::uint32_t whole = 0;
    std::uint32_t host = 0;  // the one that runs there: what was for one before it is lost
    std::uint32_t other = 0;
    bool all = false;
    std::vector<index::PeerName> names;
  };

  static constexpr std::uint32_t kNobody = ~std::uint32_t{0};
  // Until a connection to a host that is gone is given up.
  static constexpr Duration kNoAnswer = std::chrono::seconds(2);
  // How long a connection is kept that nobody uses.
  static constexpr Duration kKept = std::chrono::seconds(60);
  // On the wire, both ways, with TCP and IP; docs/BENCHMARKS.md says how they were measured.
  static constexpr std::uint64_t kConnectBytes = 2700;
  static constexpr std::uint64_t kAskBytes = 500;
  static constexpr std::uint64_t kRecordBytes = 560;

  [[nodiscard]] WallTime Wall() const;
  [[nodiscard]] Duration Delay();
  [[nodiscard]] bool IsWhole(std::uint32_t place) const { return place < wholes_.size(); }
  void Plan(Time at, Message message);
  void Count(Sent kind, std::uint64_t messages, std::uint64_t bytes);
  void Birth(std::uint32_t place, bool late);
  void AddName(std::uint32_t host);
  void Death(std::uint32_t host);
  const index::SignedRecord& RecordOf(std::uint32_t host);
  // A host without a roster shows its record to those that have one, one after the other.
  void Introduce(std::uint32_t host, std::uint32_t turn);
  void Take(const Message& message);
  void Do(std::uint32_t whole, const index::RosterActions& actions);
  void Do(std::uint32_t whole, const index::GossipActions& actions);
  void Sync(std::uint32_t whole, std::uint32_t other);
  void OnRecord(std::uint32_t whole, const index::SignedRecord& record);
  void OnLiving(std::uint32_t whole, const PeerId& peer);
  void OnGone(std::uint32_t whole, const PeerId& peer);
  void Wake(std::uint32_t whole);
  void OnDue(std::uint32_t whole);
  [[nodiscard]] index::Gossip::View ViewOf(std::uint32_t whole) const;
  // Who speaks for a host that is asked whom it knows; nullptr while there is nobody.
  [[nodiscard]] const Whole* Speaker(std::uint32_t asker, std::uint32_t asked) const;
  [[nodiscard]] std::vector<index::PeerName> NamesOf(std::uint32_t asker, std::uint32_t asked,
                                                     bool all);
  void TakeNames(const Message& message, index::GossipActions& asks);
  void TakeRecords(const Message& message, index::GossipActions& asks);
  void TellFeeds(std::uint32_t whole, std::uint32_t member, bool lives);
  [[nodiscard]] bool IsMember(std::uint32_t host, std::uint32_t member) const;

  IndexRoomOptions options_;
  Rng rng_;
  Engine engine_;
  RoomFeeds feeds_;
  std::vector<Host> hosts_;
  std::unordered_map<PeerId, std::uint32_t> numbers_;
  std::unordered_map<index::PeerName, std::uint32_t> names_;
  std::vector<std::uint32_t> running_;  // by place: its host
  std::vector<std::uint32_t> living_;
  std::vector<Whole> wholes_;
  std::uint32_t lasting_ = 0;  // of them; they do not die, and speak for others
  std::vector<std::vector<std::uint32_t>> followers_;  // places whose feeds go by this one's roster
  std::unordered_map<std::uint32_t, std::size_t> known_by_;   // late ones: by how many
  std::unordered_map<std::uint32_t, std::size_t> missed_by_;  // dead ones: by how many
  Pool<Message> messages_;
  Counts counts_;
  std::vector<Duration> newcomers_know_;
  std::vector<Duration> newcomers_known_;
  std::vector<Duration> deaths_noticed_;
  std::uint64_t deaths_ = 0;
};

}  // namespace shoal::sim
