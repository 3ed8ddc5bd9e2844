#include "agent/search_reply.h"

#include <charconv>
#include <utility>

namespace shoal::agent {
namespace {

constexpr int kLimitDefault = 50;

std::string_view RankName(index::SearchRank rank) {
  switch (rank) {
    case index::SearchRank::kExact:
      return "exact";
    case index::SearchRank::kPrefix:
      return "prefix";
    case index::SearchRank::kWord:
      return "word";
    case index::SearchRank::kPattern:
      return "pattern";
  }
  return "";
}

Json ToJson(const index::SearchHit& hit) {
  Json image = Json::object();
  image["name"] = Json::string(hit.image.name);
  image["digest"] = Json::string(ToString(hit.image.digest));
  image["size"] = Json::number(hit.image.size.count());
  image["platforms"] = PlatformList(hit.image.platforms);
  image["here"] = Json::boolean(hit.here);
  image["holders"] = Json::number(hit.peers);
  image["match"] = Json::string(std::string(RankName(hit.rank)));
  return image;
}

}  // namespace

Json PlatformList(std::string_view platforms) {
  Json list = Json::array();
  while (!platforms.empty()) {
    const auto one = platforms.substr(0, platforms.find(','));
    list[list.size()] = Json::string(std::string(one));
    platforms.remove_prefix(std::min(one.size() + 1, platforms.size()));
  }
  return list;
}

AdminReply SearchReply(const ImageFinder& finder, const AdminRequest& request) {
  const auto value = [&](const char* name) {
    const auto it = request.query.find(name);
    return it == request.query.end() ? std::string() : it->second;
  };
  int limit = kLimitDefault;
  if (const std::string text = value("limit"); !text.empty()) {
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (wrong != std::errc() || end != text.data() + text.size() || limit < 1 ||
        limit > index::kSearchHitsMax) {
      return ErrorReply({Code::kInvalid, "limit must be a number from 1 to 1000"});
    }
  }
  const auto page = finder.Find(value("q"), value("after"), limit);
  if (!page) return ErrorReply(page.error());
  Json answer = Json::object();
  Json images = Json::array();
  for (const auto& hit : page->hits) images[images.size()] = ToJson(hit);
  answer["images"] = images;
  answer["next"] = Json::string(page->next);
  answer["whole"] = Json::boolean(page->whole);
  return JsonReply(answer);
}

}  // namespace shoal::agent
