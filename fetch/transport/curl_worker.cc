#include "fetch/transport/curl_worker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace shoal::fetch {
namespace {

// How often stalls are looked for: a fifth of the shortest one that is usual (fetch.stall).
constexpr Duration kCheckInterval = std::chrono::milliseconds(100);
// Of one socket before the others have their turn. A read takes up to 16 KiB under TLS, but 256 KiB
// without, and a slow disk makes each long.
constexpr int kTurnReadsMax = 64;
constexpr std::uint64_t kTurnBytesMax = 1 << 20;
// Handles kept with their read buffers for the next calls. One whose call failed is not: libcurl
// 7.88 leaves some of them in a state in which they refuse CURLOPT_BUFFERSIZE.
constexpr std::size_t kIdleHandlesMax = 4;

Time Now() {
  return Time(
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

}  // namespace

CurlWorker::CurlWorker(Options options)
    : options_(std::move(options)), turns_(options_.connections_max) {
  settings_.identity = options_.identity;
  settings_.user_agent = options_.user_agent;
  settings_.rate = options_.rate;
}

Result<std::unique_ptr<CurlWorker>> CurlWorker::Start(const Options& options) {
  std::unique_ptr<CurlWorker> worker(new CurlWorker(options));
  if (auto status = worker->Open(); !status) return status.error();
  worker->thread_ = std::thread([self = worker.get()] { self->Run(); });
  return worker;
}

Status CurlWorker::Open() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake_}};
  if (epoll_ < 0 || wake_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) {
    return Error{Code::kExhausted,
                 "cannot make an epoll descriptor; raise the process's limit of open files"};
  }
  multi_ = curl_multi_init();
  settings_.share = curl_share_init();
  SHOAL_CHECK(multi_ != nullptr && settings_.share != nullptr);
  curl_share_setopt(settings_.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &CurlWorker::OnSocket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, static_cast<void*>(this));
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &CurlWorker::OnTimer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, static_cast<void*>(this));
  // How many are open at once is bounded by turns_; this is how many are kept.
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.connections_max));
  return Ok();
}

void CurlWorker::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  if (!thread_.joinable()) return;
  Wake();
  thread_.join();
}

CurlWorker::~CurlWorker() {
  Stop();
  for (CURL* easy : idle_) curl_easy_cleanup(easy);
  if (multi_ != nullptr) curl_multi_cleanup(multi_);
  if (settings_.share != nullptr) curl_share_cleanup(settings_.share);
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

void CurlWorker::Add(HttpClient::CallId id, HttpCall call, std::shared_ptr<HttpSink> sink) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      if (!call.small) load_.fetch_add(1, std::memory_order_relaxed);
      added_.push_back({id, std::move(call), std::move(sink)});
      sink = nullptr;
    }
  }
  if (sink != nullptr) return sink->OnDone(Error{Code::kCancelled, "the HTTP client has stopped"});
  Wake();
}

void CurlWorker::Cancel(HttpClient::CallId id) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    cancelled_.push_back(id);
  }
  Wake();
}

void CurlWorker::Wake() {
  const std::uint64_t one = 1;
  // EAGAIN means that it is awake already.
  [[maybe_unused]] const auto written = write(wake_, &one, sizeof one);
}

