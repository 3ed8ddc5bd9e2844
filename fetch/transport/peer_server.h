// PeerServer: answers peers (docs/PROTOCOL.md, "Transport between peers"). A handler for
// HttpServer; owns no socket.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "fetch/transport/counters.h"
#include "fetch/transport/fetcher.h"
#include "fetch/transport/http_server.h"
#include "index/inventory.h"

namespace shoal::fetch {

struct PeerServerPorts {
  Loop& loop;
  Executor& pool;
  Fetcher& fetcher;
  Counters& counters;
  // All on the loop.
  std::function<std::string()> own_record;            // its envelope
  std::function<std::vector<std::string>()> records;  // envelopes of peers heard from lately
  std::function<index::KeysPage(std::uint64_t epoch, std::uint64_t after, int limit)> keys;
  // Any thread: whether this peer shares a room with us.
  std::function<bool(const PeerId&)> is_member;
};

class PeerServer : public std::enable_shared_from_this<PeerServer> {
 public:
  explicit PeerServer(PeerServerPorts ports) : ports_(std::move(ports)) {}

  void Handle(HttpRequest request, HttpServer::Responder respond);

 private:
  void Keys(const HttpRequest& request, HttpServer::Responder respond);
  void Map(const HttpRequest& request, const Digest& digest, HttpServer::Responder respond);
  void Blob(const HttpRequest& request, const Digest& digest, HttpServer::Responder respond);

  PeerServerPorts ports_;
};

}  // namespace shoal::fetch
