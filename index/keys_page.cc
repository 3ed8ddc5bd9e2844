// The JSON of ServeKeys. Written by hand, because a page has up to 2000 keys and none of its
// strings needs escaping; read through base/json.h, because strangers wrote it.
#include <optional>

#include "base/check.h"
#include "base/json.h"
#include "index/inventory.h"
#include "index/record.h"

namespace shoal::index {
namespace {

void EncodeChange(const KeyChange& change, std::string& out) {
  if (const auto* blob = std::get_if<BlobHolding>(&change.holding)) {
    out += R"({"blob":")" + ToString(blob->digest) + '"';
    if (!change.gone) {
      out += R"(,"size":)" + std::to_string(blob->size.count());
      if (!blob->complete) out += R"(,"partial":true)";
    }
  } else {
    const auto& image = std::get<ImageHolding>(change.holding);
    SHOAL_CHECK(IsImageName(image.name));
    out += R"({"image":")" + image.name + '"';
    if (!change.gone) {
      out += R"(,"manifest":")" + ToString(image.digest) + '"';
      if (image.size > Bytes(0)) out += R"(,"size":)" + std::to_string(image.size.count());
      if (!image.platforms.empty()) out += R"(,"platforms":")" + image.platforms + '"';
    }
  }
  if (change.gone) out += R"(,"gone":true)";
  out += '}';
}

// An absent member is false.
Result<bool> GetFlag(const Json& object, const std::string& member) {
  if (!object.has_field(member)) return false;
  return GetBool(object, member);
}

Result<Digest> GetDigest(const Json& object, const std::string& member) {
  auto text = GetString(object, member, 512);
  if (!text) return text.error();
  return ParseDigest(*text);
}

Result<KeyChange> DecodeBlob(const Json& json, bool gone) {
  auto digest = GetDigest(json, "blob");
  if (!digest) return digest.error();
  BlobHolding blob{*digest, Bytes(0), true};
  if (!gone) {
    auto size = GetInt(json, "size", 0, kBlobBytesMax);
    if (!size) return size.error();
    blob.size = Bytes(*size);
    auto partial = GetFlag(json, "partial");
    if (!partial) return partial.error();
    blob.complete = !*partial;
  }
  return KeyChange{blob, gone};
}

Result<KeyChange> DecodeImage(const Json& json, bool gone) {
  auto name = GetString(json, "image", kImageNameBytesMax);
  if (!name) return name.error();
  if (!IsImageName(*name)) {
    return Error{Code::kInvalid, "JSON member \"image\" must be an image name"};
  }
  ImageHolding image{*std::move(name), Digest{}};
  if (!gone) {
    auto digest = GetDigest(json, "manifest");
    if (!digest) return digest.error();
    image.digest = *digest;
    // What is said of the image beside its digest may be missing, and helps searching only.
    if (json.has_field("size")) {
      auto size = GetInt(json, "size", 0, kBlobBytesMax);
      if (!size) return size.error();
      image.size = Bytes(*size);
    }
    if (json.has_field("platforms")) {
      auto platforms = GetString(json, "platforms", kPlatformsBytesMax);
      if (!platforms) return platforms.error();
      if (!IsPlatforms(*platforms)) {
        return Error{Code::kInvalid, "JSON member \"platforms\" must be platforms"};
      }
      image.platforms = *std::move(platforms);
    }
  }
  return KeyChange{std::move(image), gone};
}

// nullopt: to be skipped, since it is of a kind that we do not know or a malformed image. A page
// with a malformed blob is refused whole: what its holder means cannot be told, and fetching would
// go by it. An image's name is for finding only, and one bad name must not hide all the others.
Result<std::optional<KeyChange>> DecodeChange(const Json& json) {
  if (!json.is_object()) return Error{Code::kInvalid, "a key must be a JSON object"};
  const bool is_blob = json.has_field("blob");
  if (!is_blob && !json.has_field("image")) return std::optional<KeyChange>();
  auto gone = GetFlag(json, "gone");
  if (!gone && is_blob) return gone.error();
  if (!gone) return std::optional<KeyChange>();
  auto change = is_blob ? DecodeBlob(json, *gone) : DecodeImage(json, *gone);
  if (!change && (!is_blob || change.error().code == Code::kUnsupported)) {
    return std::optional<KeyChange>();
  }
  if (!change) return change.error();
  return std::optional<KeyChange>(*std::move(change));
}

}  // namespace

std::string EncodeKeysPage(const KeysPage& page) {
  std::string out = R"({"epoch":)" + std::to_string(page.epoch) + R"(,"cursor":)" +
                    std::to_string(page.cursor) + R"(,"reset":)" + (page.reset ? "true" : "false") +
                    R"(,"more":)" + (page.more ? "true" : "false") + R"(,"keys":[)";
  out.reserve(out.size() + page.changes.size() * 130);
  bool first = true;
  for (const auto& change : page.changes) {
    if (!first) out += ',';
    first = false;
    EncodeChange(change, out);
  }
  out += "]}";
  return out;
}

Result<KeysPage> DecodeKeysPage(std::string_view text) {
  auto json = ParseJson(text, kKeysPageBytesMax);
  if (!json) return json.error().In("keys");
  KeysPage page;
  auto epoch = GetInt(*json, "epoch", 1, kJsonIntMax);
  if (!epoch) return epoch.error().In("keys");
  page.epoch = static_cast<std::uint64_t>(*epoch);
  auto cursor = GetInt(*json, "cursor", 0, kJsonIntMax);
  if (!cursor) return cursor.error().In("keys");
  page.cursor = static_cast<std::uint64_t>(*cursor);
  auto reset = GetBool(*json, "reset");
  if (!reset) return reset.error().In("keys");
  page.reset = *reset;
  auto more = GetBool(*json, "more");
  if (!more) return more.error().In("keys");
  page.more = *more;
  if (!json->has_array_field("keys")) {
    return Error{Code::kInvalid, "keys: JSON member \"keys\" must be an array"};
  }
  const auto& keys = json->at("keys").as_array();
  if (keys.size() > static_cast<std::size_t>(kKeysPageMax)) {
    return Error{Code::kExhausted, "keys: a page must have at most 2000 keys"};
  }
  page.changes.reserve(keys.size());
  for (const auto& key : keys) {
    auto change = DecodeChange(key);
    if (!change) return change.error().In("keys");
    if (change->has_value()) page.changes.push_back(**std::move(change));
  }
  return page;
}

}  // namespace shoal::index
