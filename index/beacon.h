// Beacons: what neighbours on a LAN tell each other by UDP. docs/PROTOCOL.md, "Neighbours on a
// LAN".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "index/record.h"

namespace shoal::index {

// One Ethernet frame, with room for tunnels: fragments of multicast get lost too easily.
inline constexpr std::size_t kBeaconBytesMax = 1400;

struct Beacon {
  SignedRecord record;
  std::uint64_t epoch = 0;
  std::uint64_t head = 0;
  std::int64_t sent_ms = 0;
  bool hello = false;  // a newcomer: answer soon
};

// Errors: kExhausted when the record is too long for a datagram.
Result<std::string> EncodeBeacon(const Beacon& beacon, const SigningKey& key);
// Errors: kExhausted over kBeaconBytesMax, kInvalid for a wrong form, kDenied for a signature that
// is not the record's key's.
Result<Beacon> DecodeBeacon(std::string_view datagram);

struct NeighbourLimits {
  Duration interval = std::chrono::seconds(5);
  std::size_t peers_max = 20'000;  // as many as a roster takes
  // One core verifies about 10,000 signatures a second: this leaves nine tenths of it.
  int beacons_per_second_max = 500;
};

inline constexpr Duration kBeaconSpacingMin = std::chrono::milliseconds(500);
inline constexpr Duration kHelloAnswerMax = std::chrono::milliseconds(100);

// When to send our own beacon, and which of the others' are news.
//
// Rules
// - Nothing is sent before OnSelf. The first beacon, and the first after OnNewNetwork, says hello
//   and goes out at once. Further ones go out every interval, give or take a quarter.
// - A change of ours, and a neighbour's hello (after a random wait of at most kHelloAnswerMax),
//   bring the next one forward, never closer than kBeaconSpacingMin to the one before: so that
//   nobody can make us, or the whole network by us, shout.
// - `sent` of our beacons always grows, even when the clock is set back.
// - A beacon of our own, one whose `sent` is not above the last one's from that peer, one beyond
//   beacons_per_second_max, and one of a new peer when peers_max are known, is dropped.
class Neighbours {
 public:
  struct Heard {
    Beacon beacon;
    bool is_record_new = false;  // not the one of the last beacon
  };

  Neighbours(NeighbourLimits limits, const SigningKey& key, Rng rng);

  void OnSelf(Time now, const SignedRecord& record, std::uint64_t epoch, std::uint64_t head);
  // An interface came up: nobody there has heard us.
  void OnNewNetwork(Time now);
  // Errors: why it was dropped; kCancelled for our own and for repetitions, which are normal.
  Result<Heard> OnDatagram(Time now, WallTime wall, std::string_view datagram);
  // The datagram to send, when one is due. Errors: kExhausted as EncodeBeacon.
  Result<std::optional<std::string>> OnDeadline(Time now, WallTime wall);
  [[nodiscard]] Time NextDeadline() const { return next_send_; }

  [[nodiscard]] std::size_t known() const { return peers_.size(); }
  // The record of a neighbour's last beacon, while it holds. Valid until the next event.
  [[nodiscard]] const SignedRecord* Find(WallTime wall, const PeerId& peer) const;
  void CheckInvariants() const;

 private:
  struct Peer {
    SignedRecord record;
    std::int64_t sent_ms = 0;
  };

  void BringForward(Time when);
  bool TakeToken(Time now);
  void DropExpired(WallTime wall);

  NeighbourLimits limits_;
  SigningKey key_;
  Rng rng_;
  std::optional<Beacon> self_;
  bool hello_ = true;
  Time next_send_ = kNever;
  std::optional<Time> last_send_;
  std::int64_t last_sent_ms_ = 0;
  Time second_begin_;
  int second_count_ = 0;
  std::unordered_map<PeerId, Peer> peers_;
};

}  // namespace shoal::index
