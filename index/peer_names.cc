#include "index/peer_names.h"

#include <algorithm>

#include "base/encoding.h"

namespace shoal::index {
namespace {

constexpr std::size_t kNameBytes = sizeof(PeerName);

}  // namespace

PeerName PeerNameOf(const PeerId& peer) {
  PeerName name = 0;
  for (std::size_t i = 0; i < kNameBytes; ++i) {
    name = name << 8 | std::to_integer<PeerName>(peer.bytes[i]);
  }
  return name;
}

PeerId LowestOf(PeerName name) {
  PeerId peer;
  for (std::size_t i = 0; i < kNameBytes; ++i) {
    peer.bytes[i] = std::byte(name >> (8 * (kNameBytes - 1 - i)) & 255);
  }
  return peer;
}

std::string EncodeNames(const std::vector<PeerName>& names) {
  ByteVector bytes;
  bytes.reserve(names.size() * kNameBytes);
  for (const PeerName name : names) {
    for (std::size_t i = kNameBytes; i-- > 0;) bytes.push_back(std::byte(name >> (8 * i) & 255));
  }
  return ToBase64Url(bytes);
}

Result<std::vector<PeerName>> DecodeNames(std::string_view text, std::size_t count_max) {
  // Four characters stand for three bytes.
  if (text.size() > (count_max * kNameBytes * 4 + 2) / 3) {
    return Error{Code::kExhausted, "more than " + std::to_string(count_max) + " names of peers"};
  }
  auto bytes = FromBase64Url(text);
  if (!bytes) return bytes.error().In("names of peers");
  if (bytes->size() % kNameBytes != 0) {
    return Error{Code::kInvalid, "names of peers: half a name at the end"};
  }
  std::vector<PeerName> names;
  names.reserve(bytes->size() / kNameBytes);
  for (std::size_t at = 0; at < bytes->size(); at += kNameBytes) {
    PeerName name = 0;
    for (std::size_t i = 0; i < kNameBytes; ++i) {
      name = name << 8 | std::to_integer<PeerName>((*bytes)[at + i]);
    }
    names.push_back(name);
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace shoal::index
