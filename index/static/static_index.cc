#include "index/static/static_index.h"

namespace shoal::index {

class StaticIndex::Ticker : public std::enable_shared_from_this<StaticIndex::Ticker> {
 public:
  Ticker(IoThread& io, Executor& loop, Duration interval, std::weak_ptr<Face> face)
      : loop_(loop), timer_(io.context()), interval_(interval), face_(std::move(face)) {}

  void Tick() {
    loop_.Post([weak = face_] {
      const auto face = weak.lock();
      if (face == nullptr) return;
      const auto now = WallNow();
      // A copy: the callback may call Learnt.
      const auto until = face->until;
      for (const auto& [endpoint, fresh_until] : until) {
        if (fresh_until <= now) face->on_endpoint(endpoint);
      }
    });
    timer_.expires_after(interval_);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->stopped_) self->Tick();
    });
  }

  void Stop() {
    stopped_ = true;
    timer_.cancel();
  }

 private:
  Executor& loop_;
  boost::asio::steady_timer timer_;
  Duration interval_;
  std::weak_ptr<Face> face_;
  bool stopped_ = false;
};

StaticIndex::StaticIndex(Options options, IoThread& io, Executor& loop, OnEndpoint on_endpoint)
    : io_(io), loop_(loop), face_(std::make_shared<Face>()) {
  face_->on_endpoint = std::move(on_endpoint);
  for (const auto& endpoint : options.endpoints) {
    if (face_->until.size() == kStaticEndpointsMax) break;
    face_->until[endpoint] = WallTime{};
  }
  ticker_ = std::make_shared<Ticker>(io, loop, options.sync_interval, face_);
  io_.Post([ticker = ticker_] { ticker->Tick(); });
}

StaticIndex::~StaticIndex() {
  io_.Run([&] {
    ticker_->Stop();
    ticker_.reset();
  });
}

void StaticIndex::Learnt(const Endpoint& endpoint, const SignedRecord& record) {
  const auto it = face_->until.find(endpoint);
  if (it == face_->until.end()) return;
  const auto now = WallNow();
  it->second = now + (record.record().expires - now) / 2;
}

void StaticIndex::Advertise(const SignedRecord&, std::uint64_t, std::uint64_t) {}
void StaticIndex::AdvertiseKey(const Key&) {}
void StaticIndex::Withdraw(const Key&) {}

void StaticIndex::Resolve(const Key&, Duration, OnResolved done) {
  loop_.Post([done = std::move(done)] { done({}); });
}

PeerIndexStatus StaticIndex::status() const {
  PeerIndexStatus status{"static", "", true, ""};
  const auto now = WallNow();
  std::size_t known = 0;
  for (const auto& [endpoint, fresh_until] : face_->until) {
    if (!status.target.empty()) status.target += ", ";
    status.target += ToString(endpoint);
    if (fresh_until > now) ++known;
  }
  status.ok = known > 0 || face_->until.empty();
  status.text = std::to_string(known) + " of " + std::to_string(face_->until.size()) +
                " endpoints have answered";
  return status;
}

}  // namespace shoal::index
