// What StatusApi tells those who listen to GET /v1/events.
#include <algorithm>
#include <chrono>

#include "agent/status_api.h"

namespace shoal::agent {

void StatusApi::OnTransferStarted(const Digest& digest) {
  if (!parts_.events.heard()) return;
  for (const auto& view : parts_.fetcher.Active()) {
    if (view.digest == digest) parts_.events.Tell("fetch", TransferOf(view, "running", "", 0));
  }
}

void StatusApi::OnTransferEnded(const fetch::TransferView& transfer, const Status& status) {
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(parts_.loop.Now() - transfer.started);
  const std::string error = status ? "" : status.error().text;
  ended_.push_front({transfer, error, took.count()});
  if (ended_.size() > kEndedMax) ended_.pop_back();
  if (!parts_.events.heard()) return;
  parts_.events.Tell("fetch",
                     TransferOf(transfer, status ? "done" : "failed", error, took.count()));
}

void StatusApi::OnPull(const PullView& pull) {
  if (parts_.events.heard()) parts_.events.Tell("pull", PullOf(pull));
}

void StatusApi::OnImage(const index::ImageChange& change) {
  if (!parts_.events.heard()) return;
  Json image = Json::object();
  image["name"] = Json::string(change.name);
  image["digest"] = change.after ? Json::string(ToString(change.after->digest)) : Json::null();
  parts_.events.Tell("image", image);
}

void StatusApi::OnPeer(const PeerId& peer, std::string_view state) {
  if (!parts_.events.heard()) return;
  Json json = Json::object();
  json["id"] = Json::string(peer.Hex());
  json["name"] = Json::string(NameOf(peer));
  json["state"] = Json::string(std::string(state));
  parts_.events.Tell("peer", json);
}

}  // namespace shoal::agent
