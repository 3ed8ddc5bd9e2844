// LanIndex: neighbours on one network find each other by UDP multicast, with no configuration.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/executor.h"
#include "index/net/io_thread.h"
#include "index/peer_index.h"
#include "index/signing_key.h"

namespace shoal::index {

class LanIndex : public PeerIndex {
 public:
  struct Options {
    // IPv4, IPv6 or both; at least one.
    std::vector<Endpoint> groups{{"239.255.73.80", 7385}, {"ff15::7368:6f61", 7385}};
    Duration interval = std::chrono::seconds(5);
  };
  // How far a neighbour's log goes: with every beacon.
  using OnHead = std::function<void(PeerId, std::uint64_t epoch, std::uint64_t head)>;
  // Whether we hold what `key` names, and `asker` may know it.
  using Holds = std::function<bool(const PeerId& asker, const Key& key)>;

  // A network that is away now is not an error: interfaces are looked for every interval.
  //
  // io      outlives the index; its thread waits for the socket.
  // loop    outlives the index; callbacks arrive there, OnRecord before OnHead.
  // key     of the records that will be advertised.
  // Errors  kInvalid for a group that is none; kRetryLater, kDenied when there can be no socket. A
  //         host without IPv6 does without that group, if there is another.
  static Result<std::unique_ptr<LanIndex>> Start(const Options& options, IoThread& io,
                                                 Executor& loop, const SigningKey& key,
                                                 OnRecord on_record, OnHead on_head, Holds holds);
  ~LanIndex() override;

  void Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) override;
  void AdvertiseKey(const Key& key) override;
  void Withdraw(const Key& key) override;
  // Asks the neighbours who hold a blob. Done shortly after the first has answered, or when all
  // that do would have, long before `timeout` in a small network; at once for other keys.
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
