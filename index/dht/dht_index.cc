#include "index/dht/dht_index.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "base/rng.h"
#include "index/dht/dht_session.h"
#include "index/dht_dials.h"
#include "index/keyfile/file_io.h"
#include "index/net/gate.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// A newcomer is known to all of a room of up to 120 within this, a quarter more, and a dial.
constexpr Duration kRoundMin = seconds(3);
// By which each peer that has answered prolongs a round: the eight that keep a room's key then
// answer 40 peers a second, however many there are.
constexpr Duration kRoundPerPeer = milliseconds(25);
// How often we look while we know nobody.
constexpr Duration kLonelyTick = milliseconds(250);
constexpr Duration kBootstrapEvery = seconds(1);
// A table that is smaller is offered more, every round; each answer names eight others.
constexpr int kTableEnough = 8;
constexpr std::size_t kAskedAtOnce = 16;  // of bootstrap and known peers
constexpr std::size_t kCandidatesMax = 256;
constexpr Duration kKeepEvery = seconds(30);
constexpr std::size_t kStateBytesMax = 1 << 20;  // 20 bytes for each of a few hundred nodes
// Keys move to new nodes only by being announced again.
constexpr Duration kAnnounceKeyEvery = minutes(2);
constexpr std::size_t kKeysMax = 1000;
constexpr std::size_t kResolvesMax = 256;
// More of those who answer a lookup together come within this.
constexpr Duration kRecordSettle = milliseconds(3);
constexpr int kWantedWeight = 4;  // a blob's peers are dialled before a room's

std::string ReadState(const std::string& path) {
  if (path.empty()) return "";
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return "";
  auto text = ReadAll(file.get(), path, kStateBytesMax);
  if (!text) spdlog::warn("DHT: its state was not read: {}", text.error().text);
  return text ? *text : "";
}

}  // namespace

struct DhtIndex::Face {
  Fetch fetch;
  OnRecord on_record;
  PeerIndexStatus status;
};

class DhtIndex::Impl : public std::enable_shared_from_this<DhtIndex::Impl> {
 public:
  Impl(Options options, IoThread& io, Executor& loop, std::weak_ptr<Face> face)
      : options_(std::move(options)),
        context_(io.context()),
        gate_(std::make_shared<Gate>(io)),
        loop_(loop),
        face_(std::move(face)),
        round_timer_(io.context()),
        dial_timer_(io.context()),
        rng_(RandomSeed()),
        dials_({}, options_.self, Rng(rng_.Next())) {}

  void Start() {
    listen_ = options_.listen();
    session_ = std::make_unique<DhtSession>(ReadState(options_.state_file), listen_,
                                            [gate = gate_, weak = weak_from_this()] {
                                              gate->Post([weak] {
                                                const auto self = weak.lock();
                                                if (self != nullptr && !self->stopped_)
                                                  self->OnNews();
                                              });
                                            });
    for (const auto& endpoint : options_.bootstrap) AddCandidate(endpoint);
    // libtorrent asks them too, once; they may be away just then.
    for (const auto& endpoint : session_->remembered()) AddCandidate(endpoint);
    Round();
  }

  void Stop() {
    stopped_ = true;
    gate_->Shut();
    round_timer_.cancel();
    dial_timer_.cancel();
    if (session_ != nullptr) Keep();
    resolves_.clear();
    session_.reset();
  }

  void OnSelf(const SignedRecord& self) {
    if (self.record().endpoints.empty()) return;
    const std::uint16_t port = self.record().endpoints.front().port;
    std::set<DhtKey> rooms;
    for (const auto& room : self.record().rooms) rooms.insert(DhtKeyOf(RoomKey(room)));
    // The same record is told with every change of the inventory.
    if (rooms == rooms_ && port == port_ && own_ == self.record().endpoints) return;
    rooms_ = std::move(rooms);
    port_ = port;
    own_ = self.record().endpoints;
    TellOwn();
    AnnounceRooms();
  }

