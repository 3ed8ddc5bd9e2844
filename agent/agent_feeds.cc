// The wiring of the rooms' feeds and of preheat.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "agent/agent.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {

Status Agent::MakeFeeds(Rng& rng) {
  auto table = index::FeedTable::Open(*env_);
  if (!table) return table.error();
  feed_table_ = std::make_unique<index::FeedTable>(*table);
  feeds_ = std::make_unique<Feeds>(
      key_,
      Feeds::Ports{loop_, *database_, *rooms_, *feed_table_,
                   [this] { return discovery_->LivingIn(index::kAllRooms); },
                   [this](const PeerId& peer, const std::string& room,
                          const index::FeedFrame& frame, auto done) {
                     const auto endpoint = discovery_->Dial(peer);
                     if (!endpoint) {
                       return done(Error{Code::kRetryLater, "it cannot be dialled now"});
                     }
                     peer_client_->SendFeed(peer, *endpoint, room, frame, std::move(done));
                   },
                   [this](const std::string& room, const index::SharedFeedMessage& message) {
                     preheats_->OnMessage(room, message);
                   }},
      Rng(rng.Next()));
  Preheats::Ports ports{
      loop_, *rooms_, *feeds_, key_.id(), config_.preheat.images, config_.preheat.open};
  ports.check = [this](const std::string& image, auto done) { CheckImage(image, std::move(done)); };
  ports.pull = [this](const std::string& image) { return PullForPreheat(image); };
  ports.progress = [this](std::uint64_t pull) { return PullProgress(pull); };
  ports.cancel = [this](std::uint64_t pull) { (void)pulls_->Cancel(pull); };
  ports.answer = [this](const PeerId& writer, const std::string& room, std::uint64_t sequence,
                        const std::string& body, std::function<void(Status)> done) {
    auto on_loop = [this, done = std::move(done)](const Status& status) {
      loop_.Post([done, status] { done(status); });
    };
    const auto endpoint = discovery_->Dial(writer);
    if (!endpoint) return on_loop(Error{Code::kRetryLater, "the writer cannot be dialled now"});
    peer_client_->AnswerFeed(writer, *endpoint, room, sequence, body, std::move(on_loop));
  };
  preheats_ = std::make_unique<Preheats>(std::move(ports), Rng(rng.Next()));
  return Ok();
}

// By its tag, if it has one, and its manifest: what a pull begins with.
void Agent::CheckImage(const std::string& image, std::function<void(Status)> done) {
  auto name = proxy::ParseImageName(image);
  if (!name) return done(name.error());
  auto fetch = [this, name = *name, image, done](const Digest& digest) {
    pool_->Post([this, name, image, digest, done] {
      manifests_->Get(name.registry, name.repository, digest, "preheat",
                      [this, image, done](const Result<proxy::FetchedManifest>& manifest) {
                        Status there = Ok();
                        if (!manifest) {
                          there = manifest.error().In("the manifest of " + image);
                        } else if (manifest->manifest.kind != proxy::ManifestKind::kImage &&
                                   manifest->manifest.kind != proxy::ManifestKind::kIndex) {
                          there = Error{Code::kUnsupported, image + " is not an image"};
                        }
                        loop_.Post([done, there] { done(there); });
                      });
    });
  };
  if (name->digest) return fetch(*name->digest);
  tags_->Resolve(name->registry, name->repository, name->tag,
                 [image, fetch, done](const Result<proxy::TagAnswer>& answer) {
                   if (!answer) return done(answer.error().In(image));
                   fetch(answer->digest);
                 });
}

Result<Preheats::Pull> Agent::PullForPreheat(const std::string& image) {
  const auto before = pulls_->List();
  auto id = pulls_->Start(image);
  if (!id) return id.error();
  const bool joined = std::ranges::any_of(before, [&](const auto& pull) { return pull.id == *id; });
  return Preheats::Pull{*id, joined};
}

std::optional<PreheatReport> Agent::PullProgress(std::uint64_t pull) const {
  const PullView* view = pulls_->Find(pull);
  if (view == nullptr) return std::nullopt;
  PreheatReport report;
  report.state = view->state == PullState::kDone     ? PreheatState::kDone
                 : view->state == PullState::kFailed ? PreheatState::kFailed
                                                     : PreheatState::kRunning;
  report.text = view->error;
  const auto transfers = fetcher_->Active();
  for (const auto& blob : view->blobs) {
    report.size += blob.size;
    if (blob.done) {
      report.have += blob.size;
      continue;
    }
    const auto active = std::ranges::find(transfers, blob.digest, &fetch::TransferView::digest);
    if (active == transfers.end() || active->pieces == 0) continue;
    report.have += Bytes(blob.size.count() * active->have / active->pieces);
  }
  return report;
}

}  // namespace shoal::agent
