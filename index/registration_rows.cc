#include "index/registration_rows.h"

#include <cstring>

#include "base/encoding.h"
#include "index/namespaces.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::size_t kKeyNumberBytes = 4;

PeerId TakeId(std::string_view& text) {
  PeerId id;
  std::memcpy(id.bytes.data(), text.data(), id.bytes.size());
  text.remove_prefix(id.bytes.size());
  return id;
}

template <class T>
void Put(std::string& out, T number) {
  for (std::size_t i = 0; i < sizeof number; ++i) {
    out += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 0xff);
  }
}

// Takes sizeof(T) bytes off the front of `text`, which has them.
template <class T>
T Take(std::string_view& text) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    number |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) << (8 * i);
  }
  text.remove_prefix(sizeof(T));
  return static_cast<T>(number);
}

template <class T>
std::string RowKey(char kind, T number) {
  std::string key(1, kind);
  for (int shift = 8 * (sizeof number - 1); shift >= 0; shift -= 8) {
    key += static_cast<char>(static_cast<std::uint64_t>(number) >> shift & 0xff);
  }
  return key;
}

// The number after the letter, of a key that is long enough.
template <class T>
T NumberIn(std::string_view key) {
  std::uint64_t number = 0;
  for (std::size_t i = 1; i <= sizeof(T); ++i) {
    number = number << 8 | static_cast<unsigned char>(key[i]);
  }
  return static_cast<T>(number);
}

constexpr std::size_t kPeerFixedBytes = 32 + 6 * 8 + 2;
constexpr std::size_t kEntryFixedBytes = 2 * 8;
constexpr std::size_t kClaimBytes = 2 + 4;
constexpr std::size_t kCopyFixedBytes = 32 + 3 * 8;
constexpr std::size_t kUrlBytesMax = 300;

}  // namespace

std::string MetaKey(std::string_view name) { return "m" + std::string(name); }

std::string NumberValue(std::uint64_t number) {
  std::string out;
  Put(out, number);
  return out;
}

std::optional<std::uint64_t> ReadNumber(std::string_view value) {
  if (value.size() != sizeof(std::uint64_t)) return std::nullopt;
  return Take<std::uint64_t>(value);
}

std::string PeerKey(std::uint32_t peer) { return RowKey('p', peer); }

Row ToRow(const PeerRow& peer) {
  std::string value(AsText(peer.id.bytes));
  Put(value, peer.sent_ms);
  Put(value, peer.number);
  Put(value, peer.sequence);
  Put(value, peer.saying);
  Put(value, peer.logged);
  Put(value, peer.expires_ms);
  Put(value, peer.owner);
  value += peer.envelope;
  return {PeerKey(peer.peer), std::move(value)};
}

std::optional<PeerRow> ReadPeerRow(std::string_view key, std::string_view value) {
  if (key.size() != 1 + kKeyNumberBytes || value.size() <= kPeerFixedBytes ||
      value.size() > kPeerFixedBytes + kRecordBytesMax) {
    return std::nullopt;
  }
  PeerRow peer;
  peer.peer = NumberIn<std::uint32_t>(key);
  peer.id = TakeId(value);
  peer.sent_ms = Take<std::int64_t>(value);
  peer.number = Take<std::uint64_t>(value);
  peer.sequence = Take<std::uint64_t>(value);
  peer.saying = Take<std::uint64_t>(value);
  peer.logged = Take<std::uint64_t>(value);
  peer.expires_ms = Take<std::int64_t>(value);
  peer.owner = Take<std::uint16_t>(value);
  peer.envelope = value;
  return peer;
}

std::string EntryKey(std::uint32_t peer, std::string_view packed_name) {
  return RowKey('r', peer) + std::string(packed_name);
}

Row ToRow(const EntryRow& entry) {
  std::string value;
  Put(value, entry.number);
  Put(value, entry.logged);
  for (const auto& claim : entry.claims) {
    Put(value, claim.owner);
    Put(value, claim.expires_s);
  }
  return {EntryKey(entry.peer, entry.name), std::move(value)};
}

std::optional<EntryRowView> ViewEntryRow(std::string_view key, std::string_view value) {
  if (key.size() < 1 + kKeyNumberBytes + 2 || value.size() < kEntryFixedBytes + kClaimBytes ||
      (value.size() - kEntryFixedBytes) % kClaimBytes != 0 ||
      value.size() > kEntryFixedBytes + kClaimsMax * kClaimBytes) {
    return std::nullopt;
  }
  EntryRowView entry;
  entry.peer = NumberIn<std::uint32_t>(key);
  entry.name = key.substr(1 + kKeyNumberBytes);
  if (!IsPackedName(entry.name)) return std::nullopt;
  entry.number = Take<std::uint64_t>(value);
  entry.logged = Take<std::uint64_t>(value);
  entry.claims = value;
  return entry;
}

ClaimRow TakeClaim(std::string_view& claims) {
  const auto owner = Take<std::uint16_t>(claims);
  return {owner, Take<std::uint32_t>(claims)};
}

std::optional<EntryRow> ReadEntryRow(std::string_view key, std::string_view value) {
  const auto view = ViewEntryRow(key, value);
  if (!view) return std::nullopt;
  EntryRow entry{view->peer, std::string(view->name), view->number, view->logged, {}};
  for (auto claims = view->claims; !claims.empty();) entry.claims.push_back(TakeClaim(claims));
  return entry;
}

std::string CopyKey(std::uint16_t owner) { return RowKey('s', owner); }

Row ToRow(const CopyRow& copy) {
  std::string value(AsText(copy.id.bytes));
  Put(value, copy.epoch);
  Put(value, copy.cursor);
  Put(value, copy.heard_ms);
  value += copy.url;
  return {CopyKey(copy.owner), std::move(value)};
}

std::optional<CopyRow> ReadCopyRow(std::string_view key, std::string_view value) {
  if (key.size() != 1 + sizeof(std::uint16_t) || value.size() < kCopyFixedBytes ||
      value.size() > kCopyFixedBytes + kUrlBytesMax) {
    return std::nullopt;
  }
  CopyRow copy;
  copy.owner = NumberIn<std::uint16_t>(key);
  copy.id = TakeId(value);
  copy.epoch = Take<std::uint64_t>(value);
  copy.cursor = Take<std::uint64_t>(value);
  copy.heard_ms = Take<std::int64_t>(value);
  copy.url = value;
  return copy;
}

std::string TombstoneKey(std::uint64_t number) { return RowKey('t', number); }

Row ToRow(const TombstoneRow& tombstone) {
  std::string value;
  Put(value, tombstone.expires_s);
  value += AsText(tombstone.id.bytes);
  value += tombstone.name;
  return {TombstoneKey(tombstone.number), std::move(value)};
}

std::optional<TombstoneRow> ReadTombstoneRow(std::string_view key, std::string_view value) {
  if (key.size() != 1 + sizeof(std::uint64_t) || value.size() < 4 + 32 + 2) return std::nullopt;
  TombstoneRow tombstone;
  tombstone.number = NumberIn<std::uint64_t>(key);
  tombstone.expires_s = Take<std::uint32_t>(value);
  tombstone.id = TakeId(value);
  tombstone.name = value;
  return tombstone;
}

}  // namespace shoal::index