  void OnKey(const Key& key) {
    if (keys_.size() >= kKeysMax || !keys_.try_emplace(DhtKeyOf(key), SteadyNow()).second) return;
    if (port_ != 0) session_->Announce(DhtKeyOf(key), port_);
  }

  void OnWithdraw(const Key& key) { keys_.erase(DhtKeyOf(key)); }

  void OnPeer(const std::vector<Endpoint>& endpoints) {
    for (const auto& endpoint : endpoints) {
      const Endpoint candidate{endpoint.host, options_.others_port};
      if (AddCandidate(candidate) && nodes_ < kTableEnough) session_->AddNode(candidate);
    }
  }

  void OnResolve(const Key& key, Duration timeout, OnResolved done) {
    if (stopped_ || nodes_ == 0 || resolves_.size() >= kResolvesMax) return Answer(done, {});
    const std::uint64_t id = ++last_resolve_;
    Resolving& resolving = resolves_.try_emplace(id).first->second;
    resolving.key = DhtKeyOf(key);
    resolving.done = std::move(done);
    resolving.timer = std::make_unique<boost::asio::steady_timer>(context_);
    FinishAfter(id, resolving, timeout);
    session_->Look(resolving.key);
  }

 private:
  struct Resolving {
    DhtKey key{};
    OnResolved done;
    std::unique_ptr<boost::asio::steady_timer> timer;
    std::set<Endpoint> named;
    std::map<PeerId, SignedRecord> records;
  };

  void Answer(const OnResolved& done, std::vector<SignedRecord> records) {
    loop_.Post([face = face_, done, records = std::move(records)]() mutable {
      if (face.lock() != nullptr) done(std::move(records));
    });
  }

  void FinishAfter(std::uint64_t id, Resolving& resolving, Duration wait) {
    resolving.timer->expires_after(wait);
    resolving.timer->async_wait(
        [self = shared_from_this(), id](const boost::system::error_code& error) {
          if (!error && !self->stopped_) self->Finish(id);
        });
  }

  void Finish(std::uint64_t id) {
    const auto node = resolves_.extract(id);
    if (node.empty()) return;
    std::vector<SignedRecord> records;
    for (auto& [peer, record] : node.mapped().records) records.push_back(std::move(record));
    Answer(node.mapped().done, std::move(records));
  }

  bool AddCandidate(const Endpoint& endpoint) {
    if (std::ranges::count(candidates_, endpoint) != 0) return false;
    if (candidates_.size() >= kCandidatesMax + options_.bootstrap.size()) {
      // Those of the configuration stand first, and stay.
      candidates_.erase(candidates_.begin() +
                        static_cast<std::ptrdiff_t>(options_.bootstrap.size()));
    }
    candidates_.push_back(endpoint);
    return true;
  }

  void AskCandidates() {
    std::deque<Endpoint> asked = candidates_;
    std::shuffle(asked.begin(), asked.end(), rng_);
    if (asked.size() > kAskedAtOnce) asked.resize(kAskedAtOnce);
    for (const auto& endpoint : asked) session_->AddNode(endpoint);
  }

  void TellOwn() {
    auto own = own_;
    // What a DHT tells of us: where our packets come from, and our port.
    for (const auto& endpoint : listening_) own.push_back({endpoint.host, port_});
    dials_.OnOwn(std::move(own));
  }

  void AnnounceRooms() {
    if (port_ == 0) return;
    for (const auto& room : rooms_) session_->Announce(room, port_);
  }

