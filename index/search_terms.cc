#include "index/search_terms.h"

#include <cstring>

#include "base/check.h"

namespace shoal::index {
namespace {

constexpr std::string_view kMarks = "/=@";
constexpr std::size_t kTermHolesMin = 1 << 20;  // less is not worth a compaction

}  // namespace

std::uint64_t SearchTerms::HashOf(std::string_view text) const {
  std::uint64_t hash = Mix(seed_ ^ text.size());
  while (!text.empty()) {
    std::uint64_t word = 0;
    const auto bytes = std::min(text.size(), sizeof word);
    std::memcpy(&word, text.data(), bytes);
    hash = Mix(hash ^ word);
    text.remove_prefix(bytes);
  }
  return hash;
}

Handle SearchTerms::Find(std::string_view term) const {
  return table_.Find(HashOf(term), [&](Handle handle) { return TextOf(terms_[handle]) == term; });
}

SortedIds::Place SearchTerms::PlaceOf(std::string_view term) const {
  return order_.Seek([&](Handle handle) { return TextOf(terms_[handle]) < term; });
}

void SearchTerms::Add(std::string_view text, Handle image) {
  Handle handle = Find(text);
  if (handle == kNoHandle) {
    const bool marked = !text.empty() && kMarks.find(text.front()) != kMarks.npos;
    auto& all = texts_[marked ? 1 : 0];
    Term made{static_cast<std::uint32_t>(all.size()), static_cast<std::uint16_t>(text.size()),
              marked, image, nullptr};
    all += text;
    all += '\0';
    handle = terms_.Add(std::move(made));
    order_.InsertAt(PlaceOf(text), handle);
    table_.Insert(HashOf(text), handle);
    return;
  }
  auto& term = terms_[handle];
  if (term.only == image) return;
  if (term.only != kNoHandle) {
    term.images = std::make_unique<IdSet>();
    term.images->Add(std::exchange(term.only, kNoHandle));
  }
  term.images->Add(image);
}

void SearchTerms::Remove(std::string_view text, Handle image) {
  const Handle handle = Find(text);
  if (handle == kNoHandle) return;
  auto& term = terms_[handle];
  if (term.images != nullptr) {
    term.images->Remove(image);
    if (term.images->size() == 0) Drop(handle);
  } else if (term.only == image) {
    Drop(handle);
  }
}

void SearchTerms::Drop(Handle handle) {
  auto& term = terms_[handle];
  const auto text = TextOf(term);
  order_.EraseAt(PlaceOf(text));
  table_.Erase(HashOf(text), handle);
  // Nobody finds it by Containing any more.
  holes_ += text.size() + 1;
  std::memset(texts_[term.marked ? 1 : 0].data() + term.at, 0, text.size());
  terms_.Remove(handle);
  if (holes_ > kTermHolesMin && holes_ > (texts_[0].size() + texts_[1].size()) / 2) Compact();
}

void SearchTerms::Compact() {
  std::array<std::string, 2> texts;
  order_.Walk({}, [&](Handle handle) {
    auto& term = terms_[handle];
    auto& text = texts[term.marked ? 1 : 0];
    const auto at = static_cast<std::uint32_t>(text.size());
    text += TextOf(term);
    text += '\0';
    term.at = at;
    return true;
  });
  texts_ = std::move(texts);
  holes_ = 0;
}

void SearchTerms::Collect(const Term& term, IdBits& out) {
  if (term.images != nullptr) {
    term.images->OrInto(out);
  } else {
    out.Set(term.only);
  }
}

std::size_t SearchTerms::Exactly(std::string_view term, IdBits& out) const {
  const Handle handle = Find(term);
  if (handle != kNoHandle) Collect(terms_[handle], out);
  return 1;
}

std::size_t SearchTerms::BeginningWith(std::string_view prefix, IdBits& out,
                                       std::size_t most) const {
  std::size_t looked = 0;
  order_.Walk(PlaceOf(prefix), [&](Handle handle) {
    const auto& term = terms_[handle];
    if (!TextOf(term).starts_with(prefix) || looked == most) return false;
    Collect(term, out);
    ++looked;
    return true;
  });
  return looked;
}

std::size_t SearchTerms::Containing(std::string_view text, IdBits& out, std::size_t most) const {
  std::size_t looked = 0;
  const auto& words = texts_[0];
  const char* const end = words.data() + words.size();
  const char* from = words.data();
  while (from < end && looked < most) {
    const auto* hit = static_cast<const char*>(
        memmem(from, static_cast<std::size_t>(end - from), text.data(), text.size()));
    if (hit == nullptr) break;
    // The whole term round the hit.
    const char* begin = hit;
    while (begin > words.data() && begin[-1] != '\0') --begin;
    const char* stop =
        static_cast<const char*>(std::memchr(hit, '\0', static_cast<std::size_t>(end - hit)));
    looked += Exactly({begin, static_cast<std::size_t>(stop - begin)}, out);
    from = stop;
  }
  return looked;
}

void SearchTerms::CheckInvariants() const {
  SHOAL_CHECK(order_.size() == terms_.size());
  std::string_view before;
  order_.Walk({}, [&](Handle handle) {
    const auto& term = terms_[handle];
    const auto text = TextOf(term);
    SHOAL_CHECK(before < text);
    SHOAL_CHECK(Find(text) == handle);
    SHOAL_CHECK((term.only == kNoHandle) == (term.images != nullptr));
    SHOAL_CHECK(term.images == nullptr || term.images->size() > 0);
    before = text;
    return true;
  });
}

}  // namespace shoal::index
