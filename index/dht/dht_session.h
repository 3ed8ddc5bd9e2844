// DhtSession: libtorrent's Kademlia, and nothing else of libtorrent.
//
// No torrents, no trackers, no port mapping, no neighbours' search. libtorrent opens a TCP port
// beside its UDP port, which cannot be helped; whoever connects there is sent away at once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "index/dht_key.h"
#include "index/record.h"

namespace shoal::index {

// What happened since the last Poll.
struct DhtNews {
  // Somebody says that these endpoints are to be found under the key: an answer to Look or
  // Announce, or (is_heard) a peer that announced itself to us.
  struct Found {
    DhtKey key{};
    std::vector<Endpoint> endpoints;
    bool is_heard = false;
  };
  std::vector<Found> found;
  std::optional<int> nodes;         // after Count
  std::vector<Endpoint> listening;  // came up
  std::optional<std::string> trouble;
};

// Used by one thread.
class DhtSession {
 public:
  // state   of an earlier session's State, or anything. The node id of an address that is listened
  //         on again is kept.
  // listen  as for Listen.
  // wake    is called when there is something to Poll; on a thread of libtorrent's, where it must
  //         not call the session. Not after the session's end.
  DhtSession(const std::string& state, const std::vector<Endpoint>& listen,
             const std::function<void()>& wake);
  ~DhtSession();
  DhtSession(const DhtSession&) = delete;
  DhtSession& operator=(const DhtSession&) = delete;

  // UDP addresses to be at, in place of those before. No wildcards: libtorrent leaves networks
  // without a way to the Internet out of them. Port 0: any.
  void Listen(const std::vector<Endpoint>& endpoints);
  // Asks whoever is there to take us in. Names are looked up.
  void AddNode(const Endpoint& endpoint);
  // Looks the key up, and says at those that keep it that we are at `port`.
  void Announce(const DhtKey& key, std::uint16_t port);
  void Look(const DhtKey& key);
  // The number of nodes in the routing table comes with a later Poll.
  void Count();
  DhtNews Poll();
  // Our node ids and the routing table, for a later session. Waits for libtorrent's thread.
  [[nodiscard]] std::string State() const;
  // Who was in the routing table of `state`.
  [[nodiscard]] const std::vector<Endpoint>& remembered() const;

 private:
  struct Session;
  std::unique_ptr<Session> session_;
};

}  // namespace shoal::index
