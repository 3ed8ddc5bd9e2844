#include "registry-proxy/http/tag_resolver.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace shoal::proxy {
namespace {

TagAnswer FromHere(const TagEntry& entry, bool stale) {
  return {entry.digest, entry.media_type, entry.size, stale, {.local = true}};
}

}  // namespace

std::string TagName(const std::string& registry, const std::string& repository,
                    const std::string& tag) {
  return registry + "/" + repository + ":" + tag;
}

TagResolver::TagResolver(Ports ports, const std::vector<TagEntry>& kept)
    : ports_(std::move(ports)) {
  cache_.Import(kept);
}

std::optional<TagAnswer> TagResolver::LastKnown(const std::string& name) {
  if (const auto hit = cache_.Find(ports_.loop.Wall(), Duration(0), name)) {
    return FromHere(hit->entry, true);
  }
  if (const auto held = ports_.ask_inventory(name)) {
    return TagAnswer{*held, "", Bytes(-1), true, {.local = true}};
  }
  // What most holders say: one that lags behind, or lies, does not decide.
  std::map<Digest, int> votes;
  for (const auto& image : ports_.ask_catalog(name)) ++votes[image.digest];
  if (votes.empty()) return std::nullopt;
  const auto most = std::max_element(
      votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return TagAnswer{most->first, "", Bytes(-1), true, {.peers = true}};
}

void TagResolver::Resolve(const std::string& registry, const std::string& repository,
                          const std::string& tag, Done done) {
  const std::string name = TagName(registry, repository, tag);
  const auto hit = cache_.Find(ports_.loop.Wall(), ports_.tag_ttl(registry), name);
  if (hit && hit->fresh) {
    return done(FromHere(hit->entry, false));
  }
  const auto resting = resting_.find(registry);
  if (resting != resting_.end()) {
    if (resting->second <= ports_.loop.Now()) {
      resting_.erase(resting);
    } else if (auto known = LastKnown(name)) {
      return done(*known);
    }
  }
  const auto [it, first] = asked_.try_emplace(name);
  Question& question = it->second;
  if (!first && question.slow_at <= ports_.loop.Now()) {
    if (auto known = LastKnown(name)) return done(*known);
  }
  question.waiting.push_back(std::move(done));
  if (!first) return;
  question.registry = registry;
  const Time slow_at = question.slow_at = ports_.loop.Now() + kStaleAfter;
  ports_.ask_upstream(registry, repository, tag, [this, name](Result<TagEntry> answer) {
    ports_.loop.Post([this, name, answer = std::move(answer)] { Answered(name, answer); });
  });
  ports_.loop.After(kStaleAfter, [this, name, slow_at] {
    const auto slow = asked_.find(name);
    if (slow == asked_.end() || slow->second.slow_at != slow_at) return;
    if (slow->second.waiting.empty()) return;
    if (auto known = LastKnown(name)) {
      spdlog::warn("tag {}: the upstream is slow; answering as last known", name);
      for (auto& waiting : std::exchange(slow->second.waiting, {})) waiting(*known);
    }
  });
}

void TagResolver::Answered(const std::string& name, const Result<TagEntry>& answer) {
  const auto it = asked_.find(name);
  if (it == asked_.end()) return;
  const std::string registry = it->second.registry;
  // Out of the books first: whoever is answered may ask again at once.
  const std::vector<Done> waiting = std::move(it->second.waiting);
  asked_.erase(it);
  const auto reply = [&waiting](const Result<TagAnswer>& said) {
    for (const auto& done : waiting) done(said);
  };
  if (answer) {
    resting_.erase(registry);
    TagEntry entry = *answer;
    entry.name = name;
    entry.checked_at = ports_.loop.Wall();
    cache_.Put(entry);
    ports_.on_learnt(entry);
    reply(TagAnswer{entry.digest, entry.media_type, entry.size, false, {.upstream = true}});
  } else if (answer.error().code == Code::kNotFound || answer.error().code == Code::kDenied) {
    if (answer.error().code == Code::kNotFound) {
      cache_.Forget(name);
      ports_.on_forgotten(name);
    }
    reply(answer.error());
  } else {
    resting_[registry] = ports_.loop.Now() + kRestAfterTrouble;
    if (auto known = LastKnown(name)) {
      spdlog::warn("tag {}: {}; answering as last known", name, answer.error().text);
      reply(*known);
    } else {
      reply(answer.error());
    }
  }
}

}  // namespace shoal::proxy
