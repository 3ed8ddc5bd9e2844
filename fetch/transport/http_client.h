// HttpClient: libcurl multi on its own threads; connections are kept. For peers and upstreams.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/encoding.h"
#include "base/result.h"
#include "base/time.h"
#include "fetch/transport/http_server.h"  // HttpHeaders
#include "fetch/transport/tls.h"
#include "index/record.h"

namespace shoal::fetch {

struct HttpHead {
  int status = 0;
  HttpHeaders headers;
  std::string url;  // the one that answered, after redirects
};

// All calls come from one data thread; OnDone is the last.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  // Its turn has come: until now it waited for other calls to the same host to end, and none of
  // its limits of time ran; or a peer was being dialled, for no longer than that usually takes
  // (DialPatience). Not told of a call that ends while it waits.
  virtual void OnTurn() {}
  // The final answer's head. False stops the transfer (OnDone gets kCancelled).
  virtual bool OnHead(const HttpHead& head) = 0;
  virtual bool OnBytes(ByteSpan bytes) = 0;
  // Ok when the answer arrived whole, whatever its HTTP status. Errors: kRetryLater (cannot
  // connect, timed out, cut short), kDenied (TLS: not the expected peer, certificate not
  // trusted), kInvalid (no such URL form), kCancelled.
  virtual void OnDone(Status status) = 0;
};

struct HttpCall {
  std::string method = "GET";  // GET, HEAD, POST
  std::string url;
  HttpHeaders headers;
  std::string body;  // of a POST

  // A peer: the URL's host is only a name for the connection pool (use PeerUrl); `endpoint` is
  // dialled, our certificate is shown, and the other side must be `peer` (anybody if nullopt). An
  // endpoint with a relay: the relay is dialled, which must be that one, and asked to connect us to
  // `peer`, which is then checked as well.
  struct ToPeer {
    index::Endpoint endpoint;
    std::optional<PeerId> peer;
  };
  std::optional<ToPeer> peer;

  // An upstream: a CA file besides the system's ("" none); insecure skips verification.
  std::string ca_file;
  bool insecure = false;
  bool follow_redirects = false;
  std::optional<std::string>
      user_password;  // Basic, "user:password"; dropped on cross-host redirects

  Duration connect_timeout = std::chrono::seconds(5);
  // Without a byte received for this long the call fails (headers included). 0: no limit.
  Duration stall_timeout = std::chrono::seconds(30);
  Duration total_timeout{0};  // 0: no limit
  // Calls with the same affinity run on the same thread, one after the other's bytes.
  std::optional<std::uint64_t> affinity;
  // A short answer, or one that the other side holds back on purpose: it has connections besides
  // those of the calls that bring much, and neither waits for the other. Get sets it.
  bool small = false;
  // The connection is closed after it rather than kept.
  bool close = false;
  // No connection that is open already will do.
  bool fresh = false;
};

// "https://<id>.peer.shoal<path>", or for an unknown id "https://unknown.peer.shoal<path>".
std::string PeerUrl(const std::optional<PeerId>& peer, const index::Endpoint& endpoint,
                    std::string_view path);

// "https://host:port" of a URL.
std::string_view HostOf(std::string_view url);

class HttpClient {
 public:
  using CallId = std::uint64_t;
  struct Options {
    int threads = 2;
    std::optional<TlsIdentity> identity;
    // Calls to one host that run at once; further ones wait for their turn, the oldest first. Each
    // that runs costs a read buffer (kReadBufferBytes).
    int connections_per_host_max = 32;  // an upstream: of a whole image, or several
    int connections_per_peer_max = 8;
    int small_calls_per_host_max = 32;
    int connections_max = 256;  // all together
    std::string user_agent;
    RateLimiter* rate = nullptr;  // of what is received; nullptr: none. Outlives the client
  };

  static Result<std::unique_ptr<HttpClient>> Start(Options options);
  ~HttpClient();  // cancels what runs

  CallId Start(HttpCall call, std::shared_ptr<HttpSink> sink);
  // OnDone(kCancelled) follows unless it was over. Its connection is kept where that is cheap: a
  // dial to a peer goes on, and a short answer that is due soon is read.
  void Cancel(CallId call);

  // A whole small answer. `done` is called on a data thread.
  struct Answer {
    HttpHead head;
    std::string body;
  };
  // Errors besides HttpSink's: kExhausted when the body is longer than max_bytes.
  // on_turn: see HttpSink.
  CallId Get(HttpCall call, std::size_t max_bytes, std::function<void(Result<Answer>)> done,
             std::function<void()> on_turn = {});

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::fetch
