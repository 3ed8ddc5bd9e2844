// LanIndex: neighbours on one network find each other by UDP multicast, with no configuration.
#pragma once

#include <functional>
#include <memory>

#include "base/executor.h"
#include "index/net/io_thread.h"
#include "index/peer_index.h"
#include "index/signing_key.h"

namespace shoal::index {

class LanIndex : public PeerIndex {
 public:
  struct Options {
    Endpoint group{"239.255.73.80", 7385};
    Duration interval = std::chrono::seconds(5);
  };
  // How far a neighbour's log goes: with every beacon.
  using OnHead = std::function<void(PeerId, std::uint64_t epoch, std::uint64_t head)>;

  // A network that is away now is not an error: interfaces are looked for every interval.
  //
  // io      outlives the index; its thread waits for the socket.
  // loop    outlives the index; callbacks arrive there, OnRecord before OnHead.
  // key     of the records that will be advertised.
  // Errors  kInvalid for a group that is none; kRetryLater, kDenied when there can be no socket.
  static Result<std::unique_ptr<LanIndex>> Start(Options options, IoThread& io, Executor& loop,
                                                 const SigningKey& key, OnRecord on_record,
                                                 OnHead on_head);
  ~LanIndex() override;

  void Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) override;
  void AdvertiseKey(const Key& key) override;
  void Withdraw(const Key& key) override;
  // A LAN has no index of keys: nothing is found, at once.
  void Resolve(const Key& key, Duration timeout, OnResolved done) override;
  [[nodiscard]] PeerIndexStatus status() const override;

 private:
  class Impl;   // on the io thread
  struct Face;  // on the loop thread
  LanIndex(IoThread& io, Executor& loop, std::shared_ptr<Face> face, std::shared_ptr<Impl> impl);

  IoThread& io_;
  Executor& loop_;
  std::shared_ptr<Face> face_;  // owners: we, and nobody else; messages hold it weakly
  std::shared_ptr<Impl> impl_;  // owners: we, and the handlers that wait on the io thread
};

}  // namespace shoal::index
