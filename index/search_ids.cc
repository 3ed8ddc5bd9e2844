#include "index/search_ids.h"

#include <cstring>

namespace shoal::index {
namespace {

constexpr std::size_t kBitsOfPart = 65536;
constexpr std::size_t kDenseData = kBitsOfPart / 16;

std::uint16_t High(Handle id) { return static_cast<std::uint16_t>(id >> 16); }
std::uint16_t Low(Handle id) { return static_cast<std::uint16_t>(id & 0xffff); }
std::uint16_t Mask(std::uint16_t low) { return static_cast<std::uint16_t>(1U << (low % 16)); }

std::vector<std::uint16_t> ToDense(const std::vector<std::uint16_t>& lows) {
  std::vector<std::uint16_t> bits(kDenseData, 0);
  for (const auto low : lows) bits[low / 16] |= Mask(low);
  return bits;
}

std::vector<std::uint16_t> ToSparse(const std::vector<std::uint16_t>& bits, std::size_t count) {
  std::vector<std::uint16_t> lows;
  lows.reserve(count);
  for (std::size_t low = 0; low < kBitsOfPart; ++low) {
    const auto number = static_cast<std::uint16_t>(low);
    if ((bits[low / 16] & Mask(number)) != 0) lows.push_back(number);
  }
  return lows;
}

}  // namespace

std::vector<IdSet::Part>::iterator IdSet::Find(std::uint16_t high) {
  return std::lower_bound(parts_.begin(), parts_.end(), high,
                          [](const Part& part, std::uint16_t h) { return part.high < h; });
}

void IdSet::Add(Handle id) {
  auto part = Find(High(id));
  if (part == parts_.end() || part->high != High(id)) {
    part = parts_.insert(part, Part{High(id), false, 0, {}});
  }
  const auto low = Low(id);
  if (part->dense) {
    if ((part->data[low / 16] & Mask(low)) != 0) return;
    part->data[low / 16] |= Mask(low);
  } else {
    const auto at = std::lower_bound(part->data.begin(), part->data.end(), low);
    if (at != part->data.end() && *at == low) return;
    part->data.insert(at, low);
  }
  ++part->count;
  ++size_;
  if (!part->dense && part->count >= kSparseMax) {
    part->data = ToDense(part->data);
    part->dense = true;
  }
}

void IdSet::Remove(Handle id) {
  const auto part = Find(High(id));
  if (part == parts_.end() || part->high != High(id)) return;
  const auto low = Low(id);
  if (part->dense) {
    if ((part->data[low / 16] & Mask(low)) == 0) return;
    part->data[low / 16] ^= Mask(low);
  } else {
    const auto at = std::lower_bound(part->data.begin(), part->data.end(), low);
    if (at == part->data.end() || *at != low) return;
    part->data.erase(at);
  }
  --part->count;
  --size_;
  if (part->count == 0) {
    parts_.erase(part);
  } else if (part->dense && part->count < kDenseMin) {
    part->data = ToSparse(part->data, part->count);
    part->dense = false;
  }
}

void IdSet::OrInto(IdBits& bits) const {
  for (const auto& part : parts_) {
    const Handle base = Handle{part.high} << 16;
    if (!part.dense) {
      for (const auto low : part.data) bits.Set(base + low);
      continue;
    }
    for (std::size_t at = 0; at < kDenseData; at += 4) {
      std::uint64_t word = 0;
      for (std::size_t i = 0; i < 4; ++i) word |= std::uint64_t{part.data[at + i]} << (16 * i);
      bits.OrWord((base + at * 16) / 64, word);
    }
  }
}

void SortedIds::InsertAt(Place place, Handle id) {
  ++size_;
  if (place.page == pages_.size()) {
    if (pages_.empty()) pages_.emplace_back();
    place = {pages_.size() - 1, pages_.back().size()};
  }
  auto* page = &pages_[place.page];
  if (page->size() >= kPage) {
    // What arrives in order fills its pages; what comes in between halves them.
    const bool at_end = place.page + 1 == pages_.size() && place.at == page->size();
    const std::size_t keep = at_end ? page->size() : page->size() / 2;
    std::vector<Handle> rest(page->begin() + static_cast<std::ptrdiff_t>(keep), page->end());
    page->resize(keep);
    page->shrink_to_fit();
    pages_.insert(pages_.begin() + static_cast<std::ptrdiff_t>(place.page) + 1, std::move(rest));
    if (place.at >= keep) place = {place.page + 1, place.at - keep};
    page = &pages_[place.page];
  }
  page->insert(page->begin() + static_cast<std::ptrdiff_t>(place.at), id);
}

void SortedIds::EraseAt(Place place) {
  --size_;
  auto& page = pages_[place.page];
  page.erase(page.begin() + static_cast<std::ptrdiff_t>(place.at));
  const auto next = pages_.begin() + static_cast<std::ptrdiff_t>(place.page) + 1;
  if (page.empty()) {
    pages_.erase(next - 1);
  } else if (next != pages_.end() && page.size() + next->size() < kPage / 2) {
    page.insert(page.end(), next->begin(), next->end());
    pages_.erase(next);
  }
}

}  // namespace shoal::index
