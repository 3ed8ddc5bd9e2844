// DhtIndex: peers and blobs found with no server at all, by libtorrent's Kademlia.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "index/net/io_thread.h"
#include "index/peer_index.h"

namespace shoal::index {

// Rules
// - The DHT is told, and tells, endpoints only. Each is asked for its record by `fetch`; what that
//   proves is for whoever takes the record. What is dialled is index/dht_dials.h's choice.
// - We are announced under our rooms and the keys that are advertised, at our addresses and the
//   port of our record's first endpoint. A DHT forgets nothing on demand: what is withdrawn is no
//   longer renewed.
// - Our rooms are looked up and announced every kRoundMin, more seldom in large rooms: by then
//   newcomers hear of us from peers, and the few who keep the room's key are spared.
// - Whoever is near the key of a room hears a newcomer's announcement itself, at once.
// - While we know nobody, `bootstrap` and the hosts of known peers are asked every
//   kBootstrapEvery.
class DhtIndex : public PeerIndex {
 public:
  using Fetch = std::function<void(const Endpoint&, std::function<void(Result<SignedRecord>)>)>;
  struct Options {
    // Where to listen; asked again every round, as addresses come and go. Called on the io thread.
    std::function<std::vector<Endpoint>()> listen;
    std::string target;                // for people
    std::vector<Endpoint> bootstrap;   // may be empty: then known peers are asked, or we are
    std::uint16_t others_port = 7384;  // of known peers' DHT
    std::string state_file;            // node ids and routing table; "": not kept
    PeerId self;
  };

  // io, loop  outlive the index; callbacks arrive on `loop`.
  // fetch     asks an endpoint for its record; called on `loop`, and answers on any thread, once.
  DhtIndex(Options options, IoThread& io, Executor& loop, Fetch fetch, OnRecord on_record);
  ~DhtIndex() override;

  // Somebody who may be in the DHT too.
  void OnPeer(const SignedRecord& peer);

  void Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) override;
  void AdvertiseKey(const Key& key) override;
  void Withdraw(const Key& key) override;
  // Done as soon as a record is there, give or take kRecordSettle.
  void Resolve(const Key& key, Duration timeout, OnResolved done) override;
  [[nodiscard]] PeerIndexStatus status() const override;

 private:
  struct Face;  // on the loop thread
  class Impl;   // on the io thread

  IoThread& io_;
  std::shared_ptr<Face> face_;  // owners: we; messages hold it weakly
  std::shared_ptr<Impl> impl_;  // owners: we, and handlers and messages of the io thread
};

}  // namespace shoal::index
