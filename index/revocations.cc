#include "index/revocations.h"

#include <openssl/sha.h>

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "index/envelope.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::string_view kRevocationContext = "shoal-revocation-v1\n";
constexpr std::size_t kRevocationPayloadBytesMax = 512;
constexpr int kRevocationVersion = 1;

struct Revocation {
  PeerId id;
  std::uint64_t sequence = 0;
  std::string text;
};

std::string TextOf(std::string_view payload, const Signature& signature) {
  return R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
         ToBase64Url(signature) + R"("})";
}

// What it says, whoever signed it.
struct Read {
  Revocation revocation;
  std::string payload;
  Signature signature;
};

Result<Read> Parse(std::string_view text, const PublicKey& room) {
  auto json = ParseJson(text, kRevocationBytesMax);
  if (!json) return json.error();
  if (!json->is_object()) return Error{Code::kInvalid, "it must be a JSON object"};
  auto payload = GetBase64(*json, "payload", kRevocationPayloadBytesMax);
  if (!payload) return payload.error();
  auto signature = GetSignature(*json, "signature");
  if (!signature) return signature.error();
  auto inner = ParseJson(*payload, kRevocationPayloadBytesMax);
  if (!inner) return inner.error();
  if (auto version = GetInt(*inner, "version", kRevocationVersion, kRevocationVersion); !version) {
    return version.error();
  }
  auto name = GetString(*inner, "room", 64);
  if (!name) return name.error();
  if (*name != RoomIdOf(room).Hex()) return Error{Code::kDenied, "it is of another room"};
  auto revoked = GetString(*inner, "revoked", 64);
  if (!revoked) return revoked.error();
  auto id = ParsePeerId(*revoked);
  if (!id) return id.error();
  auto sequence = GetInt(*inner, "sequence", 1, kJsonIntMax);
  if (!sequence) return sequence.error();
  return Read{{*id, static_cast<std::uint64_t>(*sequence), TextOf(*payload, *signature)},
              *payload,
              *signature};
}

}  // namespace

std::string SignRevocation(const SigningKey& room, const PeerId& revoked, std::uint64_t sequence) {
  SHOAL_CHECK(sequence >= 1 && sequence <= static_cast<std::uint64_t>(kJsonIntMax));
  auto payload = Json::object(true);
  payload["version"] = Json::number(kRevocationVersion);
  payload["room"] = Json::string(RoomIdOf(room.public_key()).Hex());
  payload["revoked"] = Json::string(revoked.Hex());
  payload["sequence"] = Json::number(static_cast<std::int64_t>(sequence));
  const std::string text = payload.serialize();
  return TextOf(text, SignIn(kRevocationContext, text, room));
}

Result<bool> Revocations::Add(std::string_view text) {
  auto read = Parse(text, room_);
  if (!read) return read.error().In("revocation");
  Revocation& revocation = read->revocation;
  const auto it = by_id_.find(revocation.id);
  // What says nothing new need not be true.
  if (it != by_id_.end() && it->second.sequence >= revocation.sequence) return false;
  if (!VerifyIn(kRevocationContext, read->payload, room_, read->signature)) {
    return Error{Code::kDenied, "revocation: the signature is not by the room's key"};
  }
  if (it == by_id_.end() && by_id_.size() == kRevocationsMax) {
    return Error{Code::kExhausted,
                 "a room takes " + std::to_string(kRevocationsMax) +
                     " revocations; make a new room and let those join that should be in it"};
  }
  by_id_[revocation.id] = {revocation.sequence, ++arrivals_, std::move(revocation.text)};
  Rehash();
  return true;
}

bool Revocations::CoversId(const PeerId& id, std::uint64_t sequence) const {
  const auto it = by_id_.find(id);
  return it != by_id_.end() && sequence <= it->second.sequence;
}

bool Revocations::Covers(const Membership& membership) const {
  if (CoversId(membership.peer(), membership.sequence())) return true;
  const auto token = membership.token();
  return token && CoversId(*token, membership.sequence());
}

std::vector<std::string> Revocations::Texts() const {
  std::vector<std::string> texts;
  texts.reserve(by_id_.size());
  for (const auto& [id, entry] : by_id_) texts.push_back(entry.text);
  return texts;
}

std::vector<std::string> Revocations::Newest(std::size_t count) const {
  std::vector<const Entry*> entries;
  entries.reserve(by_id_.size());
  for (const auto& [id, entry] : by_id_) entries.push_back(&entry);
  std::ranges::sort(entries, std::greater<>(), &Entry::arrival);
  if (entries.size() > count) entries.resize(count);
  std::vector<std::string> texts;
  texts.reserve(entries.size());
  for (const auto* entry : entries) texts.push_back(entry->text);
  return texts;
}

std::vector<PeerId> Revocations::Ids() const {
  std::vector<PeerId> ids;
  ids.reserve(by_id_.size());
  for (const auto& [id, entry] : by_id_) ids.push_back(id);
  return ids;
}

void Revocations::Rehash() {
  std::string text;
  for (const auto& [id, entry] : by_id_) {
    text += id.Hex() + " " + std::to_string(entry.sequence) + "\n";
  }
  std::array<std::byte, 32> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  hash_ = ToHex(hash);
}

}  // namespace shoal::index
