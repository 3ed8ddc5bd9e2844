#include "fetch/transport/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "fetch/transport/curl_worker.h"

namespace shoal::fetch {
namespace {

// Collects a small answer and calls back once.
class AnswerSink : public HttpSink {
 public:
  AnswerSink(std::size_t max_bytes, std::function<void(Result<HttpClient::Answer>)> done,
             std::function<void()> on_turn)
      : max_bytes_(max_bytes), done_(std::move(done)), on_turn_(std::move(on_turn)) {}

  void OnTurn() override {
    if (on_turn_) on_turn_();
  }

  bool OnHead(const HttpHead& head) override {
    answer_.head = head;
    return true;
  }
  bool OnBytes(ByteSpan bytes) override {
    too_long_ = bytes.size() > max_bytes_ - answer_.body.size();
    if (!too_long_) answer_.body.append(AsText(bytes));
    return !too_long_;
  }
  void OnDone(Status status) override {
    const auto done = std::move(done_);
    if (too_long_) {
      done(Error{Code::kExhausted, answer_.head.url + ": the answer is over " +
                                       std::to_string(max_bytes_) + " bytes"});
    } else if (!status) {
      done(status.error());
    } else {
      done(std::move(answer_));
    }
  }

 private:
  std::size_t max_bytes_;
  std::function<void(Result<HttpClient::Answer>)> done_;
  std::function<void()> on_turn_;
  HttpClient::Answer answer_;
  bool too_long_ = false;
};

// The worker's number is in the low bits of a call's id.
constexpr int kWorkerBits = 6;
constexpr int kLean = 2;

}  // namespace

std::string_view HostOf(std::string_view url) {
  const auto host = url.find("//");
  return url.substr(0, host == std::string_view::npos ? host : url.find('/', host + 2));
}

std::string PeerUrl(const std::optional<PeerId>& peer, const index::Endpoint& endpoint,
                    std::string_view path) {
  if (peer) return "https://" + peer->Hex() + ".peer.shoal" + std::string(path);
  // With its endpoint, so that no two strangers share a name; at most 240 bytes, for SNI takes 255.
  std::string name = endpoint.host.substr(0, 200) + "-" + std::to_string(endpoint.port);
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
    if (!plain) c = '-';
  }
  return "https://unknown-" + name + ".peer.shoal" + std::string(path);
}

class HttpClient::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)) {}
  ~Impl() {
    // All stop before any is gone: a sink may start a call on another worker from its OnDone.
    for (const auto& worker : workers_) worker->Stop();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status Open() {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      return Error{Code::kExhausted, "libcurl cannot start: the process is out of memory"};
    }
    const int threads = std::clamp(options_.threads, 1, 1 << kWorkerBits);
    CurlWorker::Options worker;
    worker.identity = options_.identity ? &*options_.identity : nullptr;
    worker.user_agent = options_.user_agent.empty() ? "shoal/" SHOAL_VERSION : options_.user_agent;
    worker.rate = options_.rate;
    worker.connections_per_host_max = Share(options_.connections_per_host_max, threads);
    worker.connections_per_peer_max = Share(options_.connections_per_peer_max, threads);
    // A peer's all go to one worker; an upstream's to each, by their affinity.
    worker.small_calls_per_peer_max = options_.small_calls_per_host_max;
    worker.small_calls_per_host_max = Share(options_.small_calls_per_host_max, threads);
    worker.connections_max = Share(options_.connections_max, threads);
    for (int i = 0; i < threads; ++i) {
      auto started = CurlWorker::Start(worker);
      if (!started) return started.error();
      workers_.push_back(std::move(*started));
    }
    return Ok();
  }

  CallId Start(HttpCall call, std::shared_ptr<HttpSink> sink) {
    const std::size_t index = Choose(call);
    const CallId id = (next_.fetch_add(1, std::memory_order_relaxed) << kWorkerBits) | index;
    workers_[index]->Add(id, std::move(call), std::move(sink));
    return id;
  }

  void Cancel(CallId id) {
    const std::size_t index = id & ((1U << kWorkerBits) - 1);
    if (index < workers_.size()) workers_[index]->Cancel(id);
  }

 private:
  static int Share(int all, int threads) { return std::max(1, (all + threads - 1) / threads); }

  // A host has its connections at one worker, and a dial costs more than to wait for a thread that
  // is busier: only calls that bring much go elsewhere, and only from one that has kLean more.
  [[nodiscard]] std::size_t Choose(const HttpCall& call) const {
    if (call.affinity) return *call.affinity % workers_.size();
    std::size_t best = std::hash<std::string_view>{}(HostOf(call.url)) % workers_.size();
    if (call.small) return best;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i]->load() + kLean < workers_[best]->load()) best = i;
    }
    return best;
  }

  Options options_;
  std::atomic<CallId> next_ = 1;
  std::vector<std::unique_ptr<CurlWorker>> workers_;
};

Result<std::unique_ptr<HttpClient>> HttpClient::Start(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto status = impl->Open(); !status) return status.error();
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;

HttpClient::CallId HttpClient::Start(HttpCall call, std::shared_ptr<HttpSink> sink) {
  return impl_->Start(std::move(call), std::move(sink));
}

void HttpClient::Cancel(CallId call) { impl_->Cancel(call); }

HttpClient::CallId HttpClient::Get(HttpCall call, std::size_t max_bytes,
                                   std::function<void(Result<Answer>)> done,
                                   std::function<void()> on_turn) {
  call.small = true;
  return impl_->Start(std::move(call),
                      std::make_shared<AnswerSink>(max_bytes, std::move(done), std::move(on_turn)));
}

}  // namespace shoal::fetch
