// CurlCall: one HttpCall on one libcurl easy handle: its options, its callbacks, its error.
//
// Lives on the thread of its CurlWorker and nowhere else.
#pragma once

#include <curl/curl.h>
#include <openssl/types.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "fetch/dial_patience.h"
#include "fetch/transport/http_client.h"
#include "fetch/transport/rate_limiter.h"

namespace shoal::fetch {

// What a worker's calls share. The worker outlives them.
struct CurlSettings {
  const TlsIdentity* identity = nullptr;  // nullptr: peers cannot be called
  std::string user_agent;
  CURLSH* share = nullptr;  // TLS sessions
  RateLimiter* rate = nullptr;
};

// Where a call tells that something moved: a worker's counters.
struct CurlProgress {
  Time now;                // as of this round of the loop
  std::uint64_t seen = 0;  // grows with every byte and TLS record that any of its calls takes
  curl_socket_t reading = CURL_SOCKET_BAD;  // what libcurl was told to read, while it does
  // Calls that the rate limit holds, and until when.
  std::vector<std::pair<Time, HttpClient::CallId>> held;
  DialPatience dials;                      // to peers
  std::vector<HttpClient::CallId> turned;  // those that were waited for, and no longer are
};

// Of one answer, all its header lines. Registries stay under 8 KiB; more is an attack or a mistake.
inline constexpr std::size_t kHeadBytesMax = 64 << 10;
inline constexpr std::size_t kHeadersMax = 200;
inline constexpr long kRedirectsMax = 8;
// Of an answer, before the rate limit may hold it: what is small is over soon, and is waited for.
// At low rates less, so that many that begin together do not hold each other for long.
inline constexpr Bytes kUnheldBytes{16 << 10};
inline constexpr int kUnheldSlices = 4;
// What a connection's buffers take in before anybody reads is beyond the rate limit, and the kernel
// lets them grow to 6 MiB. So with a limit they are as small as leaves a peer (a round trip of 3 ms
// away) and an upstream (30 ms, or what net.core.rmem_max allows) room for the whole rate. From
// kLargeRate on, 6 MiB of eight connections are less than what a limit may be off in five seconds.
inline constexpr Duration kPeerBuffer = std::chrono::milliseconds(3);
inline constexpr Duration kUpstreamBuffer = std::chrono::milliseconds(30);
inline constexpr Bytes kSmallBufferMin{4 << 10};
inline constexpr Bytes kLargeRate{250'000'000};  // a second
// What libcurl reads from a socket at once. Larger ones measured no faster; one a running call.
inline constexpr long kReadBufferBytes = 256 << 10;
// What OpenSSL reads from a peer's socket at once: four records. Measured with 1 GiB over loopback:
// 0.51 s of CPU, against 0.67 s when each record takes two reads; 256 KiB is no better.
inline constexpr std::size_t kTlsReadAheadBytes = 64 << 10;
// A short answer that is due within this is awaited although nobody wants it any more, and so much
// of it read: its connection is worth more.
inline constexpr Duration kLeftMax = std::chrono::seconds(2);
inline constexpr std::size_t kLeftBytesMax = 256 << 10;
// A record that is not whole is, as a rule, well before this; what waits longer is looked at again.
inline constexpr Duration kBufferedLong = std::chrono::milliseconds(300);

class CurlCall {
 public:
  CurlCall(HttpClient::CallId id, HttpCall call, std::shared_ptr<HttpSink> sink,
           CurlProgress& progress);
  ~CurlCall();
  CurlCall(const CurlCall&) = delete;
  CurlCall& operator=(const CurlCall&) = delete;

  // Its turn has come: sets every option on a fresh or reset handle. The call keeps pointers into
  // itself there.
  //
  // Errors  kInvalid for what cannot be asked.
  Status Prepare(CURL* easy, const CurlSettings& settings);

  // Where it waits for its turn: calls of one lane share connections.
  [[nodiscard]] std::string Lane() const;
  [[nodiscard]] bool small() const { return call_.small; }
  [[nodiscard]] bool to_peer() const { return call_.peer.has_value(); }

