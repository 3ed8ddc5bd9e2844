// HttpServer: the byte plane. HTTP/1.1 on Boost.Beast, over TCP (sendfile) or TLS 1.3.
//
// It parses, bounds and answers; what to answer is decided by a handler. It never sends a RST on
// purpose: on trouble in a body it drains what the client sent and closes with FIN.
//
// Limits: header bytes, body bytes (requests have next to none), connections, time to the first
// and between requests, time without a byte taken by the client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "fetch/store/file.h"
#include "fetch/transport/read_gate.h"
#include "fetch/transport/tls.h"
#include "index/record.h"

namespace shoal::fetch {

class RateLimiter;
struct RawConnection;

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The first value of a header, compared without case; "" when absent.
std::string_view FindHeader(const HttpHeaders& headers, std::string_view name);

struct HttpRequest {
  std::string method;
  std::string target;  // path and query as sent, at most 8 KiB
  HttpHeaders headers;
  std::string body;            // at most Limits::body_bytes_max
  std::string remote;          // "10.0.0.2:51334"
  std::optional<PeerId> peer;  // over TLS: who asks
};

// A piece of a body: text, or a range of a file.
struct BodyPart {
  std::string text;
  SharedFile file;  // when set, [begin, end) of it, and text is empty
  Bytes begin;
  Bytes end;
};

struct HttpReply {
  int status = 200;
  HttpHeaders headers;         // without Content-Length, Date, Connection: the server adds them
  std::vector<BodyPart> body;  // its total length is the Content-Length
  // HEAD and 304 send no body but may claim its length:
  std::optional<Bytes> content_length;
  // When set, file bytes are sent only as far as the gate lets them; text parts are not gated.
  // When it fails, or lets nothing through for Limits::gate_stall, the connection is closed with
  // FIN before the declared end.
  std::shared_ptr<ReadGate> gate;
  // When set, the answer is "200" without a body or headers, and then the connection is no longer
  // the server's: this is given it, on a data thread.
  std::function<void(std::unique_ptr<RawConnection>)> take;
  // Told once, on a data thread: body bytes sent, and whether all went out.
  std::function<void(Bytes sent, bool whole)> done;
};

class HttpServer {
 public:
  struct Limits {
    std::size_t header_bytes_max = 16 << 10;
    std::size_t body_bytes_max = 64 << 10;
    int connections_max = 1024;  // further ones are accepted and closed
    Duration idle = std::chrono::minutes(5);
    Duration header_time = std::chrono::seconds(10);
    Duration send_stall = std::chrono::seconds(60);
    Duration gate_stall = std::chrono::minutes(2);
    // About so much of an answer waits in the kernel for its turn on the wire; nullopt: as much as
    // the kernel takes. An answer is over when the rest of it is on its way, or waits there.
    std::optional<Bytes> unsent_max;
  };
  struct Options {
    index::Endpoint listen;  // port 0: any
    std::string name;        // for logs: "mirror", "peer"
    int threads = 2;
    Limits limits;
    std::optional<TlsIdentity> tls;
    RateLimiter* rate = nullptr;  // of what is sent; nullptr: none. Outlives the server
    // How a request is refused that never reaches the handler: malformed, too large, too slow, or
    // on a connection too many. `why` is a sentence for a person. nullptr: ErrorReply. Called on
    // data threads.
    std::function<HttpReply(int status, std::string_view why)> refusal = nullptr;
  };
  // Answers exactly once, from any thread, now or later. Dropping every copy answers 500.
  using Responder = std::function<void(HttpReply)>;
  // Called on a data thread. Must not block.
  using Handler = std::function<void(HttpRequest, Responder)>;

  // Errors  kInvalid for an address that is none, kExhausted when the port is taken (the text
  //         names the address), kDenied for a port that needs privileges.
  static Result<std::unique_ptr<HttpServer>> Start(Options options, Handler handler);
  ~HttpServer();

  [[nodiscard]] index::Endpoint endpoint() const;
  [[nodiscard]] int connections() const;

  // Serves a connected, non-blocking socket as if its other side had dialled. From any thread.
  // remote  for logs.
  void Adopt(std::unique_ptr<RawConnection> connection, std::string remote);

  // Accepts no more, closes idle connections, lets running answers finish for at most `grace`,
  // then cuts them. Blocks until done; called once, not on a data thread.
  void Stop(Duration grace);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::fetch
