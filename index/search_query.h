// SearchQuery: what somebody looks for among images, and whether an image is it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/result.h"

namespace shoal::index {

inline constexpr std::size_t kSearchBytesMax = 512;  // longer than the longest image name
inline constexpr std::size_t kSearchWordsMax = 8;

// How well an image answers, the best first. Between images of one kind, those with more holders
// come first.
enum class SearchRank {
  kExact,    // the whole name, or the path's last components, with or without tag: "library/nginx"
  kPrefix,   // a component of the path begins so
  kWord,     // a word of the name begins so; or there are several words
  kPattern,  // by pattern, or by properties alone
};

// Rules
// - The words of a query, parted by spaces, must all hold. Capitals do not matter.
// - A word without `*` and `?` holds where a word of the name begins so. Words of a name are its
//   runs of letters and digits; "team/app:v2" may run over several.
// - With `*` (anything, slashes too) or `?` (one character) it holds for the whole name.
// - "sha256:" and hex digits are how a digest begins.
// - "tag:v1*" is a pattern for the tag alone; "arch:arm64" and "platform:linux/arm64" for what a
//   holder said that it has; "size:>1GiB" and "size:<100MiB" for sizes that are known.
struct SearchQuery {
  std::vector<std::string> texts;
  std::vector<std::string> patterns;
  std::vector<std::string> digests;    // hex digits
  std::vector<std::string> tags;       // patterns
  std::vector<std::string> platforms;  // "arm64" or "linux/arm64"
  std::optional<Bytes> size_above;
  std::optional<Bytes> size_below;
};

// Errors: kInvalid with a text that says what to mend; kExhausted over kSearchBytesMax or
// kSearchWordsMax.
Result<SearchQuery> ParseSearch(std::string_view text);

// An image as it is looked at. `name` must be in small letters.
struct SearchSubject {
  std::string_view name;
  const Digest& digest;
  std::string_view platforms;  // "linux/amd64,linux/arm64"; "" unknown
  Bytes size;                  // 0 unknown
};
// How well it answers; nullopt: not at all.
std::optional<SearchRank> RankOf(const SearchQuery& query, const SearchSubject& subject);

// The parts of a name, which SearchTerms and the rules share.
inline bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
std::string ToLower(std::string_view text);
// Where the repository ends: at the tag, at the digest, or at the name's end.
std::size_t RepositoryEnd(std::string_view name);
bool MatchesPattern(std::string_view text, std::string_view pattern);

}  // namespace shoal::index
