// UpstreamCall: one request to a registry, with what it takes to be let in: a challenge is answered
// once and the request sent again; a status that is no success becomes an Error. A blob whose
// registry has sent us elsewhere is asked for there at once, and at the registry if that fails.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "fetch/transport/http_client.h"
#include "registry-proxy/redirects.h"
#include "registry-proxy/registries.h"
#include "registry-proxy/upstream/authorizer.h"

namespace shoal::proxy {

// When a registry that had too much may be asked again. Thread-safe.
class Restraint {
 public:
  // How long is left for this kind of request; zero when it may go.
  Duration Left(const std::string& kind);
  // The registry said Retry-After, or nothing ("").
  void Note(const std::string& kind, std::string_view retry_after);

 private:
  std::mutex mutex_;
  std::map<std::string, Time> until_;  // bounded by kKindsMax
};

// Redirects, thread-safe.
class KnownRedirects {
 public:
  std::string Find(const std::string& url);
  void Note(const std::string& url, const std::string& target);
  void Forget(const std::string& url, const std::string& target);

 private:
  std::mutex mutex_;
  Redirects redirects_;
};

struct UpstreamRequest {
  RegistryConfig registry;
  std::string scope;
  std::string method = "GET";
  std::string path;  // "/v2/..."
  fetch::HttpHeaders headers;
  // Requests that a registry limits together: it limits GETs of manifests, but not HEADs or blobs.
  std::string kind;
  Duration connect_timeout;
  Duration stall_timeout;
  Duration total_timeout{0};
  bool small = false;            // see fetch::HttpCall
  bool close = false;            // likewise
  bool reuse_redirect = false;   // a blob: where its registry sent us before is good for it again
  std::optional<Error> refused;  // not to be sent at all: the reply hears this
};

class UpstreamCall : public fetch::HttpSink, public std::enable_shared_from_this<UpstreamCall> {
 public:
  struct Shared {
    fetch::HttpClient& client;
    Authorizer authorizer;
    Restraint restraint;
    KnownRedirects redirects;
  };

  // shared  outlives the call.
  // reply   hears the head only of a success (2xx); every other end is an Error in its OnDone.
  UpstreamCall(Shared& shared, std::uint64_t affinity, UpstreamRequest request,
               std::shared_ptr<fetch::HttpSink> reply);
  // over    called last, once, after reply's OnDone, also when cancelled. To be set before Start.
  void set_over(std::function<void()> over) { over_ = std::move(over); }

  void Start();
  // The reply hears no more, except calls already running. Any thread.
  void Cancel();
  void MarkCancelled() { cancelled_.store(true); }
  [[nodiscard]] bool cancelled() const { return cancelled_.load(); }

  void OnTurn() override;
  bool OnHead(const fetch::HttpHead& head) override;
  bool OnBytes(ByteSpan bytes) override;
  void OnDone(Status status) override;

 private:
  void Send();
  void NoteRedirect(const fetch::HttpHead& head);
  void Finish(Status status);
  [[nodiscard]] std::string Url() const { return BaseUrl(request_.registry) + request_.path; }
  [[nodiscard]] Error StatusError() const;
  [[nodiscard]] std::string What() const;

  Shared& shared_;
  std::uint64_t affinity_;
  UpstreamRequest request_;
  std::shared_ptr<fetch::HttpSink> reply_;  // owners: the asker and this call
  std::function<void()> over_;

  std::atomic<bool> cancelled_ = false;
  std::atomic<fetch::HttpClient::CallId> running_ = 0;

  // From here on touched by one thread at a time: each HTTP call begins after the last one's end.
  std::string authorization_;
  bool authorized_ = false;     // a challenge was answered
  std::string target_;          // where it is asked for now, if not at the registry
  bool target_failed_ = false;  // from then on the registry is asked
  int status_ = 0;
  std::vector<Challenge> challenges_;
  std::string error_body_;
};

}  // namespace shoal::proxy
