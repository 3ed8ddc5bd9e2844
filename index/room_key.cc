#include "index/room_key.h"

#include <openssl/sha.h>

#include <string>

namespace shoal::index {
namespace {

constexpr std::string_view kBlindContext = "shoal-blind-v1\n";

}  // namespace

RoomId RoomIdOf(const PublicKey& room_key) { return RoomId{PeerIdOf(room_key).bytes}; }

Result<RoomId> ParseRoomId(std::string_view text) {
  auto id = ParsePeerId(text);
  if (!id) return Error{Code::kInvalid, "a room's id must be 64 lower-case hex digits"};
  return RoomId{id->bytes};
}

Digest BlindDigest(const PublicKey& room_key, const Digest& blob) {
  std::string text(kBlindContext);
  text += AsText(room_key.bytes);
  text += AsText(blob.bytes);
  Digest blind;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(blind.bytes.data()));
  return blind;
}

}  // namespace shoal::index
