#include "index/registration_rows.h"

#include <cstring>

#include "base/encoding.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::size_t kKeyNumberBytes = 4;

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

std::string Key(char kind, std::uint32_t peer) {
  std::string key(1, kind);
  for (int shift = 24; shift >= 0; shift -= 8) key += static_cast<char>(peer >> shift & 0xff);
  return key;
}

std::uint32_t PeerIn(std::string_view key) {
  std::uint32_t peer = 0;
  for (std::size_t i = 1; i <= kKeyNumberBytes; ++i) {
    peer = peer << 8 | static_cast<unsigned char>(key[i]);
  }
  return peer;
}

constexpr std::size_t kPeerFixedBytes = 32 + 5 * 8;

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

std::string PeerKey(std::uint32_t peer) { return Key('p', peer); }

Row ToRow(const PeerRow& peer) {
  std::string value(AsText(peer.id.bytes));
  Put(value, peer.sent_ms);
  Put(value, peer.number);
  Put(value, peer.sequence);
  Put(value, peer.saying);
  Put(value, peer.expires_ms);
  value += peer.envelope;
  return {PeerKey(peer.peer), std::move(value)};
}

std::optional<PeerRow> ReadPeerRow(std::string_view key, std::string_view value) {
  if (key.size() != 1 + kKeyNumberBytes || value.size() <= kPeerFixedBytes ||
      value.size() > kPeerFixedBytes + kRecordBytesMax) {
    return std::nullopt;
  }
  PeerRow peer;
  peer.peer = PeerIn(key);
  std::memcpy(peer.id.bytes.data(), value.data(), peer.id.bytes.size());
  value.remove_prefix(peer.id.bytes.size());
  peer.sent_ms = Take<std::int64_t>(value);
  peer.number = Take<std::uint64_t>(value);
  peer.sequence = Take<std::uint64_t>(value);
  peer.saying = Take<std::uint64_t>(value);
  peer.expires_ms = Take<std::int64_t>(value);
  peer.envelope = value;
  return peer;
}

std::string EntryKey(std::uint32_t peer, std::string_view packed_name) {
  return Key('r', peer) + std::string(packed_name);
}

Row ToRow(const EntryRow& entry) {
  std::string value;
  Put(value, entry.number);
  Put(value, entry.expires_s);
  return {EntryKey(entry.peer, entry.name), std::move(value)};
}

std::optional<EntryRow> ReadEntryRow(std::string_view key, std::string_view value) {
  if (key.size() < 1 + kKeyNumberBytes + 2 || value.size() != 12) return std::nullopt;
  EntryRow entry;
  entry.peer = PeerIn(key);
  entry.name = key.substr(1 + kKeyNumberBytes);
  entry.number = Take<std::uint64_t>(value);
  entry.expires_s = Take<std::uint32_t>(value);
  return entry;
}

}  // namespace shoal::index