  void Round() {
    const Time now = SteadyNow();
    if (auto listen = options_.listen(); listen != listen_) {
      listen_ = std::move(listen);
      session_->Listen(listen_);
    }
    session_->Count();
    if (nodes_ < kTableEnough && now - last_asked_ >= kBootstrapEvery) {
      last_asked_ = now;
      AskCandidates();
    }
    if (nodes_ > 0) {
      AnnounceRooms();
      for (auto& [key, announced] : keys_) {
        if (port_ == 0 || now - announced < kAnnounceKeyEvery) continue;
        announced = now;
        session_->Announce(key, port_);
      }
      if (now - last_kept_ >= kKeepEvery) Keep();
    }
    Report();
    round_timer_.expires_after(nodes_ == 0 ? kLonelyTick : NextRound());
    round_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->stopped_) self->Round();
    });
  }

  Duration NextRound() {
    const Duration round =
        std::max(kRoundMin, kRoundPerPeer * static_cast<std::int64_t>(dials_.answered()));
    const auto quarter = static_cast<std::uint64_t>(round.count()) / 4;
    return round - Duration(quarter) +
           Duration(static_cast<std::int64_t>(rng_.Below(2 * quarter + 1)));
  }

  void Keep() {
    last_kept_ = SteadyNow();
    if (options_.state_file.empty() || nodes_ == 0) return;
    if (auto kept = WriteWhole(options_.state_file, session_->State(), IfThere::kReplace); !kept) {
      spdlog::warn("DHT: its state was not kept: {}", kept.error().text);
    }
  }

  void OnNews() {
    DhtNews news = session_->Poll();
    for (auto& found : news.found) OnFound(found);
    if (news.trouble && *news.trouble != trouble_) {
      trouble_ = *news.trouble;
      spdlog::warn("DHT: {}", trouble_);
    }
    if (!news.listening.empty()) {
      trouble_.clear();
      for (auto& endpoint : news.listening) listening_.insert(std::move(endpoint));
      TellOwn();
    }
    if (news.nodes) {
      const bool is_first = nodes_ == 0 && *news.nodes > 0;
      nodes_ = *news.nodes;
      if (is_first) {
        last_kept_ = Time{};
        Round();
      }
      Report();
    }
    Dial();
  }

  void OnFound(const DhtNews::Found& found) {
    const Time now = SteadyNow();
    std::vector<std::uint64_t> asking;
    for (const auto& [id, resolving] : resolves_) {
      if (resolving.key == found.key) asking.push_back(id);
    }
    // Others' keys come by here too, where we keep them.
    if (asking.empty() && !rooms_.contains(found.key)) return;
    for (const auto& endpoint : found.endpoints) {
      const SignedRecord* fresh = dials_.FreshAt(now, endpoint);
      for (const auto id : asking) {
        Resolving& resolving = resolves_.at(id);
        resolving.named.insert(endpoint);
        if (fresh != nullptr) Add(id, resolving, *fresh);
      }
      if (fresh == nullptr) dials_.OnNamed(now, endpoint, asking.empty() ? 1 : kWantedWeight);
    }
  }

  void Add(std::uint64_t id, Resolving& resolving, const SignedRecord& record) {
    const bool is_first = resolving.records.empty();
    resolving.records.insert_or_assign(record.id(), record);
    if (is_first) FinishAfter(id, resolving, kRecordSettle);
  }

  void Dial() {
    std::vector<Endpoint> dial;
    dials_.OnDeadline(SteadyNow(), dial);
    for (const auto& endpoint : dial) {
      ++dialled_;
      auto answered = [gate = gate_, weak = weak_from_this(),
                       endpoint](Result<SignedRecord> record) {
        gate->Post([weak, endpoint, record = std::move(record)] {
          const auto self = weak.lock();
          if (self != nullptr && !self->stopped_) self->OnAnswer(endpoint, record);
        });
      };
      loop_.Post([face = face_, endpoint, answered = std::move(answered)] {
        if (const auto live = face.lock()) live->fetch(endpoint, answered);
      });
    }
    const Time next = dials_.NextDeadline();
    if (next == kNever) return;
    dial_timer_.expires_at(ToSteady(next));
    dial_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->stopped_) self->Dial();
    });
  }

  void OnAnswer(const Endpoint& endpoint, const Result<SignedRecord>& record) {
    const Time now = SteadyNow();
    if (!record) {
      spdlog::debug("DHT: no record from {}: {}", ToString(endpoint), record.error().text);
      dials_.OnFailure(now, endpoint);
    } else {
      dials_.OnRecord(now, WallNow(), endpoint, *record);
      if (dials_.FreshAt(now, endpoint) != nullptr) {
        loop_.Post([face = face_, record = *record] {
          if (const auto live = face.lock()) live->on_record(record);
        });
        for (auto& [id, resolving] : resolves_) {
          if (resolving.named.contains(endpoint)) Add(id, resolving, *record);
        }
      }
    }
    Dial();
  }

  void Report() {
    std::string text = std::to_string(nodes_) + (nodes_ == 1 ? " node" : " nodes") +
                       " in the routing table, " + std::to_string(dials_.answered()) +
                       " endpoints have answered";
    if (nodes_ == 0) {
      text = candidates_.empty() ? "nobody to ask: name others in dht.bootstrap"
                                 : "nobody answers yet; asking again";
    }
    if (!trouble_.empty()) text = trouble_;
    loop_.Post([face = face_, text, nodes = nodes_, dialled = dialled_, ok = trouble_.empty()] {
      const auto live = face.lock();
      if (live == nullptr) return;
      live->status.ok = ok && nodes > 0;
      live->status.text = text;
      live->status.nodes = nodes;
      live->status.dials = dialled;
    });
  }

  Options options_;
  boost::asio::io_context& context_;
  std::shared_ptr<Gate> gate_;  // owners: we, and what libtorrent and others call
  Executor& loop_;
  std::weak_ptr<Face> face_;
  boost::asio::steady_timer round_timer_;
  boost::asio::steady_timer dial_timer_;
  Rng rng_;
  DhtDials dials_;
  std::unique_ptr<DhtSession> session_;
  std::vector<Endpoint> listen_;  // what we asked for
  std::set<Endpoint> listening_;  // what came of it
  std::vector<Endpoint> own_;     // of our record
  std::set<DhtKey> rooms_;
  std::map<DhtKey, Time> keys_;      // when they were announced
  std::deque<Endpoint> candidates_;  // for the routing table
  std::map<std::uint64_t, Resolving> resolves_;
  std::uint64_t last_resolve_ = 0;
  std::uint16_t port_ = 0;
  int nodes_ = 0;
  std::int64_t dialled_ = 0;
  Time last_asked_{};
  Time last_kept_{};
  std::string trouble_;
  bool stopped_ = false;
};

