#include "fetch/transport/data_loop.h"

#include <pthread.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <csignal>

#include "fetch/transport/http_head.h"
#include "fetch/transport/http_session.h"

namespace shoal::fetch {
namespace {

// What TLS bodies are read into before they are sealed: four records a send, and small enough to
// stay in the core's cache.
constexpr std::size_t kScratchBytes = 64 << 10;

}  // namespace

void SessionCount::Add(bool refused) {
  const std::lock_guard lock(mutex_);
  ++(refused ? refused_ : served_);
}

void SessionCount::Remove(bool refused) {
  const std::lock_guard lock(mutex_);
  --(refused ? refused_ : served_);
  if (served_ + refused_ == 0) none_.notify_all();
}

int SessionCount::served() const {
  const std::lock_guard lock(mutex_);
  return served_;
}

int SessionCount::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

bool SessionCount::WaitForNone(Duration limit) const {
  std::unique_lock lock(mutex_);
  return none_.wait_for(lock, limit, [this] { return served_ + refused_ == 0; });
}

DataLoop::DataLoop(std::shared_ptr<ServerShared> shared)
    : shared_(std::move(shared)), work_(context_.get_executor()) {
  mailbox_ = std::make_shared<Mailbox>(
      [this](std::function<void()> work) { boost::asio::post(context_, std::move(work)); });
  if (shared_->tls) scratch_.resize(kScratchBytes);
  thread_ = std::thread([this] { Run(); });
}

DataLoop::~DataLoop() { Join(); }

void DataLoop::Run() {
  // sendfile(2) has no MSG_NOSIGNAL; blocked here, SIGPIPE stays with this thread and does nothing.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  context_.run();
}

void DataLoop::Adopt(int fd, std::string remote, bool refused) {
  load_.fetch_add(1, std::memory_order_relaxed);
  shared_->sessions.Add(refused);
  boost::asio::post(context_, [this, fd, remote = std::move(remote), refused]() mutable {
    Start(fd, std::move(remote), refused);
  });
}

void DataLoop::Start(int fd, std::string remote, bool refused) {
  auto session = std::make_shared<HttpSession>(*this, fd, std::move(remote), refused);
  sessions_.insert(session.get());
  session->Start();
  if (ending_) session->FinishSoon();
  if (cutting_) session->Cut();
}

void DataLoop::Remove(HttpSession* session, bool refused) {
  if (sessions_.erase(session) == 0) return;
  load_.fetch_sub(1, std::memory_order_relaxed);
  shared_->sessions.Remove(refused);
}

void DataLoop::EndSessions(bool cut) {
  boost::asio::post(context_, [this, cut] {
    ending_ = true;
    cutting_ = cutting_ || cut;
    // Ending a session only cancels waits: none is removed in here.
    for (HttpSession* session : sessions_) {
      session->FinishSoon();
      if (cut) session->Cut();
    }
  });
}

void DataLoop::Join() {
  mailbox_->Close();
  work_.reset();
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

const std::string& DataLoop::date() {
  const std::time_t now = std::time(nullptr);
  if (now != date_of_) {
    date_of_ = now;
    date_ = HttpDate(now);
  }
  return date_;
}

}  // namespace shoal::fetch
