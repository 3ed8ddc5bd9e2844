// RendezvousIndex: peers and blob keys found through an index server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "index/net/io_thread.h"
#include "index/peer_index.h"
#include "index/signing_key.h"

namespace shoal::index {

// Rules
// - Each room and key has its server (index/server_choice.h), the same for all agents with the same
//   list. When it fails its keys go to the next in their order, and come back when it is back.
// - What is done at a server is ServerSession's: our record is registered under our rooms and keys,
//   and the rooms are asked for what is new all the time.
// - A server without a pin in its URL is trusted on first use; the pin is kept in pin_file.
class RendezvousIndex : public PeerIndex {
 public:
  struct Options {
    std::vector<std::string> urls;  // "https://host:7383#PEERID", in any order; at least one
    std::string pin_file;
    Duration sync_interval = std::chrono::seconds(10);
    Duration ttl = std::chrono::minutes(5);  // of rooms; renewed at half of it
    // Of blobs. Long, for they are many: the record, which the room renews, ends them sooner.
    Duration blob_ttl = std::chrono::hours(1);
    Duration patience = std::chrono::seconds(1);  // then a server is taken for dead
  };

  // A server that is away is not an error: it is asked again and again.
  //
  // io, loop  outlive the index; callbacks arrive on `loop`, none after its end.
  // Errors    kInvalid for a URL that is none; those of the pin file.
  static Result<std::unique_ptr<RendezvousIndex>> Start(Options options, IoThread& io,
                                                        Executor& loop, const SigningKey& key,
                                                        OnRecord on_record);
  ~RendezvousIndex() override;

  void Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) override;
  void AdvertiseKey(const Key& key) override;
  void Withdraw(const Key& key) override;
  void Resolve(const Key& key, Duration timeout, OnResolved done) override;
  void AskSwarm(const SwarmAsk& ask, OnSwarm done) override;
  [[nodiscard]] PeerIndexStatus status() const override;

 private:
  struct Face;  // on the loop thread
  class Impl;   // on the io thread
  RendezvousIndex(IoThread& io, std::shared_ptr<Face> face, std::shared_ptr<Impl> impl);

  IoThread& io_;
  std::shared_ptr<Face> face_;  // owners: we; messages hold it weakly
  std::shared_ptr<Impl> impl_;  // owners: we, and handlers and messages of the io thread
};

}  // namespace shoal::index
