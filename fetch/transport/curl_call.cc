#include "fetch/transport/curl_call.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace shoal::fetch {
namespace {

std::string_view Trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Whoever asked is gone.
class NobodySink : public HttpSink {
 public:
  bool OnHead(const HttpHead& /*head*/) override { return true; }
  bool OnBytes(ByteSpan bytes) override {
    bytes_ += bytes.size();
    return bytes_ <= kLeftBytesMax;
  }
  void OnDone(Status /*status*/) override {}

 private:
  std::size_t bytes_ = 0;
};

bool HasLineBreak(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

long Milliseconds(Duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return duration.count() > 0 && ms == 0 ? 1 : static_cast<long>(ms);
}

// libcurl's setters cannot fail here but by lack of memory, which ends the process anyway.
template <class T>
void Set(CURL* easy, CURLoption option, T value) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  SHOAL_CHECK(code == CURLE_OK || code == CURLE_OUT_OF_MEMORY);
}

// OpenSSL shows every record's header as it takes it.
void CountRecord(int is_write, int, int type, const void*, std::size_t, SSL*, void* progress) {
  if (is_write == 0 && type == SSL3_RT_HEADER) ++static_cast<CurlProgress*>(progress)->seen;
}

// One read is one turn at the rate limit; libcurl takes no less than 1 KiB.
long ReadBufferBytes(const RateLimiter* rate) {
  if (rate == nullptr) return kReadBufferBytes;
  return std::min(kReadBufferBytes, static_cast<long>(rate->slice().count()));
}

Code CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_BAD_FUNCTION_ARGUMENT:
      return Code::kInvalid;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return Code::kDenied;
    default:
      return Code::kRetryLater;
  }
}

}  // namespace

CurlCall::CurlCall(HttpClient::CallId id, HttpCall call, std::shared_ptr<HttpSink> sink,
                   CurlProgress& progress)
    : id_(id), call_(std::move(call)), sink_(std::move(sink)), progress_(progress) {}

CurlCall::~CurlCall() {
  ReturnAhead();
  curl_slist_free_all(header_list_);
  curl_slist_free_all(connect_to_);
}

Status CurlCall::Prepare(CURL* easy, const CurlSettings& settings) {
  easy_ = easy;
  rate_ = settings.rate;
  started_ = last_byte_ = progress_.now;
  TellTurn(started_);
  if (HasLineBreak(call_.url) || call_.url.size() > (16 << 10)) {
    return Error{Code::kInvalid, "the URL of a request has line breaks or is over 16 KiB"};
  }
  if (call_.method == "HEAD") {
    Set(easy, CURLOPT_NOBODY, 1L);
  } else if (call_.method == "POST") {
    Set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call_.body.size()));
    Set(easy, CURLOPT_POSTFIELDS, call_.body.c_str());
  } else if (call_.method != "GET") {
    return Error{Code::kInvalid, "the HTTP client sends GET, HEAD and POST, not " + call_.method};
  }
  Set(easy, CURLOPT_URL, call_.url.c_str());
  Set(easy, CURLOPT_PRIVATE, this);
  Set(easy, CURLOPT_ERRORBUFFER, error_text_.data());
  Set(easy, CURLOPT_NOSIGNAL, 1L);
  Set(easy, CURLOPT_QUICK_EXIT, 1L);
  Set(easy, CURLOPT_USERAGENT, settings.user_agent.c_str());
  Set(easy, CURLOPT_SHARE, settings.share);
  Set(easy, CURLOPT_BUFFERSIZE, ReadBufferBytes(rate_));
  if (rate_ != nullptr) {
    Set(easy, CURLOPT_SOCKOPTFUNCTION, &CurlCall::OnSocketMade);
    Set(easy, CURLOPT_SOCKOPTDATA, static_cast<void*>(this));
  }
  Set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  Set(easy, CURLOPT_FORBID_REUSE, call_.close ? 1L : 0L);
  Set(easy, CURLOPT_FRESH_CONNECT, call_.fresh ? 1L : 0L);
  Set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // Blobs are large and few: a TCP connection each beats streams that share one window. It also
  // keeps one framing for "cut short", for peers and upstreams alike.
  Set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  Set(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
  Set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  Set(easy, CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(call_.connect_timeout));
  Set(easy, CURLOPT_TIMEOUT_MS, Milliseconds(call_.total_timeout));
  Set(easy, CURLOPT_HEADERFUNCTION, &CurlCall::OnHeader);
  Set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
  Set(easy, CURLOPT_WRITEFUNCTION, &CurlCall::OnBody);
  Set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
  Set(easy, CURLOPT_PREREQFUNCTION, &CurlCall::OnConnected);
  Set(easy, CURLOPT_PREREQDATA, static_cast<void*>(this));
  if (auto status = PrepareHeaders(); !status) return status;
  if (call_.peer) return PreparePeer(settings);
  PrepareUpstream();
  return Ok();
}

