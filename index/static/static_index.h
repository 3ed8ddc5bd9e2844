// StaticIndex: peers whose endpoints people wrote down.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <vector>

#include "base/executor.h"
#include "index/net/io_thread.h"
#include "index/peer_index.h"

namespace shoal::index {

inline constexpr std::size_t kStaticEndpointsMax = 1000;  // more belong into an index server

// Reports each endpoint at the start and then every sync_interval, but not while a record that was
// Learnt there has more than half of its life before it: nothing else renews it.
class StaticIndex : public PeerIndex {
 public:
  struct Options {
    std::vector<Endpoint> endpoints;  // at most kStaticEndpointsMax; the rest is not looked at
    Duration sync_interval = std::chrono::seconds(10);
  };

  // io, loop  outlive the index; callbacks arrive on `loop`.
  StaticIndex(Options options, IoThread& io, Executor& loop, OnEndpoint on_endpoint);
  ~StaticIndex() override;

  // A record was got at `endpoint`, by asking it or in any other way.
  void Learnt(const Endpoint& endpoint, const SignedRecord& record);

  void Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) override;
  void AdvertiseKey(const Key& key) override;
  void Withdraw(const Key& key) override;
  void Resolve(const Key& key, Duration timeout, OnResolved done) override;
  [[nodiscard]] PeerIndexStatus status() const override;

 private:
  struct Face {  // on the loop thread
    OnEndpoint on_endpoint;
    std::map<Endpoint, WallTime> until;  // a learnt record is fresh so long
  };
  class Ticker;  // on the io thread

  IoThread& io_;
  Executor& loop_;
  std::shared_ptr<Face> face_;      // owners: we; messages hold it weakly
  std::shared_ptr<Ticker> ticker_;  // owners: we, and its timer's handler
};

}  // namespace shoal::index