int CurlWorker::OnSocket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  auto& worker = *static_cast<CurlWorker*>(self);
  epoll_event event{.events = 0, .data = {.fd = fd}};
  if (what == CURL_POLL_REMOVE) {
    worker.Forget(fd);
    return 0;
  }
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  worker.watched_[fd] = event.events;
  // Whether the kernel still knows the descriptor depends on who closed it when: ask both ways.
  if (epoll_ctl(worker.epoll_, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT) {
    epoll_ctl(worker.epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  return 0;
}

// libcurl 7.88 closes a socket that never connected before it tells that it is done with it; the
// number may be another thread's by then. It is not in our epoll, so nothing is taken away.
void CurlWorker::Forget(curl_socket_t fd) {
  watched_.erase(fd);
  epoll_event unused{};
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &unused);
}

int CurlWorker::OnTimer(CURLM*, long timeout_ms, void* self) {
  auto& worker = *static_cast<CurlWorker*>(self);
  worker.curl_deadline_ = timeout_ms < 0 ? kNever : Now() + std::chrono::milliseconds(timeout_ms);
  return 0;
}

void CurlWorker::Run() {
  for (;;) {
    Round();
    const std::lock_guard lock(mutex_);
    if (stopping_) break;
  }
  // A sink may start another call from its OnDone: go on until nothing comes any more.
  for (;;) {
    std::vector<Added> left;
    {
      const std::lock_guard lock(mutex_);
      left.swap(added_);
      stopped_ = calls_.empty() && left.empty();
      if (stopped_) return;
    }
    const Error stopped{Code::kCancelled, "the HTTP client stops"};
    for (auto& added : left) added.sink->OnDone(stopped);
    while (!calls_.empty()) {
      End(calls_.begin(), [&](CurlCall& call) { call.Fail(stopped); });
    }
  }
}

void CurlWorker::Round() {
  Wait();
  TakeCommands();
  ResumeHeld();
  StartCalls();
  const bool check = progress_.now >= next_check_;
  // At each check too: a timer that fired a hair early is not set again by libcurl.
  if (check || progress_.now >= curl_deadline_) {
    if (progress_.now >= curl_deadline_) curl_deadline_ = kNever;  // libcurl sets the next one
    int running = 0;
    curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  }
  DrainBuffered(check);
  TakeFinished();
  if (check) {
    next_check_ = progress_.now + kCheckInterval;
    EndOverdue();
  }
  StartCalls();
}

void CurlWorker::Wait() {
  int timeout_ms = -1;
  if (!ready_.empty()) {
    timeout_ms = 0;
  } else if (!calls_.empty() || curl_deadline_ != kNever) {
    Time until = calls_.empty() ? curl_deadline_ : std::min(curl_deadline_, next_check_);
    for (const auto& [at, id] : progress_.held) until = std::min(until, at);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Now()).count();
    timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  }
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(epoll_, events.data(), events.size(), timeout_ms);
  progress_.now = Now();
  auto ready = std::exchange(ready_, {});
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    const std::uint32_t what = events[static_cast<std::size_t>(i)].events;
    if (fd == wake_) {
      std::uint64_t ignored = 0;
      [[maybe_unused]] const auto got = read(wake_, &ignored, sizeof ignored);
      continue;
    }
    std::erase(ready, fd);
    int bits = 0;
    // An error is read off the socket, which tells more than CURL_CSELECT_ERR would.
    if ((what & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) bits |= CURL_CSELECT_IN;
    if ((what & EPOLLOUT) != 0) bits |= CURL_CSELECT_OUT;
    Drain(fd, bits);
  }
  for (const auto fd : ready) Drain(fd, CURL_CSELECT_IN);
}

// libcurl reads a socket once (a TLS record, at most 16 KiB) each time it is told of it. Telling it
// again until nothing comes spares an epoll_wait per record, and empties OpenSSL's buffer.
void CurlWorker::Drain(curl_socket_t fd, int events) {
  int running = 0;
  const std::uint64_t start = progress_.seen;
  for (int i = 0; i < kTurnReadsMax && progress_.seen - start < kTurnBytesMax; ++i) {
    if (!watched_.contains(fd)) return;
    const std::uint64_t before = progress_.seen;
    progress_.reading = fd;
    curl_multi_socket_action(multi_, fd, events, &running);
    progress_.reading = CURL_SOCKET_BAD;
    if (progress_.seen == before) return MarkDry(fd);
    events = CURL_CSELECT_IN;
  }
  ready_.push_back(fd);
}

void CurlWorker::MarkDry(curl_socket_t fd) {
  for (const auto& [id, call] : calls_) {
    if (call->socket() == fd && call->HasBuffered()) call->MarkDry();
  }
}

// What a timer, or another socket's turn, left in OpenSSL's buffers: nothing else would wake us.
// Which socket is not known, so all have a turn; that is one read each. Drain leaves only records
// that are not whole, and marks them, so that there is nothing of the kind in most rounds.
void CurlWorker::DrainBuffered(bool check) {
  std::vector<std::pair<CurlCall*, std::uint64_t>> buffered;
  bool any_long = false;
  for (const auto& [id, call] : calls_) {
    any_long |= check && call->HasBufferedLong();
    if (call->HasBuffered()) buffered.emplace_back(call.get(), call->taken());
  }
  if (buffered.empty() && !any_long) return;
  std::vector<curl_socket_t> sockets;
  for (const auto& [fd, events] : watched_) sockets.push_back(fd);
  int running = 0;
  for (const auto fd : sockets) {
    const std::uint64_t before_this = progress_.seen;
    if (!watched_.contains(fd)) continue;
    curl_multi_socket_action(multi_, fd, CURL_CSELECT_IN, &running);
    if (progress_.seen != before_this) ready_.push_back(fd);
  }
  for (const auto& [call, taken] : buffered) {
    if (call->taken() == taken) call->MarkDry();
  }
}

