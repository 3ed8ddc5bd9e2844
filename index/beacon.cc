#include "index/beacon.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/json.h"
#include "index/envelope.h"

namespace shoal::index {
namespace {

constexpr std::string_view kBeaconContext = "shoal-beacon-v1\n";
constexpr int kBeaconVersion = 1;
constexpr std::size_t kBeaconPayloadBytesMax = 256;

// A datagram taken apart, with nothing verified.
struct Parts {
  Json record;
  PublicKey key;
  std::string payload;
  Signature signature{};
  std::uint64_t epoch = 0;
  std::uint64_t head = 0;
  std::int64_t sent_ms = 0;
  bool hello = false;
};

Status ReadPayload(Parts& parts) {
  auto json = ParseJson(parts.payload, kBeaconPayloadBytesMax);
  if (!json) return json.error();
  auto epoch = GetInt(*json, "epoch", 1, kJsonIntMax);
  if (!epoch) return epoch.error();
  auto head = GetInt(*json, "head", 0, kJsonIntMax);
  if (!head) return head.error();
  auto sent = GetInt(*json, "sent", 0, kJsonIntMax);
  if (!sent) return sent.error();
  parts.epoch = static_cast<std::uint64_t>(*epoch);
  parts.head = static_cast<std::uint64_t>(*head);
  parts.sent_ms = *sent;
  if (json->has_field("hello")) {
    auto hello = GetBool(*json, "hello");
    if (!hello) return hello.error();
    parts.hello = *hello;
  }
  return Ok();
}

Result<Parts> TakeApart(std::string_view datagram) {
  auto json = ParseJson(datagram, kBeaconBytesMax);
  if (!json) return json.error();
  if (auto version = GetInt(*json, "shoal", kBeaconVersion, kBeaconVersion); !version)
    return version.error();
  Parts parts;
  if (!json->has_object_field("record")) {
    return Error{Code::kInvalid, "JSON member \"record\" must be an object"};
  }
  parts.record = json->at("record");
  auto key = GetPublicKey(parts.record, "key");
  if (!key) return key.error();
  parts.key = *key;
  auto payload = GetBase64(*json, "beacon", kBeaconPayloadBytesMax);
  if (!payload) return payload.error();
  parts.payload = *std::move(payload);
  auto signature = GetSignature(*json, "signature");
  if (!signature) return signature.error();
  parts.signature = *signature;
  if (auto read = ReadPayload(parts); !read) return read.error();
  return parts;
}

// `known`: a record that needs no second verification when it is the same.
Result<Beacon> Verified(const Parts& parts, const SignedRecord* known) {
  const auto same = [&] {
    return known != nullptr && [&] {
      auto json = ParseJson(known->envelope(), kRecordBytesMax);
      if (!json) return false;
      return std::ranges::all_of(
          std::array{"payload", "key", "signature"}, [&](const char* member) {
            const auto theirs = GetString(parts.record, member, kRecordBytesMax);
            const auto ours = GetString(*json, member, kRecordBytesMax);
            return theirs && ours && *theirs == *ours;
          });
    }();
  };
  auto record = same() ? Result(*known) : SignedRecord::Parse(parts.record.serialize());
  if (!record) return record.error();
  if (!VerifyIn(kBeaconContext, parts.payload, parts.key, parts.signature)) {
    return Error{Code::kDenied, "the signature is not by the record's key"};
  }
  return Beacon{*std::move(record), parts.epoch, parts.head, parts.sent_ms, parts.hello};
}

}  // namespace

Result<std::string> EncodeBeacon(const Beacon& beacon, const SigningKey& key) {
  SHOAL_CHECK(beacon.record.record().key == key.public_key());
  const std::string payload =
      R"({"epoch":)" + std::to_string(beacon.epoch) + R"(,"head":)" + std::to_string(beacon.head) +
      R"(,"sent":)" + std::to_string(beacon.sent_ms) + (beacon.hello ? R"(,"hello":true})" : "}");
  std::string datagram = R"({"shoal":1,"record":)" + beacon.record.envelope() + R"(,"beacon":")" +
                         ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
                         ToBase64Url(SignIn(kBeaconContext, payload, key)) + R"("})";
  if (datagram.size() > kBeaconBytesMax) {
    return Error{Code::kExhausted, "our record is too long for a LAN beacon (" +
                                       std::to_string(datagram.size()) + " of " +
                                       std::to_string(kBeaconBytesMax) +
                                       " bytes); name fewer endpoints in peer.advertise"};
  }
  return datagram;
}

Result<Beacon> DecodeBeacon(std::string_view datagram) {
  auto parts = TakeApart(datagram);
  if (!parts) return parts.error().In("beacon");
  auto beacon = Verified(*parts, nullptr);
  if (!beacon) return beacon.error().In("beacon");
  return beacon;
}