DhtIndex::DhtIndex(Options options, IoThread& io, Executor& loop, Fetch fetch, OnRecord on_record)
    : io_(io), face_(std::make_shared<Face>()) {
  face_->fetch = std::move(fetch);
  face_->on_record = std::move(on_record);
  face_->status = {"dht", options.target, false, "starting"};
  impl_ = std::make_shared<Impl>(std::move(options), io, loop, face_);
  io_.Post([impl = impl_] { impl->Start(); });
}

DhtIndex::~DhtIndex() {
  io_.Run([&] {
    impl_->Stop();
    impl_.reset();
  });
}

void DhtIndex::OnPeer(const SignedRecord& peer) {
  io_.Post([impl = impl_, endpoints = peer.record().endpoints] { impl->OnPeer(endpoints); });
}

void DhtIndex::Advertise(const SignedRecord& self, std::uint64_t, std::uint64_t) {
  io_.Post([impl = impl_, self] { impl->OnSelf(self); });
}

void DhtIndex::AdvertiseKey(const Key& key) {
  io_.Post([impl = impl_, key] { impl->OnKey(key); });
}

void DhtIndex::Withdraw(const Key& key) {
  io_.Post([impl = impl_, key] { impl->OnWithdraw(key); });
}

void DhtIndex::Resolve(const Key& key, Duration timeout, OnResolved done) {
  io_.Post([impl = impl_, key, timeout, done = std::move(done)]() mutable {
    impl->OnResolve(key, timeout, std::move(done));
  });
}

PeerIndexStatus DhtIndex::status() const { return face_->status; }

}  // namespace shoal::index