  // Tells the sink that its turn has come once it is connected, or a dial to a peer takes longer
  // than they usually do.
  void TellTurn(Time now);
  [[nodiscard]] bool turn_told() const { return turn_told_; }

  // It is no longer wanted. Returns whether it goes on all the same, unheard, for the sake of its
  // connection: while it dials, and when a short answer is due soon. Then the sink has its OnDone,
  // and what is due is the same as ever.
  bool Leave();

  // What became of it. To be called once, when it is out of the multi handle.
  void Finish(CURLcode code);
  void Fail(const Error& error);

  // Why it must end now, if it must: no connection, or no byte, for too long.
  [[nodiscard]] std::optional<Error> Overdue(Time now) const;

  // OpenSSL reads ahead of libcurl, so records may wait in its buffer that no poll of the socket
  // shows. Whether some do, unless MarkDry has said that they are not whole yet.
  [[nodiscard]] bool HasBuffered() const;
  // A read has just taken nothing.
  void MarkDry();
  // Whether records wait that no byte has followed for a while, marked or not.
  [[nodiscard]] bool HasBufferedLong() const;
  // The socket whose turn brought what it took last; CURL_SOCKET_BAD before. libcurl does not say
  // which one a call on a kept connection uses. Another call's, where a timer was due in its turn.
  [[nodiscard]] curl_socket_t socket() const { return socket_; }
  // Bytes of heads and body that came: what a read took.
  [[nodiscard]] std::uint64_t taken() const { return taken_; }

  // Goes on with a call that the rate limit holds.
  void Resume();

  [[nodiscard]] HttpClient::CallId id() const { return id_; }
  [[nodiscard]] CURL* easy() const { return easy_; }  // nullptr before Prepare

 private:
  static std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* self);
  static int OnConnected(void* self, char*, char*, int, int);
  static int OnSocketMade(void* self, curl_socket_t fd, curlsocktype purpose);
  static CURLcode OnTlsContext(CURL*, void* context, void* self);

  Status PreparePeer(const CurlSettings& settings);
  Status PrepareRelay();
  void PrepareUpstream();
  Status PrepareHeaders();
  bool HeaderLine(std::string_view line);
  bool HeadEnds();
  void Took(std::size_t bytes);
  void Account(Bytes bytes);
  void ReturnAhead();
  [[nodiscard]] bool FollowsRedirect() const;
  [[nodiscard]] SSL* Tls() const;
  // Tls() when records wait in its buffer that may be read; else nullptr.
  [[nodiscard]] const SSL* Pending() const;
  [[nodiscard]] Error ErrorOf(CURLcode code) const;
  [[nodiscard]] std::string What() const;

  HttpClient::CallId id_;
  HttpCall call_;
  std::shared_ptr<HttpSink> sink_;  // owners: the asker and this call
  CurlProgress& progress_;
  CURL* easy_ = nullptr;
  const TlsIdentity* identity_ = nullptr;
  curl_slist* header_list_ = nullptr;
  curl_slist* connect_to_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text_{};

  Time started_;
  Time last_byte_;
  bool connected_ = false;  // a request was sent, or is about to be
  bool turn_told_ = false;
  bool left_ = false;     // by whoever asked
  bool in_head_ = false;  // between a status line and its blank line
  bool told_head_ = false;
  bool sink_stopped_ = false;
  bool held_ = false;  // by the rate limit
  Bytes ahead_;        // booked for what fills the buffers while the call is held
  Bytes body_;
  RateLimiter* rate_ = nullptr;
  std::size_t head_bytes_ = 0;
  curl_socket_t socket_ = CURL_SOCKET_BAD;
  std::uint64_t taken_ = 0;
  std::uint64_t dry_at_ = 0;  // bytes that OpenSSL had read when it last had no whole record
  HttpHead head_;
  std::optional<Error> refused_;  // ours, rather than libcurl's
};

}  // namespace shoal::fetch
