// CurlWorker: one thread, one libcurl multi handle, one epoll, and the calls that run there.
//
// Commands come through a queue under a mutex that no callback runs under. Connections live in the
// multi handle and are kept between calls. A call is given to libcurl when its turn has come
// (CallQueue): libcurl would queue it too, but would not say when it was let go on, and its limits
// of time would run meanwhile.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fetch/call_queue.h"
#include "fetch/transport/curl_call.h"
#include "fetch/transport/http_client.h"

namespace shoal::fetch {

class CurlWorker {
 public:
  struct Options {
    const TlsIdentity* identity = nullptr;  // outlives the worker
    std::string user_agent;
    int connections_per_host_max = 1;
    int connections_per_peer_max = 1;
    int small_calls_per_host_max = 1;  // of those that are no peers
    int small_calls_per_peer_max = 1;
    int connections_max = 1;
    RateLimiter* rate = nullptr;  // outlives the worker
  };

  // Errors  kExhausted when the process has no descriptors left.
  static Result<std::unique_ptr<CurlWorker>> Start(const Options& options);
  ~CurlWorker();
  // Ends every call with kCancelled and joins the thread. Not to be called on that thread; twice is
  // once. Add and Cancel may still be called until the worker is gone.
  void Stop();

  // Any thread. After the worker stopped, the sink hears kCancelled inside this call.
  void Add(HttpClient::CallId id, HttpCall call, std::shared_ptr<HttpSink> sink);
  void Cancel(HttpClient::CallId id);
  // Calls that bring much, were added and are not over.
  [[nodiscard]] int load() const { return load_.load(std::memory_order_relaxed); }

 private:
  struct Added {
    HttpClient::CallId id;
    HttpCall call;
    std::shared_ptr<HttpSink> sink;
  };

  explicit CurlWorker(Options options);
  Status Open();

  static int OnSocket(CURL*, curl_socket_t fd, int what, void* self, void*);
  static int OnTimer(CURLM*, long timeout_ms, void* self);
  void Forget(curl_socket_t fd);

  void Run();
  void Round();
  void Wait();
  void TakeCommands();
  void Enqueue(Added added);
  void StartCalls();
  void Begin(HttpClient::CallId id);
  void End(std::unordered_map<HttpClient::CallId, std::unique_ptr<CurlCall>>::iterator it,
           const std::function<void(CurlCall&)>& tell, bool keep_handle = false);
  void Drain(curl_socket_t fd, int events);
  void MarkDry(curl_socket_t fd);
  // check: those that were marked as well, if they wait for long.
  void DrainBuffered(bool check);
  void ResumeHeld();
  void TakeFinished();
  void EndOverdue();
  void Wake();
  CURL* NewEasy();

  Options options_;
  CurlSettings settings_;
  CurlProgress progress_;
  CURLM* multi_ = nullptr;
  int epoll_ = -1;
  int wake_ = -1;
  Time curl_deadline_ = kNever;
  Time next_check_;
  CallQueue turns_;
  std::unordered_map<HttpClient::CallId, std::unique_ptr<CurlCall>> calls_;
  std::unordered_map<curl_socket_t, std::uint32_t> watched_;  // epoll events
  std::vector<curl_socket_t> ready_;                          // had more when their turn ended
  std::vector<CURL*> idle_;

  std::mutex mutex_;  // guards the four below
  std::vector<Added> added_;
  std::vector<HttpClient::CallId> cancelled_;
  bool stopping_ = false;
  bool stopped_ = false;

  std::atomic<int> load_ = 0;
  std::thread thread_;
};

}  // namespace shoal::fetch
