// PeerClient: asks peers for their record, their peers and their keys (ServeKeys).
#pragma once

#include <functional>
#include <vector>

#include "base/digest.h"
#include "fetch/transport/http_client.h"
#include "index/feed_frame.h"
#include "index/inventory.h"
#include "index/peer_names.h"
#include "index/record.h"
#include "index/room_key.h"
#include "index/swarm_table.h"

namespace shoal::fetch {

// `done` is called once, on a data thread.
class PeerClient {
 public:
  explicit PeerClient(HttpClient& client) : client_(client) {}

  // The record of whoever answers at `endpoint`; the connection proves that it is theirs only
  // later, when it is dialled with the pin that this record gives. `own` is our record's envelope,
  // so that each knows the other.
  // `peer`, when it is known, is pinned; through a relay it must be.
  void FetchRecord(const index::Endpoint& endpoint, const std::string& own,
                   std::function<void(Result<index::SignedRecord>)> done,
                   std::optional<PeerId> peer = std::nullopt);
  // whole: all whom it has heard from lately; else those whom it met within kFresh.
  void FetchNames(const PeerId& peer, const index::Endpoint& endpoint, bool whole,
                  std::function<void(Result<std::vector<index::PeerName>>)> done);
  // names: at most kRecordsAskedMax.
  void FetchPeers(const PeerId& peer, const index::Endpoint& endpoint,
                  const std::vector<index::PeerName>& names,
                  std::function<void(Result<std::vector<index::SignedRecord>>)> done);
  void FetchKeys(const PeerId& peer, const index::Endpoint& endpoint, std::uint64_t epoch,
                 std::uint64_t after, std::function<void(Result<index::KeysPage>)> done);
  // Shows the peer that we are in `room`: its answer as it came. Errors besides: kDenied when it
  // does not let us in.
  void Meet(const PeerId& peer, const index::Endpoint& endpoint, const index::RoomId& room,
            std::string question, std::function<void(Result<std::string>)> done);
  // room  as records name it.
  void AskSwarm(const PeerId& peer, const index::Endpoint& endpoint, const std::string& room,
                const index::SwarmAsk& ask, std::function<void(Result<index::SwarmAnswer>)> done);
  // A frame of the room's feed: what the peer says back. Errors besides: kDenied.
  void SendFeed(const PeerId& peer, const index::Endpoint& endpoint, const std::string& room,
                const index::FeedFrame& frame, std::function<void(Result<index::FeedFrame>)> done);
  // What we say to one message of the peer.
  void AnswerFeed(const PeerId& peer, const index::Endpoint& endpoint, const std::string& room,
                  std::uint64_t sequence, std::string body, std::function<void(Status)> done);
  // Whether the peer answers there on a new connection.
  void Probe(const PeerId& peer, const index::Endpoint& endpoint, std::function<void(Status)> done);
  // Whether the peer can dial us: `own` is our record's envelope.
  void AskDialBack(const PeerId& peer, const index::Endpoint& endpoint, const std::string& own,
                   std::function<void(Result<bool>)> done);
  // Takes or renews a place at a relay, and waits up to `wait` for calls: their numbers. Errors
  // besides: kDenied when it does not let us in, kExhausted when it has no place, kNotFound when it
  // is no relay.
  void Reserve(const PeerId& relay, const index::Endpoint& endpoint, const std::string& own,
               Duration wait, std::function<void(Result<std::vector<std::uint64_t>>)> done);
  // Gives the place back.
  void Release(const PeerId& relay, const index::Endpoint& endpoint);

 private:
  static HttpCall CallOf(std::optional<PeerId> peer, const index::Endpoint& endpoint,
                         const std::string& path);
  static HttpCall Post(const PeerId& peer, const index::Endpoint& endpoint, const std::string& path,
                       std::string body);
  void Get(std::optional<PeerId> peer, const index::Endpoint& endpoint, const std::string& path,
           std::size_t max_bytes, std::function<void(Result<std::string>)> done);
  void Ask(HttpCall call, std::size_t max_bytes, std::function<void(Result<std::string>)> done);

  HttpClient& client_;
};

}  // namespace shoal::fetch
