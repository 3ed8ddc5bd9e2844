#include "index/search_query.h"

#include <algorithm>

#include "base/units.h"

namespace shoal::index {
namespace {

constexpr std::string_view kDigestMark = "sha256:";

bool IsPattern(std::string_view word) { return word.find_first_of("*?") != word.npos; }

// Whether `word` begins with `mark`, which is then taken off.
bool Take(std::string_view& word, std::string_view mark) {
  if (!word.starts_with(mark)) return false;
  word.remove_prefix(mark.size());
  return true;
}

Status TakeSize(std::string_view text, SearchQuery& query) {
  const Error wrong{Code::kInvalid, "search: write sizes like size:>1GiB or size:<100MiB"};
  if (text.empty() || (text.front() != '<' && text.front() != '>')) return wrong;
  // Units have capitals, which the query has lost.
  std::string size(text.substr(1));
  for (const auto& [small, unit] :
       {std::pair{"kib", "KiB"}, std::pair{"mib", "MiB"}, std::pair{"gib", "GiB"},
        std::pair{"tib", "TiB"}, std::pair{"kb", "kB"}, std::pair{"mb", "MB"},
        std::pair{"gb", "GB"}, std::pair{"tb", "TB"}}) {
    if (const auto at = size.find(small); at != size.npos) {
      size = size.substr(0, at) + unit;
      break;
    }
  }
  const auto bytes = ParseSize(size);
  if (!bytes) return wrong;
  if (text.front() == '>') {
    query.size_above = std::max(*bytes, query.size_above.value_or(*bytes));
  } else {
    query.size_below = std::min(*bytes, query.size_below.value_or(*bytes));
  }
  return Ok();
}

Status TakeWord(std::string_view word, SearchQuery& query) {
  const auto kept = [](std::string_view text) { return std::string(text); };
  if (Take(word, kDigestMark)) {
    if (word.size() > 64 || word.find_first_not_of("0123456789abcdef") != word.npos) {
      return Error{Code::kInvalid, "search: a digest is sha256: and up to 64 hex digits"};
    }
    query.digests.push_back(kept(word));
  } else if (Take(word, "tag:")) {
    query.tags.push_back(kept(word));
  } else if (Take(word, "arch:") || Take(word, "platform:")) {
    if (word.empty()) return Error{Code::kInvalid, "search: write arch:amd64 or arch:arm64"};
    query.platforms.push_back(kept(word));
  } else if (Take(word, "size:")) {
    return TakeSize(word, query);
  } else {
    (IsPattern(word) ? query.patterns : query.texts).push_back(kept(word));
  }
  return Ok();
}

// Calls `visit` with each place where `text` begins at the beginning of a word, until it returns
// true. Returns whether it did.
template <class Visit>
bool AnyPlace(std::string_view name, std::string_view text, const Visit& visit) {
  for (auto at = name.find(text); at != name.npos; at = name.find(text, at + 1)) {
    if (at != 0 && IsWordByte(text.front()) && IsWordByte(name[at - 1])) continue;
    if (visit(at)) return true;
  }
  return false;
}

std::optional<SearchRank> RankOfText(std::string_view name, std::string_view text) {
  std::optional<SearchRank> best;
  const auto repository_end = RepositoryEnd(name);
  AnyPlace(name, text, [&](std::size_t at) {
    const auto end = at + text.size();
    const bool component = at == 0 || name[at - 1] == '/';
    const bool whole = end == name.size() || end == repository_end;
    const auto rank = component && whole ? SearchRank::kExact
                      : component        ? SearchRank::kPrefix
                                         : SearchRank::kWord;
    if (!best || rank < *best) best = rank;
    return rank == SearchRank::kExact;
  });
  return best;
}

std::string_view TagOf(std::string_view name) {
  const auto at = RepositoryEnd(name);
  if (at == name.size() || name[at] != ':') return {};
  const auto tag = name.substr(at + 1);
  return tag.substr(0, tag.find('@'));
}

bool HasPlatform(std::string_view platforms, std::string_view wanted) {
  while (!platforms.empty()) {
    const auto one = platforms.substr(0, platforms.find(','));
    platforms.remove_prefix(std::min(one.size() + 1, platforms.size()));
    const auto slash = one.find('/');
    if (one == wanted) return true;
    if (slash != one.npos && one.substr(slash + 1) == wanted) return true;
  }
  return false;
}

bool Beginning(const Digest& digest, std::string_view hex) {
  return std::string_view(digest.Hex()).starts_with(hex);
}

}  // namespace

std::string ToLower(std::string_view text) {
  std::string out(text);
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::size_t RepositoryEnd(std::string_view name) {
  const auto base = name.substr(0, name.find('@'));
  const auto slash = base.rfind('/');
  const auto colon = base.find(':', slash == base.npos ? 0 : slash);
  return colon == base.npos ? base.size() : colon;
}

bool MatchesPattern(std::string_view text, std::string_view pattern) {
  std::size_t at = 0;
  std::size_t in = 0;
  std::size_t star = pattern.npos;  // the last one met, and what it has swallowed
  std::size_t swallowed = 0;
  while (at < text.size()) {
    if (in < pattern.size() && pattern[in] == '*') {
      star = in++;
      swallowed = at;
    } else if (in < pattern.size() && (pattern[in] == '?' || pattern[in] == text[at])) {
      ++in;
      ++at;
    } else if (star != pattern.npos) {
      in = star + 1;
      at = ++swallowed;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in) == pattern.npos;
}

Result<SearchQuery> ParseSearch(std::string_view text) {
  if (text.size() > kSearchBytesMax) {
    return Error{Code::kExhausted, "search: at most 512 bytes can be looked for"};
  }
  const std::string small = ToLower(text);
  SearchQuery query;
  std::size_t words = 0;
  for (std::size_t at = 0; at < small.size();) {
    const auto begin = small.find_first_not_of(" \t", at);
    if (begin == small.npos) break;
    const auto end = std::min(small.find_first_of(" \t", begin), small.size());
    if (++words > kSearchWordsMax) {
      return Error{Code::kExhausted, "search: at most 8 words can be looked for"};
    }
    if (auto taken = TakeWord(std::string_view(small).substr(begin, end - begin), query); !taken) {
      return taken.error();
    }
    at = end;
  }
  if (words == 0) {
    return Error{Code::kInvalid, "search: say what to look for, like nginx or \"reg/team/*:v2*\""};
  }
  return query;
}

std::optional<SearchRank> RankOf(const SearchQuery& query, const SearchSubject& subject) {
  const auto all = [](const auto& list, const auto& holds) {
    return std::ranges::all_of(list, holds);
  };
  if (query.size_above && (subject.size == Bytes(0) || subject.size <= *query.size_above))
    return {};
  if (query.size_below && (subject.size == Bytes(0) || subject.size >= *query.size_below))
    return {};
  if (!all(query.platforms, [&](const auto& p) { return HasPlatform(subject.platforms, p); }) ||
      !all(query.digests, [&](const auto& hex) { return Beginning(subject.digest, hex); }) ||
      !all(query.patterns, [&](const auto& p) { return MatchesPattern(subject.name, p); }) ||
      !all(query.tags, [&](const auto& p) { return MatchesPattern(TagOf(subject.name), p); })) {
    return {};
  }
  SearchRank rank = query.texts.empty() ? SearchRank::kPattern : SearchRank::kWord;
  for (const auto& text : query.texts) {
    const auto held = RankOfText(subject.name, text);
    if (!held) return {};
    if (query.texts.size() == 1) rank = *held;
  }
  return query.patterns.empty() ? rank : SearchRank::kPattern;
}

}  // namespace shoal::index