void CurlWorker::ResumeHeld() {
  if (progress_.held.empty()) return;
  std::vector<HttpClient::CallId> due;
  std::erase_if(progress_.held, [&](const auto& held) {
    if (held.first > progress_.now) return false;
    due.push_back(held.second);
    return true;
  });
  for (const auto id : due) {
    if (const auto it = calls_.find(id); it != calls_.end()) it->second->Resume();
  }
}

void CurlWorker::TakeCommands() {
  std::vector<Added> added;
  std::vector<HttpClient::CallId> cancelled;
  {
    const std::lock_guard lock(mutex_);
    added.swap(added_);
    cancelled.swap(cancelled_);
  }
  for (auto& one : added) Enqueue(std::move(one));
  for (const auto id : cancelled) {
    if (const auto it = calls_.find(id); it != calls_.end()) {
      if (it->second->Leave()) continue;
      End(it, [](CurlCall& call) { call.Fail(Error{Code::kCancelled, "the call was cancelled"}); });
    }
  }
}

void CurlWorker::Enqueue(Added added) {
  auto call = std::make_unique<CurlCall>(added.id, std::move(added.call), added.sink, progress_);
  const auto it = calls_.emplace(added.id, std::move(call)).first;
  const bool small = it->second->small();
  const int most =
      it->second->to_peer()
          ? (small ? options_.small_calls_per_peer_max : options_.connections_per_peer_max)
          : (small ? options_.small_calls_per_host_max : options_.connections_per_host_max);
  if (!turns_.Add(added.id, it->second->Lane(), most)) {
    End(it, [](CurlCall& failed) {
      failed.Fail(Error{Code::kRetryLater, "too many calls wait for a connection"});
    });
  }
}

// Those whose turn it is. A sink that hears of its call's end may have called meanwhile.
void CurlWorker::StartCalls() {
  for (const auto id : std::exchange(progress_.turned, {})) turns_.DialEnds(id);
  while (const auto id = turns_.Next()) Begin(*id);
}

void CurlWorker::Begin(HttpClient::CallId id) {
  const auto it = calls_.find(id);
  SHOAL_CHECK(it != calls_.end());
  if (auto status = it->second->Prepare(NewEasy(), settings_); !status) {
    return End(it, [&](CurlCall& failed) { failed.Fail(status.error()); });
  }
  if (curl_multi_add_handle(multi_, it->second->easy()) != CURLM_OK) {
    return End(it, [](CurlCall& failed) {
      failed.Fail(Error{Code::kExhausted, "libcurl takes no further call"});
    });
  }
  if (!it->second->turn_told()) turns_.Dials(id);
}

void CurlWorker::End(std::unordered_map<HttpClient::CallId, std::unique_ptr<CurlCall>>::iterator it,
                     const std::function<void(CurlCall&)>& tell, bool keep_handle) {
  const auto call = std::move(it->second);
  calls_.erase(it);
  turns_.Remove(call->id());
  if (call->easy() != nullptr) curl_multi_remove_handle(multi_, call->easy());
  if (!call->small()) load_.fetch_sub(1, std::memory_order_relaxed);
  tell(*call);
  if (call->easy() == nullptr) return;
  if (keep_handle && idle_.size() < kIdleHandlesMax) {
    curl_easy_reset(call->easy());
    idle_.push_back(call->easy());
  } else {
    curl_easy_cleanup(call->easy());
  }
}

void CurlWorker::TakeFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    CurlCall* call = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
    const auto it = calls_.find(call->id());
    SHOAL_CHECK(it != calls_.end());
    End(
        it, [code](CurlCall& done) { done.Finish(code); }, code == CURLE_OK);
  }
}

void CurlWorker::EndOverdue() {
  std::vector<std::pair<HttpClient::CallId, Error>> overdue;
  for (const auto& [id, call] : calls_) {
    call->TellTurn(progress_.now);
    if (auto why = call->Overdue(progress_.now)) overdue.emplace_back(id, std::move(*why));
  }
  for (const auto& [id, why] : overdue) {
    End(calls_.find(id), [&why = why](CurlCall& call) { call.Fail(why); });
  }
}

CURL* CurlWorker::NewEasy() {
  if (idle_.empty()) {
    CURL* easy = curl_easy_init();
    SHOAL_CHECK(easy != nullptr);
    return easy;
  }
  CURL* easy = idle_.back();
  idle_.pop_back();
  return easy;
}

}  // namespace shoal::fetch
