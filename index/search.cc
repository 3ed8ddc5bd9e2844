#include "index/search.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/encoding.h"

namespace shoal::index {
namespace {

constexpr std::size_t kHolesMin = 4 << 20;  // less is not worth a compaction
constexpr std::size_t kCursorBytesMax = 1024;

}  // namespace

// Every term of an image, some of them twice.
template <class Visit>
void ImageSearch::EachTerm(std::string_view name, std::string_view platforms, const Visit& visit) {
  const std::string small = ToLower(name);
  const std::string_view text = small;
  std::string marked;
  const auto mark = [&](char with, std::string_view what) {
    marked.assign(1, with).append(what);
    visit(std::string_view(marked));
  };
  for (std::size_t at = 0; at < text.size();) {
    if (!IsWordByte(text[at])) {
      ++at;
      continue;
    }
    auto end = at;
    while (end < text.size() && IsWordByte(text[end])) ++end;
    const auto word = text.substr(at, end - at);
    visit(word);
    if (at == 0 || text[at - 1] == '/') mark('/', word);
    at = end;
  }
  // What RankOf may call the whole end of the name: of the repository, and of the name itself.
  const auto repository = text.substr(0, RepositoryEnd(text));
  mark('=', repository.substr(repository.rfind('/') + 1));
  if (const auto last = text.substr(text.rfind('/') + 1);
      last.find_first_of(":@") == last.npos && repository.size() != text.size()) {
    mark('=', last);
  }
  while (!platforms.empty()) {
    const auto platform = platforms.substr(0, platforms.find(','));
    platforms.remove_prefix(std::min(platform.size() + 1, platforms.size()));
    mark('@', platform);
    if (const auto slash = platform.find('/'); slash != platform.npos) {
      mark('@', platform.substr(slash + 1));
    }
  }
}

std::string_view ImageSearch::NameOf(const Image& image) const {
  return std::string_view(text_).substr(image.text, image.name_bytes);
}

std::string_view ImageSearch::PlatformsOf(const Image& image) const {
  return std::string_view(text_).substr(image.text + image.name_bytes, image.platform_bytes);
}

bool ImageSearch::Comes(const Place& a, const Place& b) {
  return std::tie(b.holders, b.since_s, a.name, a.digest) <
         std::tie(a.holders, a.since_s, b.name, b.digest);
}

ImageSearch::Place ImageSearch::PlaceOf(const Image& image) const {
  return {image.peers + (image.here ? 1 : 0), image.since_s, NameOf(image), image.digest};
}

SortedIds::Place ImageSearch::Seek(const Place& place) const {
  return order_.Seek([&](Handle handle) { return Comes(PlaceOf(images_[handle]), place); });
}

std::uint64_t ImageSearch::HashOf(std::string_view name, const Digest& digest) const {
  std::uint64_t hash = Mix(seed_ ^ std::hash<Digest>()(digest));
  while (!name.empty()) {
    std::uint64_t word = 0;
    const auto bytes = std::min(name.size(), sizeof word);
    std::memcpy(&word, name.data(), bytes);
    hash = Mix(hash ^ word);
    name.remove_prefix(bytes);
  }
  return hash;
}

Handle ImageSearch::FindImage(std::string_view name, const Digest& digest) const {
  return table_.Find(HashOf(name, digest), [&](Handle handle) {
    return images_[handle].digest == digest && NameOf(images_[handle]) == name;
  });
}

SearchHit ImageSearch::ToHit(Handle handle, SearchRank rank) const {
  const auto& image = images_[handle];
  return {{std::string(NameOf(image)), image.digest, image.size, std::string(PlatformsOf(image))},
          image.peers,
          image.here,
          rank};
}

template <class Change>
void ImageSearch::Move(Handle handle, const Change& change) {
  auto& image = images_[handle];
  order_.EraseAt(Seek(PlaceOf(image)));
  change(image);
  order_.InsertAt(Seek(PlaceOf(image)), handle);
}

void ImageSearch::SetText(Image& image, std::string_view name, std::string_view platforms) {
  std::string text(name);
  text += platforms;
  image.text = static_cast<std::uint32_t>(text_.size());
  image.name_bytes = static_cast<std::uint16_t>(name.size());
  image.platform_bytes = static_cast<std::uint8_t>(platforms.size());
  text_ += text;
}

void ImageSearch::Add(Time now, const ImageHolding& holding, Whose whose, std::uint32_t holders) {
  if (!IsImageName(holding.name) || !IsPlatforms(holding.platforms)) return;
  Handle handle = FindImage(holding.name, holding.digest);
  if (handle == kNoHandle) {
    if (images_.size() >= images_max_) return;
    Image made;
    made.digest = holding.digest;
    made.size = holding.size;
    made.since_s = static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
    made.here = whose == Whose::kOurs;
    made.peers = whose == Whose::kOurs ? 0 : holders;
    SetText(made, holding.name, holding.platforms);
    handle = images_.Add(made);
    table_.Insert(HashOf(holding.name, holding.digest), handle);
    order_.InsertAt(Seek(PlaceOf(made)), handle);
    digests_.InsertAt(digests_.Seek([&](Handle other) {
      return std::tie(images_[other].digest, other) < std::tie(made.digest, handle);
    }),
                      handle);
    EachTerm(holding.name, holding.platforms,
             [&](std::string_view term) { terms_.Add(term, handle); });
    return;
  }
  Move(handle, [&](Image& image) {
    if (whose == Whose::kOurs) {
      image.here = true;
    } else {
      image.peers += holders;
    }
  });
  Update(holding);
}

void ImageSearch::Update(const ImageHolding& holding) {
  const Handle handle = FindImage(holding.name, holding.digest);
  if (handle == kNoHandle || !IsPlatforms(holding.platforms)) return;
  auto& image = images_[handle];
  if (holding.size > Bytes(0)) image.size = holding.size;
  if (holding.platforms.empty() || holding.platforms == PlatformsOf(image)) return;
  EachTerm(holding.name, PlatformsOf(image),
           [&](std::string_view term) { terms_.Remove(term, handle); });
  holes_ += image.name_bytes + image.platform_bytes;
  SetText(image, holding.name, holding.platforms);
  EachTerm(holding.name, holding.platforms,
           [&](std::string_view term) { terms_.Add(term, handle); });
  if (holes_ > kHolesMin && holes_ > text_.size() / 2) Compact();
}

void ImageSearch::Remove(std::string_view name, const Digest& digest, Whose whose) {
  const Handle handle = FindImage(name, digest);
  if (handle == kNoHandle) return;
  const auto& held = images_[handle];
  const bool stays = whose == Whose::kOurs ? held.peers > 0 : held.here || held.peers > 1;
  if (!stays && (whose == Whose::kOurs ? held.here : held.peers > 0)) return Drop(handle);
  Move(handle, [&](Image& image) {
    if (whose == Whose::kOurs) {
      image.here = false;
    } else if (image.peers > 0) {
      --image.peers;
    }
  });
}

void ImageSearch::Drop(Handle handle) {
  const Image image = images_[handle];
  const auto name = NameOf(image);
  EachTerm(name, PlatformsOf(image), [&](std::string_view term) { terms_.Remove(term, handle); });
  order_.EraseAt(Seek(PlaceOf(image)));
  digests_.EraseAt(digests_.Seek([&](Handle other) {
    return std::tie(images_[other].digest, other) < std::tie(image.digest, handle);
  }));
  table_.Erase(HashOf(name, image.digest), handle);
  holes_ += image.name_bytes + image.platform_bytes;
  images_.Remove(handle);
  if (holes_ > kHolesMin && holes_ > text_.size() / 2) Compact();
}

void ImageSearch::Compact() {
  std::string text;
  text.reserve(text_.size() - holes_);
  order_.Walk({}, [&](Handle handle) {
    auto& image = images_[handle];
    const auto at = static_cast<std::uint32_t>(text.size());
    text += NameOf(image);
    text += PlatformsOf(image);
    image.text = at;
    return true;
  });
  text_ = std::move(text);
  holes_ = 0;
}

// rank, holders and since in decimals, then the name and the digest.
std::string ImageSearch::ToText(const Cursor& cursor) {
  std::string tail(AsText(cursor.digest.bytes));
  tail += cursor.name;
  return std::to_string(static_cast<int>(cursor.rank)) + "." + std::to_string(cursor.holders) +
         "." + std::to_string(cursor.since_s) + "." + ToBase64Url(AsBytes(tail));
}

Result<ImageSearch::Cursor> ImageSearch::ParseCursor(std::string_view text) {
  const Error wrong{Code::kInvalid, "search: this is no cursor of a search; begin without one"};
  if (text.size() > kCursorBytesMax) return wrong;
  Cursor cursor;
  std::uint32_t rank = 0;
  for (auto* number : {&rank, &cursor.holders, &cursor.since_s}) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, *number);
    if (error != std::errc() || stop == end || *stop != '.') return wrong;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  }
  const auto tail = FromBase64Url(text);
  if (rank > static_cast<std::uint32_t>(SearchRank::kPattern) || !tail ||
      tail->size() < cursor.digest.bytes.size()) {
    return wrong;
  }
  cursor.rank = static_cast<SearchRank>(rank);
  std::copy_n(tail->begin(), cursor.digest.bytes.size(), cursor.digest.bytes.begin());
  cursor.name = std::string(AsText(*tail).substr(cursor.digest.bytes.size()));
  return cursor;
}

void ImageSearch::CheckInvariants() const {
  SHOAL_CHECK(order_.size() == images_.size());
  SHOAL_CHECK(digests_.size() == images_.size());
  const Image* before = nullptr;
  order_.Walk({}, [&](Handle handle) {
    const auto& image = images_[handle];
    SHOAL_CHECK(image.here || image.peers > 0);
    SHOAL_CHECK(FindImage(NameOf(image), image.digest) == handle);
    SHOAL_CHECK(before == nullptr || Comes(PlaceOf(*before), PlaceOf(image)));
    before = &image;
    return true;
  });
  terms_.CheckInvariants();
}

}  // namespace shoal::index
