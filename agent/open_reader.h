// OpenReader: how an index server knows the images of the open room: it reads what registered peers
// show to everybody. docs/decisions/0013-an-index-server-that-searches-reads.md.
#pragma once

#include <memory>

#include "agent/image_finder.h"
#include "base/result.h"
#include "index/rendezvous/rendezvous_service.h"
#include "index/signing_key.h"

namespace shoal::agent {

// Rules
// - A reader only: it is in no room, offers nothing, has no record, and keeps names of images and
//   their digests; what is told of blobs is dropped.
// - Peers are those registered under the open room, at this server or one that it federates with.
//   Each is read again every kReadEvery; what changed since then is one small answer.
// - A record was signed by its peer, and says where it is dialled: only a written address that is
//   no host's or link's own (foreign_network.h) is, pinned to the peer's id, inside DialBound.
// - kHoldingsMax of all, kImagesOfPeerMax of one peer; one that tells of more is not taken up.
class OpenReader {
 public:
  static constexpr Duration kReadEvery = std::chrono::seconds(15);
  static constexpr int kReadsMax = 8;  // under way at once
  // An image at a peer, about 0.6 KiB each.
  static constexpr std::size_t kHoldingsMax = 1'000'000;
  static constexpr std::size_t kImagesOfPeerMax = 100'000;

  // service  outlives this.
  static Result<std::unique_ptr<OpenReader>> Start(const index::SigningKey& key,
                                                   index::RendezvousService& service);
  ~OpenReader();

  // Any thread.
  [[nodiscard]] const ImageFinder& finder() const;

  struct Counts {
    std::size_t peers = 0;     // that are read
    std::size_t holdings = 0;  // images, counted for each peer
    std::size_t refused = 0;   // pages that went beyond a limit
  };
  // Not on its own thread.
  [[nodiscard]] Counts counts() const;

 private:
  class Impl;
  explicit OpenReader(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;  // owners: we, and for moments answers of the service
};

}  // namespace shoal::agent
