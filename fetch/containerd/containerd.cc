#include "fetch/containerd/containerd.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "fetch/containerd/calls.h"
#include "fetch/containerd/events.h"
#include "fetch/containerd/ingest.h"
#include "fetch/containerd/session.h"

namespace shoal::fetch {

namespace {

using Clock = std::chrono::steady_clock;

constexpr Duration kRetryFirst = std::chrono::milliseconds(100);
// 1.6 collects garbage after it told of an image's end, and says nothing about it: look again.
constexpr Duration kSecondLook = std::chrono::seconds(2);
// And nothing at all about content that comes or goes without an image: look now and then.
constexpr Duration kRelist = std::chrono::seconds(60);

// Tells one inventory from another, without keeping a copy.
std::size_t FingerprintOf(const ContainerdInventory& inventory) {
  std::size_t hash = inventory.blobs.size();
  const auto mix = [&hash](std::size_t value) {
    hash ^= value + 0x9e3779b97f4a7c15U + (hash << 6) + (hash >> 2);  // boost::hash_combine
  };
  for (const ContainerdBlob& blob : inventory.blobs) mix(std::hash<Digest>()(blob.digest));
  for (const ContainerdImage& image : inventory.images) {
    mix(std::hash<std::string>()(image.name));
    mix(std::hash<Digest>()(image.digest));
  }
  return hash;
}

}  // namespace

// One thread dials, lists and listens; Ingest runs on its callers' threads.
class Containerd::Impl {
 public:
  Impl(Options options, Executor& loop, OnInventory on_inventory)
      : options_(std::move(options)),
        loop_(loop),
        on_inventory_(std::make_shared<OnInventory>(std::move(on_inventory))),
        thread_([this] { Run(); }) {}
  ~Impl() { Stop(); }

  ContainerdStatus status() const {
    const std::lock_guard lock(mutex_);
    return status_;
  }

  Result<std::shared_ptr<Session>> CurrentSession() const {
    const std::lock_guard lock(mutex_);
    if (session_) return session_;
    return Error{Code::kRetryLater, "containerd is away: " + status_.text};
  }

  void Stop() {
    stopped_->store(true);
    calls_.Cancel();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run() {
    Duration wait = kRetryFirst;
    do {
      const Error end = Attend(wait);
      const std::lock_guard lock(mutex_);
      if (session_ && !stopped_->load()) spdlog::warn("{}; dialling again", end.text);
      session_.reset();
      status_.connected = false;
      status_.text = end.text;
    } while (calls_.Wait(std::exchange(wait, std::min(wait * 2, options_.retry_max))));
  }

  // Dials, and stays until containerd goes away. Returns why; resets `wait` when it was there.
  Error Attend(Duration& wait) {
    auto dialled = Session::Dial(options_.socket, options_.name_space, calls_);
    if (!dialled) return dialled.error();
    const std::shared_ptr<Session> session = *dialled;
    spdlog::info("containerd {} at {}: content in {}", session->version(), options_.socket,
                 session->content_root());
    wait = std::min(kRetryFirst, options_.retry_max);
    {
      const std::lock_guard lock(mutex_);
      session_ = session;
      status_ = {true, session->version(), session->content_root(), ""};
    }
    return Watch(*session);
  }

  // Lists, then again whenever something changed. Subscribes first, so that nothing is missed but
  // what happens while containerd has both questions; kRelist heals that.
  Error Watch(Session& session) {
    EventStream events(session);
    bool must_tell = true;
    bool changed = false;
    std::size_t told = 0;
    Clock::time_point list_at = Clock::now();
    for (;;) {
      const auto wait = std::chrono::duration_cast<Duration>(list_at - Clock::now());
      switch (events.Next(wait)) {
        case EventStream::Heard::kEnd:
          return ToError(events.status(), "it went away");
        case EventStream::Heard::kChange:
          // The first change of a burst sets the time, so that a stream of them delays nothing.
          if (!changed) list_at = Clock::now() + options_.settle;
          changed = true;
          must_tell = true;
          break;
        case EventStream::Heard::kNothing: {
          Result<ContainerdInventory> inventory = session.List();
          if (!inventory) return inventory.error();
          const std::size_t fingerprint = FingerprintOf(*inventory);
          if (must_tell || fingerprint != told) Tell(std::move(*inventory));
          told = fingerprint;
          list_at = Clock::now() + (changed ? kSecondLook : kRelist);
          changed = false;
          must_tell = false;
          break;
        }
      }
    }
  }

  void Tell(ContainerdInventory inventory) {
    // Not `this`: what is posted may run after we are gone.
    loop_.Post([stopped = stopped_, told = on_inventory_,
                shared = std::make_shared<ContainerdInventory>(std::move(inventory))] {
      if (!stopped->load()) (*told)(std::move(*shared));
    });
  }

  const Options options_;
  Executor& loop_;
  const std::shared_ptr<const OnInventory> on_inventory_;  // owners: we and what we posted
  // Owners: as above.
  const std::shared_ptr<std::atomic<bool>> stopped_ = std::make_shared<std::atomic<bool>>(false);
  mutable std::mutex mutex_;
  ContainerdStatus status_;           // guarded by mutex_
  std::shared_ptr<Session> session_;  // guarded by mutex_; owners: we and running Ingests
  Calls calls_;                       // outlives the sessions of the thread and of Ingest
  std::thread thread_;
};

Containerd::Containerd(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Containerd::~Containerd() = default;

std::unique_ptr<Containerd> Containerd::Start(Options options, Executor& loop,
                                              OnInventory on_inventory) {
  auto impl = std::make_unique<Impl>(std::move(options), loop, std::move(on_inventory));
  return std::unique_ptr<Containerd>(new Containerd(std::move(impl)));
}

ContainerdStatus Containerd::status() const { return impl_->status(); }

Result<SharedFile> Containerd::OpenBlob(const Digest& digest) const {
  const std::string root = impl_->status().content_root;
  if (root.empty()) {
    return Error{Code::kRetryLater, "where containerd keeps its content is not known yet"};
  }
  return OpenForRead(root + "/blobs/sha256/" + digest.Hex());
}

Status Containerd::Ingest(const IngestImage& image) {
  auto session = impl_->CurrentSession();
  if (!session) return session.error().In(image.name);
  return IngestInto(**session, image);
}

void Containerd::Stop() { impl_->Stop(); }

}  // namespace shoal::fetch
