#include "index/namespaces.h"

#include <algorithm>
#include <cstring>

#include "base/digest.h"

namespace shoal::index {
namespace {

constexpr std::string_view kBlob = "blob/";
constexpr char kKindBlob = 'B';
constexpr char kKindText = 'T';

}  // namespace

bool IsNamespace(std::string_view name) {
  return !name.empty() && name.size() <= kNamespaceBytesMax &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

std::string PackName(std::string_view name) {
  if (name.starts_with(kBlob)) {
    if (const auto digest = ParseDigest(name.substr(kBlob.size()))) {
      return kKindBlob + std::string(AsText(digest->bytes));
    }
  }
  return kKindText + std::string(name);
}

std::string UnpackName(std::string_view packed) {
  if (packed.empty()) return "";
  const std::string_view text = packed.substr(1);
  if (packed[0] == kKindBlob) {
    Digest digest;
    if (text.size() != digest.bytes.size()) return "";
    std::memcpy(digest.bytes.data(), text.data(), text.size());
    return std::string(kBlob) + shoal::ToString(digest);
  }
  return packed[0] == kKindText && IsNamespace(text) ? std::string(text) : "";
}

bool IsPackedName(std::string_view text) {
  if (text.empty()) return false;
  if (text[0] == kKindBlob) return text.size() == 1 + sizeof(Digest::bytes);
  return text[0] == kKindText && IsNamespace(text.substr(1));
}

Namespaces::~Namespaces() {
  for (Handle handle = 0; handle < spaces_.made(); ++handle) {
    if (spaces_[handle].length != 0) Remove(handle);
  }
}

std::string_view Namespaces::TextOf(const Space& space) {
  const char* at = space.name.data();
  if (space.length > space.name.size()) std::memcpy(&at, space.name.data(), sizeof at);
  return {at, space.length};
}

std::uint64_t Namespaces::HashOf(char kind, std::string_view text) const {
  std::uint64_t hash = Mix(seed_ ^ static_cast<std::uint64_t>(kind));
  while (!text.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = std::min(text.size(), sizeof word);
    std::memcpy(&word, text.data(), size);
    hash = Mix(hash ^ word) + size;
    text.remove_prefix(size);
  }
  return hash;
}

std::uint64_t Namespaces::HashOf(std::string_view packed) const {
  return HashOf(packed.front(), packed.substr(1));
}

Handle Namespaces::Find(std::string_view packed, std::uint64_t hash) const {
  const char kind = packed.front();
  const std::string_view text = packed.substr(1);
  return table_.Find(hash, [&](Handle handle) {
    return spaces_[handle].kind == kind && TextOf(spaces_[handle]) == text;
  });
}

Handle Namespaces::Find(std::string_view packed) const { return Find(packed, HashOf(packed)); }

Handle Namespaces::FindOrAdd(std::string_view packed, std::uint64_t hash) {
  if (const Handle found = Find(packed, hash); found != kNoHandle) return found;
  const std::string_view text = packed.substr(1);
  SHOAL_CHECK(!text.empty() && text.size() <= kNamespaceBytesMax);
  Space space;
  space.kind = packed.front();
  space.length = static_cast<std::uint8_t>(text.size());
  if (text.size() <= space.name.size()) {
    std::memcpy(space.name.data(), text.data(), text.size());
  } else {
    char* copy = std::make_unique<char[]>(text.size()).release();  // until Remove
    std::memcpy(copy, text.data(), text.size());
    std::memcpy(space.name.data(), &copy, sizeof copy);
  }
  const Handle handle = spaces_.Add(space);
  table_.Insert(hash, handle);
  return handle;
}

void Namespaces::Remove(Handle handle) {
  const Space& space = spaces_[handle];
  table_.Erase(HashOf(space.kind, TextOf(space)), handle);
  if (space.length > space.name.size()) {
    const std::unique_ptr<const char[]> owned(TextOf(space).data());
  }
  spaces_.Remove(handle);
}

std::string Namespaces::Packed(Handle handle) const {
  const Space& space = spaces_[handle];
  return space.kind + std::string(TextOf(space));
}

}  // namespace shoal::index