Neighbours::Neighbours(NeighbourLimits limits, const SigningKey& key, Rng rng)
    : limits_(limits), key_(key), rng_(rng) {
  SHOAL_CHECK(limits_.interval > Duration(0));
}

void Neighbours::BringForward(Time when) {
  if (!self_) return;
  if (last_send_) when = std::max(when, *last_send_ + kBeaconSpacingMin);
  next_send_ = std::min(next_send_, when);
}

void Neighbours::OnSelf(Time now, const SignedRecord& record, std::uint64_t epoch,
                        std::uint64_t head) {
  self_ = Beacon{record, epoch, head, 0, false};
  BringForward(now);
}

void Neighbours::OnNewNetwork(Time now) {
  hello_ = true;
  BringForward(now);
}

bool Neighbours::TakeToken(Time now) {
  if (now - second_begin_ >= std::chrono::seconds(1)) {
    second_begin_ = now;
    second_count_ = 0;
  }
  return ++second_count_ <= limits_.beacons_per_second_max;
}

void Neighbours::DropExpired(WallTime wall) {
  std::erase_if(peers_,
                [&](const auto& entry) { return entry.second.record.record().expires <= wall; });
}

Result<Neighbours::Heard> Neighbours::OnDatagram(Time now, WallTime wall,
                                                 std::string_view datagram) {
  auto parts = TakeApart(datagram);
  if (!parts) return parts.error().In("beacon");
  if (parts->key == key_.public_key()) return Error{Code::kCancelled, "beacon: our own"};
  const auto id = PeerIdOf(parts->key);
  auto it = peers_.find(id);
  // What it said about its clock holds no longer than its record.
  if (it != peers_.end() && it->second.record.record().expires <= wall) {
    peers_.erase(it);
    it = peers_.end();
  }
  if (it != peers_.end() && parts->sent_ms <= it->second.sent_ms) {
    return Error{Code::kCancelled, "beacon: not newer than the last one of " + id.Short()};
  }
  // Only what costs a verification is counted.
  if (!TakeToken(now)) return Error{Code::kExhausted, "beacon: too many a second"};
  const SignedRecord* known = it == peers_.end() ? nullptr : &it->second.record;
  auto beacon = Verified(*parts, known);
  if (!beacon) return beacon.error().In("beacon");
  if (beacon->record.record().expires <= wall) {
    return Error{Code::kInvalid, "beacon: the record of peer " + id.Short() +
                                     " has expired; check both hosts' clocks"};
  }
  const bool is_record_new = known == nullptr || known->envelope() != beacon->record.envelope();
  if (known == nullptr && peers_.size() >= limits_.peers_max) {
    DropExpired(wall);
    if (peers_.size() >= limits_.peers_max) {
      return Error{Code::kExhausted, "beacon: too many neighbours"};
    }
  }
  peers_.insert_or_assign(id, Peer{beacon->record, beacon->sent_ms});
  if (beacon->hello) {
    BringForward(now + Duration(static_cast<std::int64_t>(
                           rng_.Below(static_cast<std::uint64_t>(kHelloAnswerMax.count()) + 1))));
  }
  return Heard{*std::move(beacon), is_record_new};
}

Result<std::optional<std::string>> Neighbours::OnDeadline(Time now, WallTime wall) {
  if (!self_ || now < next_send_) return std::optional<std::string>();
  const auto quarter = static_cast<std::uint64_t>(limits_.interval.count()) / 4;
  next_send_ = now + limits_.interval - Duration(quarter) +
               Duration(static_cast<std::int64_t>(rng_.Below(2 * quarter + 1)));
  last_send_ = now;
  last_sent_ms_ = std::max(ToUnixMs(wall), last_sent_ms_ + 1);
  Beacon beacon = *self_;
  beacon.sent_ms = last_sent_ms_;
  beacon.hello = hello_;
  auto datagram = EncodeBeacon(beacon, key_);
  if (!datagram) return datagram.error();
  hello_ = false;
  return std::optional(*std::move(datagram));
}

const SignedRecord* Neighbours::Find(WallTime wall, const PeerId& peer) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || it->second.record.record().expires <= wall) return nullptr;
  return &it->second.record;
}

void Neighbours::CheckInvariants() const {
  SHOAL_CHECK(peers_.size() <= limits_.peers_max);
  SHOAL_CHECK(!peers_.contains(key_.id()));
  SHOAL_CHECK(self_ || next_send_ == kNever);
  SHOAL_CHECK(!self_ || next_send_ != kNever);
}

}  // namespace shoal::index
