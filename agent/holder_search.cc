#include "agent/holder_search.h"

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace shoal::agent {
namespace {

constexpr Duration kResolveWait = std::chrono::seconds(2);

Json Told(const std::vector<IndexAnswer>& answers) {
  Json list = Json::array();
  for (const auto& answer : answers) {
    Json one = Json::object();
    one["kind"] = Json::string(answer.kind);
    one["found"] = Json::number(static_cast<std::int64_t>(answer.found));
    one["took_us"] = Json::number(answer.took.count());
    list[list.size()] = std::move(one);
  }
  return list;
}

}  // namespace

Json HolderSearch::Holder(const PeerId& peer, const std::string& what) const {
  const auto* view = parts_.discovery.roster().Find(peer);
  const auto endpoint = parts_.discovery.Dial(peer);
  Json holder = Json::object();
  holder["id"] = Json::string(peer.Hex());
  holder["name"] = Json::string(view == nullptr ? "" : view->record.record().name);
  holder["endpoint"] = Json::string(endpoint ? ToString(*endpoint) : "");
  holder["what"] = Json::string(what);
  return holder;
}

AdminReply HolderSearch::Answer(const AdminRequest& request) const {
  const auto it = request.query.find("what");
  if (it == request.query.end()) {
    return ErrorReply({Code::kInvalid, "ask with ?what=<image name or digest>"});
  }
  const bool resolve = request.query.contains("resolve");
  std::string what = it->second;
  std::optional<Digest> digest;
  Holders holders;
  std::vector<IndexAnswer> asked;
  if (what.starts_with("sha256:")) {
    auto parsed = ParseDigest(what);
    if (!parsed) return ErrorReply(parsed.error());
    digest = *parsed;
  } else {
    auto name = proxy::ParseImageName(what);
    if (!name) return ErrorReply(name.error());
    what = ToString(*name);
    digest = name->digest;
    if (!digest) {
      parts_.loop.Ask([&] {
        for (const auto& image : parts_.catalog.ImagesNamed(what)) {
          holders[image.peer] = ToString(image.digest);
        }
        return 0;
      });
      if (resolve) digest = Resolve(*name);
    }
  }
  if (digest) {
    asked.push_back(AskCatalog(*digest, holders));
    if (resolve) {
      for (auto& answer : AskIndexes(*digest, holders)) asked.push_back(std::move(answer));
    }
  }
  Json answer = Json::object();
  answer["what"] = Json::string(what);
  answer["holders"] = parts_.loop.Ask([&] {
    Json list = Json::array();
    for (const auto& [peer, has] : holders) list[list.size()] = Holder(peer, has);
    return list;
  });
  answer["asked"] = Told(asked);
  return JsonReply(answer);
}

IndexAnswer HolderSearch::AskCatalog(const Digest& digest, Holders& holders) const {
  return parts_.loop.Ask([&]() -> IndexAnswer {
    const Time begun = parts_.loop.Now();
    const auto found = parts_.catalog.HoldersOf(digest);
    const Duration took = parts_.loop.Now() - begun;
    for (const auto& holder : found) {
      holders.emplace(holder.peer, holder.complete ? "complete" : "partial");
    }
    return {"catalog", found.size(), took};
  });
}

std::optional<Digest> HolderSearch::Resolve(const proxy::ImageName& name) const {
  using Said = std::promise<std::optional<Digest>>;
  auto said = std::make_shared<Said>();
  auto heard = said->get_future();
  parts_.loop.Post([this, said, name] {
    parts_.tags.Resolve(name.registry, name.repository, name.tag,
                        [said](const Result<proxy::TagAnswer>& tag) {
                          said->set_value(tag ? std::optional(tag->digest) : std::nullopt);
                        });
  });
  if (heard.wait_for(kResolveWait) != std::future_status::ready) return std::nullopt;
  return heard.get();
}

std::vector<IndexAnswer> HolderSearch::AskIndexes(const Digest& digest, Holders& holders) const {
  struct Search {
    std::mutex mutex;
    std::vector<PeerId> found;
    std::promise<std::vector<IndexAnswer>> done;
  };
  auto search = std::make_shared<Search>();
  parts_.loop.Post([this, search, digest] {
    parts_.discovery.ResolveInIndexes(
        digest,
        [search](const std::vector<PeerId>& peers) {
          const std::lock_guard lock(search->mutex);
          search->found.insert(search->found.end(), peers.begin(), peers.end());
        },
        [search](std::vector<IndexAnswer> answers) { search->done.set_value(std::move(answers)); });
  });
  auto heard = search->done.get_future();
  const bool all_answered = heard.wait_for(kResolveWait) == std::future_status::ready;
  const std::lock_guard lock(search->mutex);
  for (const auto& peer : search->found) holders.emplace(peer, "by the peer index");
  return all_answered ? heard.get() : std::vector<IndexAnswer>();
}

}  // namespace shoal::agent