Status CurlCall::PreparePeer(const CurlSettings& settings) {
  const auto& peer = *call_.peer;
  if (settings.identity == nullptr) {
    return Error{Code::kInvalid, "this client has no identity to show to peers"};
  }
  // The URL's host keys the pool of connections: with another's, a pinned call could travel on a
  // connection that was never checked against its pin.
  if (!call_.url.starts_with(PeerUrl(peer.peer, peer.endpoint, "/"))) {
    return Error{Code::kInvalid, "a call to a peer has the URL of another: " + call_.url};
  }
  identity_ = settings.identity;
  if (peer.endpoint.relay) {
    if (auto status = PrepareRelay(); !status) return status;
  } else {
    connect_to_ = curl_slist_append(nullptr, ("::" + index::ToString(peer.endpoint)).c_str());
    Set(easy_, CURLOPT_CONNECT_TO, connect_to_);
    Set(easy_, CURLOPT_PROXY, "");  // never through HTTPS_PROXY
  }
  // The certificate is judged by PrepareClient's check alone, which ends the handshake itself.
  Set(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
  Set(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  Set(easy_, CURLOPT_SSL_CTX_FUNCTION, &CurlCall::OnTlsContext);
  Set(easy_, CURLOPT_SSL_CTX_DATA, static_cast<void*>(this));
  return Ok();
}

// To libcurl a relay is an HTTPS proxy, which it asks to CONNECT to the URL's host. What was
// connected directly is never reused for it, and the other way round.
Status CurlCall::PrepareRelay() {
  const auto& peer = *call_.peer;
  if (!peer.peer) {
    return Error{Code::kInvalid, "through a relay only a peer whose id is known can be called"};
  }
  const std::string relay =
      "https://" + ToString(index::Endpoint{peer.endpoint.host, peer.endpoint.port});
  Set(easy_, CURLOPT_PROXY, relay.c_str());
  Set(easy_, CURLOPT_HTTPPROXYTUNNEL, 1L);
  Set(easy_, CURLOPT_NOPROXY, "");  // nor past the relay by NO_PROXY
  Set(easy_, CURLOPT_PROXY_SSL_VERIFYPEER, 0L);
  Set(easy_, CURLOPT_PROXY_SSL_VERIFYHOST, 0L);
  return Ok();
}

void CurlCall::PrepareUpstream() {
  Set(easy_, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (call_.insecure) {
    Set(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    Set(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  } else if (!call_.ca_file.empty()) {
    // The system's authorities stay in force through the folder.
    Set(easy_, CURLOPT_CAINFO, call_.ca_file.c_str());
    Set(easy_, CURLOPT_CAPATH, "/etc/ssl/certs");
  }
  if (call_.user_password) {
    Set(easy_, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    Set(easy_, CURLOPT_USERPWD, call_.user_password->c_str());
  }
  if (call_.follow_redirects) {
    Set(easy_, CURLOPT_FOLLOWLOCATION, 1L);
    Set(easy_, CURLOPT_MAXREDIRS, kRedirectsMax);
    // What was asked for under TLS is not fetched in the clear.
    Set(easy_, CURLOPT_REDIR_PROTOCOLS_STR,
        call_.url.starts_with("https:") ? "https" : "http,https");
  }
}

Status CurlCall::PrepareHeaders() {
  for (const auto& [name, value] : call_.headers) {
    if (HasLineBreak(name) || HasLineBreak(value) || name.find(':') != std::string::npos) {
      return Error{Code::kInvalid, "a header to be sent has a line break or a colon in its name"};
    }
    // libcurl reads "Name:" as "do not send it", and "Name;" as "send it empty".
    std::string line = name;
    line += value.empty() ? ";" : ": ";
    line += value;
    header_list_ = curl_slist_append(header_list_, line.c_str());
  }
  header_list_ = curl_slist_append(header_list_, "Expect:");
  Set(easy_, CURLOPT_HTTPHEADER, header_list_);
  return Ok();
}

int CurlCall::OnConnected(void* self, char*, char*, int, int) {
  auto& call = *static_cast<CurlCall*>(self);
  const Time now = call.progress_.now;
  call.connected_ = true;
  call.last_byte_ = now;
  long dials = 0;
  curl_easy_getinfo(call.easy_, CURLINFO_NUM_CONNECTS, &dials);
  if (call.call_.peer && dials > 0) call.progress_.dials.OnDial(now, now - call.started_);
  call.TellTurn(now);
  // A long answer would cost more than the connection.
  return call.left_ && !call.call_.small ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

void CurlCall::TellTurn(Time now) {
  if (turn_told_ || easy_ == nullptr) return;
  if (call_.peer && !connected_ && now - started_ < progress_.dials.At(now)) return;
  turn_told_ = true;
  progress_.turned.push_back(id_);
  sink_->OnTurn();
}

bool CurlCall::Leave() {
  if (left_ || easy_ == nullptr || !call_.peer || call_.close) return false;
  const bool short_and_due =
      call_.small && call_.stall_timeout.count() > 0 && call_.stall_timeout <= kLeftMax;
  if (connected_ && !short_and_due) return false;
  left_ = true;
  std::exchange(sink_, std::make_shared<NobodySink>())
      ->OnDone(Error{Code::kCancelled, "the call was cancelled"});
  return true;
}

int CurlCall::OnSocketMade(void* self, curl_socket_t fd, curlsocktype purpose) {
  const auto& call = *static_cast<const CurlCall*>(self);
  if (purpose != CURLSOCKTYPE_IPCXN || call.rate_->per_second() >= kLargeRate) {
    return CURL_SOCKOPT_OK;
  }
  const Duration room = call.call_.peer ? kPeerBuffer : kUpstreamBuffer;
  const Bytes wanted(call.rate_->per_second().count() * room.count() / 1'000'000);
  const int size = static_cast<int>(std::max(wanted, kSmallBufferMin).count());
  // The kernel doubles it for its own headers. Without it, only the limit is less exact.
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return CURL_SOCKOPT_OK;
}

CURLcode CurlCall::OnTlsContext(CURL*, void* context, void* self) {
  auto& call = *static_cast<CurlCall*>(self);
  auto* tls = static_cast<SSL_CTX*>(context);
  const auto& peer = *call.call_.peer;
  std::optional<TlsIdentity::Through> through;
  if (peer.endpoint.relay) {
    through = TlsIdentity::Through{*peer.endpoint.relay, peer.peer->Hex() + ".peer.shoal"};
  }
  const bool is_relayed = through.has_value();
  if (auto status = call.identity_->PrepareClient(tls, peer.peer, std::move(through)); !status) {
    call.refused_ = status.error();
    return CURLE_SSL_CERTPROBLEM;
  }
  SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);  // an idle connection holds no buffers
  // With one TLS inside another, what the outer one has read ahead nobody would see.
  if (!is_relayed) {
    SSL_CTX_set_read_ahead(tls, 1);
    if (call.rate_ == nullptr) SSL_CTX_set_default_read_buffer_len(tls, kTlsReadAheadBytes);
  }
  // The progress is the worker's, which outlives its connections; the call does not.
  SSL_CTX_set_msg_callback(tls, CountRecord);
  SSL_CTX_set_msg_callback_arg(tls, &call.progress_);
  return CURLE_OK;
}

SSL* CurlCall::Tls() const {
  curl_tlssessioninfo* info = nullptr;
  if (curl_easy_getinfo(easy_, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == nullptr) {
    return nullptr;
  }
  return static_cast<SSL*>(info->internals);
}

const SSL* CurlCall::Pending() const {
  if (!call_.peer || !connected_ || held_) return nullptr;
  const SSL* tls = Tls();
  return tls != nullptr && SSL_has_pending(tls) == 1 ? tls : nullptr;
}

bool CurlCall::HasBuffered() const {
  const SSL* tls = Pending();
  return tls != nullptr && BIO_number_read(SSL_get_rbio(tls)) != dry_at_;
}

void CurlCall::MarkDry() {
  if (const SSL* tls = Tls()) dry_at_ = BIO_number_read(SSL_get_rbio(tls));
}

bool CurlCall::HasBufferedLong() const {
  return progress_.now >= last_byte_ + kBufferedLong && Pending() != nullptr;
}

void CurlCall::Took(std::size_t bytes) {
  last_byte_ = progress_.now;
  progress_.seen += bytes;
  taken_ += bytes;
  if (progress_.reading != CURL_SOCKET_BAD) socket_ = progress_.reading;
}

std::size_t CurlCall::OnHeader(char* data, std::size_t size, std::size_t count, void* self) {
  auto& call = *static_cast<CurlCall*>(self);
  const std::size_t length = size * count;
  call.Took(length);
  return call.HeaderLine({data, length}) ? length : 0;
}

bool CurlCall::HeaderLine(std::string_view line) {
  if (!in_head_) {
    if (told_head_ || !line.starts_with("HTTP/")) return true;  // a trailer
    in_head_ = true;
    head_ = HttpHead{};
    head_bytes_ = 0;
    const auto space = line.find(' ');
    if (space != std::string_view::npos) {
      std::from_chars(line.data() + space + 1, line.data() + line.size(), head_.status);
    }
    return true;
  }
  if (line == "\r\n" || line == "\n") {
    in_head_ = false;
    return HeadEnds();
  }
  head_bytes_ += line.size();
  if (head_bytes_ > kHeadBytesMax || head_.headers.size() >= kHeadersMax) {
    refused_ = Error{Code::kRetryLater, What() + ": the answer's header is over " +
                                            std::to_string(kHeadBytesMax >> 10) + " KiB or " +
                                            std::to_string(kHeadersMax) + " lines"};
    return false;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return true;
  head_.headers.emplace_back(Trim(line.substr(0, colon)), Trim(line.substr(colon + 1)));
  return true;
}

bool CurlCall::FollowsRedirect() const {
  return call_.follow_redirects && head_.status >= 300 && head_.status < 400 &&
         !FindHeader(head_.headers, "Location").empty();
}

bool CurlCall::HeadEnds() {
  if (head_.status < 200 || FollowsRedirect()) return true;
  told_head_ = true;
  const char* url = nullptr;
  curl_easy_getinfo(easy_, CURLINFO_EFFECTIVE_URL, &url);
  head_.url = url == nullptr ? call_.url : url;
  if (sink_->OnHead(head_)) return true;
  sink_stopped_ = true;
  return false;
}

std::size_t CurlCall::OnBody(char* data, std::size_t size, std::size_t count, void* self) {
  auto& call = *static_cast<CurlCall*>(self);
  const std::size_t length = size * count;
  call.Took(length);
  call.Account(Bytes(static_cast<std::int64_t>(length)));
  if (call.sink_->OnBytes(AsBytes({data, length}))) return length;
  call.sink_stopped_ = true;
  // Any other count than `length` ends the transfer.
  return length == 0 ? 1 : 0;
}

// What came, came: it is the next read that waits. A paused socket makes the sender wait too.
void CurlCall::Account(Bytes bytes) {
  body_ += bytes;
  if (rate_ == nullptr) return;
  const Bytes unheld = std::min(kUnheldBytes, rate_->slice() * kUnheldSlices);
  if (body_ > unheld && ahead_ == Bytes(0)) {
    ahead_ = rate_->slice();
    bytes += ahead_;
  }
  const Time until = rate_->Account(RateLimiter::Now(), bytes);
  if (held_ || body_ <= unheld || until <= progress_.now) return;
  held_ = curl_easy_pause(easy_, CURLPAUSE_ALL) == CURLE_OK;
  if (held_) progress_.held.emplace_back(until, id_);
}

void CurlCall::ReturnAhead() {
  if (ahead_ > Bytes(0)) rate_->Return(RateLimiter::Now(), std::exchange(ahead_, Bytes(0)));
}

void CurlCall::Resume() {
  held_ = false;
  last_byte_ = progress_.now;
  curl_easy_pause(easy_, CURLPAUSE_CONT);
}

std::string CurlCall::Lane() const {
  return std::string(HostOf(call_.url)) + (call_.small ? " small" : "");
}

std::optional<Error> CurlCall::Overdue(Time now) const {
  if (easy_ == nullptr) return std::nullopt;  // not its turn yet
  if (held_) return std::nullopt;
  if (!connected_) {
    if (now - started_ < call_.connect_timeout) return std::nullopt;
    return Error{Code::kRetryLater, What() + ": no connection within " +
                                        std::to_string(Milliseconds(call_.connect_timeout)) +
                                        " ms"};
  }
  if (call_.stall_timeout.count() == 0 || now - last_byte_ < call_.stall_timeout) {
    return std::nullopt;
  }
  return Error{Code::kRetryLater, What() + ": no byte for " +
                                      std::to_string(Milliseconds(call_.stall_timeout)) + " ms"};
}

void CurlCall::Finish(CURLcode code) {
  if (code == CURLE_OK && told_head_) return sink_->OnDone(Ok());
  if (code == CURLE_OK) {
    return Fail(Error{Code::kRetryLater, What() + ": the answer had no final status"});
  }
  Fail(ErrorOf(code));
}

void CurlCall::Fail(const Error& error) { sink_->OnDone(error); }

Error CurlCall::ErrorOf(CURLcode code) const {
  if (sink_stopped_) return Error{Code::kCancelled, What() + ": no longer wanted"};
  if (refused_) return *refused_;
  std::string text = error_text_.front() != '\0' ? error_text_.data() : curl_easy_strerror(code);
  if (code == CURLE_PEER_FAILED_VERIFICATION && call_.peer) {
    text = "whoever answers there has another key than its record says";
  } else if (code == CURLE_PEER_FAILED_VERIFICATION) {
    text += "; give its authority as `ca` of the [[registry]]";
  } else if (code == CURLE_SSL_CACERT_BADFILE) {
    text = "cannot read the CA file " + call_.ca_file;
  }
  return Error{CodeOf(code), What() + ": " + text};
}

std::string CurlCall::What() const {
  // A query may be what lets its bearer in.
  if (!call_.peer) return call_.method + " " + call_.url.substr(0, call_.url.find('?'));
  const auto& peer = *call_.peer;
  return "peer " + (peer.peer ? peer.peer->Short() + " at " : std::string()) +
         index::ToString(peer.endpoint);
}

}  // namespace shoal::fetch
