// PeerServer: answers peers (docs/PROTOCOL.md, "Transport between peers"). A handler for
// HttpServer; owns no socket.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "fetch/transport/counters.h"
#include "fetch/transport/dial_back.h"
#include "fetch/transport/fetcher.h"
#include "fetch/transport/http_server.h"
#include "fetch/transport/relay_service.h"
#include "fetch/upload_desk.h"
#include "index/feed_frame.h"
#include "index/inventory.h"
#include "index/peer_names.h"
#include "index/swarm_table.h"

namespace shoal::fetch {

// HttpServer::Limits::unsent_max for peers. A kernel takes a whole piece at once: its slot would be
// free before the piece is sent, and what many were given would wait before one link.
inline constexpr Bytes kUnsentMax{64 << 10};

// Who may see what. Any thread.
struct PeerGate {
  // Whether the peer has proved to share a room with us.
  std::function<bool(const PeerId&)> is_member;
  // Whether it may know that we hold this blob, or fetch it.
  std::function<bool(const PeerId&, const Digest&)> may_share;
  // Whether two peers share one of our rooms.
  std::function<bool(const PeerId&, const PeerId&)> in_one_room;
  // The peer shows that it is in `room`: our answer. Errors: kDenied for whoever is not let in.
  std::function<Result<std::string>(const PeerId&, std::string_view room, std::string_view body)>
      meet;
};

struct PeerServerPorts {
  Loop& loop;
  Executor& pool;
  Fetcher& fetcher;
  Counters& counters;
  // All on the loop.
  std::function<std::string()> own_record;  // its envelope
  // Whom we have heard from lately that shares a room with the asker: their names, all or those
  // whom we have just met; and the envelopes of these, or of some when none are named.
  std::function<std::vector<index::PeerName>(const PeerId& asker, bool whole)> names;
  std::function<std::vector<std::string>(const PeerId& asker,
                                         const std::vector<index::PeerName>& names)>
      records;
  // What of our inventory the asker may see.
  std::function<index::KeysPage(const PeerId& asker, std::uint64_t epoch, std::uint64_t after,
                                int limit)>
      keys;
  // We are an arbiter in `room`: what this member is to a blob, and who else is. Errors: kDenied
  // when the asker or we are not in the room.
  std::function<Result<index::SwarmAnswer>(const std::string& room, const index::SwarmAsk&)> swarm;
  PeerGate gate;
  // A frame of a room's feed from this peer: what is said back. Errors: kDenied when the peer or we
  // are not in the room.
  std::function<Result<index::FeedFrame>(const PeerId&, const std::string& room,
                                         const index::FeedFrame&)>
      feed;
  // The peer's answer to our message of this number. Errors besides: kNotFound, kInvalid.
  std::function<Status(const PeerId&, const std::string& room, std::uint64_t sequence,
                       const std::string& body)>
      feed_answer;
  // Somebody who asks for our record has shown its own: it verifies, and is by the key of its
  // certificate.
  std::function<void(const index::SignedRecord&)> on_record;
};

// What we do for peers that cannot be dialled.
struct PeerRelaying {
  std::shared_ptr<DialBack> dial_back;
  std::shared_ptr<RelayService> relay;  // nullptr: we are none
};

class PeerServer : public std::enable_shared_from_this<PeerServer> {
 public:
  PeerServer(PeerServerPorts ports, UploadLimits limits, PeerRelaying relaying = {})
      : ports_(std::move(ports)), relaying_(std::move(relaying)), desk_(limits) {}

  void Handle(HttpRequest request, HttpServer::Responder respond);

 private:
  struct MapQuestion {
    std::int32_t known = 0;
    std::int64_t wait_ms = 0;
    std::uint64_t epoch = 0;  // of the chain that the asker holds
    std::int32_t states = 1;  // how many of its states, from the first
    bool zstd = false;
  };

  // Errors: kInvalid for one that is not the asker's.
  static Result<std::optional<index::SignedRecord>> Shown(const HttpRequest& request);
  void Record(const HttpRequest& request, HttpServer::Responder respond);
  void Peers(const HttpRequest& request, HttpServer::Responder respond);
  void Names(const HttpRequest& request, HttpServer::Responder respond);
  // What only members may ask of a relay, or of one that might be.
  void Relay(const HttpRequest& request, std::string_view path, HttpServer::Responder respond);
  void Meet(const HttpRequest& request, HttpServer::Responder respond);
  void Feed(const HttpRequest& request, HttpServer::Responder respond);
  void Keys(const HttpRequest& request, HttpServer::Responder respond);
  void Swarm(const HttpRequest& request, const Digest& digest, HttpServer::Responder respond);
  void Map(const HttpRequest& request, const Digest& digest, HttpServer::Responder respond);
  // What a query says that its asker knows; nullopt when it is no such query.
  static std::optional<MapQuestion> QuestionOf(const HttpRequest& request);
  static std::string MapFor(const LiveBlob& live, const PieceMap& have,
                            const MapQuestion& question);
  void AnswerMap(const std::shared_ptr<LiveBlob>& live, const MapQuestion& question,
                 HttpServer::Responder respond);
  void Blob(const HttpRequest& request, const Digest& digest, HttpServer::Responder respond);
  // On the loop.
  void Give(const PeerId& peer, const std::shared_ptr<LiveBlob>& live,
            const std::vector<PieceIndex>& wanted, HttpHeaders news,
            const HttpServer::Responder& respond);
  void SendRange(const PeerId& peer, const std::shared_ptr<LiveBlob>& live, Bytes begin, Bytes end,
                 HttpHeaders news, std::function<void(Bytes)> sent,
                 const HttpServer::Responder& respond);

  PeerServerPorts ports_;
  PeerRelaying relaying_;
  UploadDesk desk_;  // on the loop
};

}  // namespace shoal::fetch
