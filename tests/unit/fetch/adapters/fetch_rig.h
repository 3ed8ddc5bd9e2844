// What the tests of Fetcher and its parts share: whole hosts on loopback, a scripted upstream,
// liars, readers, and blobs.
#pragma once

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fetch/store/blob_store.h"
#include "fetch/store/work_pool.h"
#include "fetch/transport/fetcher.h"
#include "fetch/transport/http_server.h"
#include "fetch/transport/map_codec.h"
#include "fetch/transport/peer_server.h"
#include "index/lmdb/env.h"
#include "tests/unit/fetch/adapters/http_probe.h"
#include "tests/unit/fetch/adapters/test_identity.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::fetch {

inline constexpr Bytes kTestPiece{16 << 10};
inline const UpstreamRef kTestUpstream{"reg.test", "app/web", false};

inline Digest Sha256Of(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.bytes.data()));
  return digest;
}

inline Bytes SizeOf(std::string_view text) { return Bytes(static_cast<std::int64_t>(text.size())); }

// The chain of `text`, cut in test pieces.
inline Chain TestChain(std::string_view text) {
  const Geometry geometry = Geometry::Make(SizeOf(text), kTestPiece).value();
  Chain chain(geometry);
  ChainHasher hasher;
  for (PieceIndex i{0}; i < geometry.last(); ++i) {
    hasher.Update(AsBytes(text.substr(static_cast<std::size_t>(geometry.OffsetOf(i).count()),
                                      static_cast<std::size_t>(kTestPiece.count()))));
    chain.Set(i + 1, hasher.State());
  }
  return chain;
}

inline std::string ReadAll(const SharedFile& file) {
  std::string text(static_cast<std::size_t>(file->Size().value().count()), '\0');
  EXPECT_TRUE(
      file->ReadAt(Bytes(0), std::as_writable_bytes(std::span(text.data(), text.size()))).ok());
  return text;
}

// A store with its folder and metadata.
class TestStore {
 public:
  explicit TestStore(const std::string& folder, Bytes max = Bytes(1 << 30)) : folder_(folder) {
    std::filesystem::create_directories(folder + "/db");
    env_ = index::LmdbEnv::Open(folder + "/db", Bytes(64 << 20)).value();
    BlobStore::Options options;
    options.dir = folder + "/store";
    options.max = max;
    store_ = BlobStore::Open(std::move(options), *env_).value();
  }
  [[nodiscard]] BlobStore& operator*() { return *store_; }
  [[nodiscard]] BlobStore* operator->() { return store_.get(); }
  [[nodiscard]] std::string PathOf(const Digest& digest) const {
    return folder_ + "/store/blobs/sha256/" + digest.Hex();
  }

 private:
  std::string folder_;
  std::unique_ptr<index::LmdbEnv> env_;
  std::unique_ptr<BlobStore> store_;
};

// Sends blobs as it is told to, from threads of its own.
class ScriptedUpstream final : public UpstreamPort {
 public:
  struct Asked {
    Digest digest;
    Bytes offset;
    Bytes end;  // -1: all of it
  };

  ~ScriptedUpstream() override {
    Release();
    pool_.reset();
  }

  void Give(const std::string& text) {
    const std::lock_guard lock(mutex_);
    blobs_[Sha256Of(text)] = text;
  }
  // Gives `text` under a name that is not its own.
  void GiveAs(const Digest& digest, const std::string& text) {
    const std::lock_guard lock(mutex_);
    blobs_[digest] = text;
  }
  void FailWith(Error error) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(error);
  }
  // No byte at or beyond `offset` is sent before Release.
  void HoldAt(Bytes offset) {
    const std::lock_guard lock(mutex_);
    hold_ = offset;
    changed_.notify_all();
  }
  void Release() {
    const std::lock_guard lock(mutex_);
    hold_.reset();
    changed_.notify_all();
  }
  [[nodiscard]] std::vector<Asked> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  // Waits until the upstream was asked `count` times.
  [[nodiscard]] bool WaitForCalls(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestPatience, [&] { return asked_.size() >= count; });
  }

  // Waits until bytes up to `offset` have been sent to somebody.
  [[nodiscard]] bool WaitSentTo(Bytes offset) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestPatience, [&] { return sent_to_ >= offset; });
  }
  // Waits until sinks whose calls were cancelled have heard the last of it.
  void WaitForCancelled() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return std::ranges::all_of(sending_, [&](CallId id) { return running_.at(id); });
    });
  }

  CallId Fetch(const UpstreamRef& /*ref*/, const Digest& digest, Bytes offset, Bytes end,
               std::shared_ptr<ByteSink> sink) override {
    const std::lock_guard lock(mutex_);
    const CallId id = ++next_;
    running_[id] = true;
    sending_.insert(id);
    asked_.push_back({digest, offset, end});
    changed_.notify_all();
    pool_->Post([this, id, digest, offset, end, sink = std::move(sink)]() mutable {
      sink->OnTurn();
      Status status = Send(id, digest, offset, end, *sink);
      if (Runs(id)) sink->OnDone(std::move(status));
      sink.reset();
      const std::lock_guard again(mutex_);
      sending_.erase(id);
      changed_.notify_all();
    });
    return id;
  }
  void Cancel(CallId call) override {
    const std::lock_guard lock(mutex_);
    running_[call] = false;
    changed_.notify_all();
  }

 private:
  static constexpr std::size_t kChunk = 5000;  // so that no piece ends with one

  bool Runs(CallId id) {
    const std::lock_guard lock(mutex_);
    return running_.at(id);
  }

  Status Send(CallId id, const Digest& digest, Bytes offset, Bytes end, ByteSink& sink) {
    std::string text;
    {
      const std::lock_guard lock(mutex_);
      if (failure_) return *failure_;
      const auto it = blobs_.find(digest);
      if (it == blobs_.end()) return Error{Code::kNotFound, "the upstream does not have it"};
      if (!running_.at(id)) return Ok();
      text = it->second;
    }
    if (!sink.OnStart(SizeOf(text), offset)) return Error{Code::kCancelled, "stopped"};
    auto at = static_cast<std::size_t>(offset.count());
    const std::size_t stop = end < Bytes(0) ? text.size() : static_cast<std::size_t>(end.count());
    while (at < stop) {
      std::size_t count = std::min(kChunk, stop - at);
      {
        std::unique_lock lock(mutex_);
        const auto held = [&] { return hold_ && at >= static_cast<std::size_t>(hold_->count()); };
        changed_.wait(lock, [&] { return !running_.at(id) || !held(); });
        if (!running_.at(id)) return Ok();
        if (hold_) count = std::min(count, static_cast<std::size_t>(hold_->count()) - at);
      }
      if (!sink.OnBytes(AsBytes(std::string_view(text).substr(at, count)))) {
        return Error{Code::kCancelled, "stopped"};
      }
      at += count;
      const std::lock_guard lock(mutex_);
      sent_to_ = std::max(sent_to_, Bytes(static_cast<std::int64_t>(at)));
      changed_.notify_all();
    }
    return Ok();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Digest, std::string> blobs_;
  std::optional<Error> failure_;
  std::optional<Bytes> hold_;
  Bytes sent_to_;
  std::map<CallId, bool> running_;  // false: cancelled
  std::set<CallId> sending_;
  std::vector<Asked> asked_;
  CallId next_ = 0;
  std::unique_ptr<WorkPool> pool_ = std::make_unique<WorkPool>(4);
};

// Who can be dialled where, and who holds what: what index/ would know.
class TestNetwork {
 public:
  void Join(const PeerId& peer, const index::Endpoint& endpoint) {
    const std::lock_guard lock(mutex_);
    endpoints_[peer] = endpoint;
  }
  void Holds(const PeerId& peer, const Digest& digest) {
    const std::lock_guard lock(mutex_);
    holders_[digest].push_back(peer);
  }
  [[nodiscard]] std::optional<index::Endpoint> Dial(const PeerId& peer) const {
    const std::lock_guard lock(mutex_);
    const auto it = endpoints_.find(peer);
    if (it == endpoints_.end()) return std::nullopt;
    return it->second;
  }
  [[nodiscard]] std::vector<PeerId> HoldersOf(const Digest& digest) const {
    const std::lock_guard lock(mutex_);
    const auto it = holders_.find(digest);
    return it == holders_.end() ? std::vector<PeerId>() : it->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<PeerId, index::Endpoint> endpoints_;
  std::map<Digest, std::vector<PeerId>> holders_;
};

// A host: store, fetcher and peer server, wired as the agent does it.
class TestHost {
 public:
  TestHost(int seed, const std::string& folder, TestNetwork& network, ScriptedUpstream& upstream,
           StreamMode mode = StreamMode::kVerified, Bytes store_max = Bytes(1 << 30),
           Bytes piece = kTestPiece, test::TestLoop::Clock clock = test::TestLoop::Clock::kReal)
      : network_(network),
        upstream_(upstream),
        key_(TestKey(seed)),
        loop_(clock),
        pool_(std::make_unique<WorkPool>(2)),
        store_(folder, store_max) {
    HttpClient::Options options;
    options.identity = TlsIdentity::Make(key_).value();
    client_ = HttpClient::Start(std::move(options)).value();
    locals_ = std::make_unique<LocalBlobs>(
        *store_, *pool_, piece,
        LocalBlobs::Ports{nullptr, [this](const Digest& digest) { corrupt_.Put(digest); }});
    TransferPorts ports{loop_,
                        *pool_,
                        *store_,
                        *client_,
                        upstream,
                        counters_,
                        mode,
                        [this](const PeerId& peer, const Digest&) { return Dial(peer); },
                        [](const PeerId&) {},
                        [this](const Digest& digest, auto some, auto done) {
                          some(Others(digest));
                          done();
                        },
                        [this](const PeerId& peer, Duration, const std::string& reason) {
                          banned_.Put({peer, reason});
                        }};
    DownloadLimits limits;
    limits.piece = piece;
    Fetcher::Hooks hooks;
    hooks.on_holding = [this](const Digest& digest, Bytes, bool complete) {
      if (complete) whole_.Put(digest);
    };
    hooks.on_transfer_ended = [this](const TransferView& view, const Status& status) {
      ended_.Put({view, status});
    };
    fetcher_ = std::make_unique<Fetcher>(
        std::move(ports), limits, *locals_, [this](const Digest& digest) { return Others(digest); },
        Rng(7), std::move(hooks));
    handler_ = std::make_shared<PeerServer>(
        PeerServerPorts{
            loop_, *pool_, *fetcher_, counters_, [] { return std::string("{}"); },
            [](const PeerId&, bool) { return std::vector<index::PeerName>(); },
            [](const PeerId&, const std::vector<index::PeerName>&) {
              return std::vector<std::string>();
            },
            [](const PeerId&, std::uint64_t, std::uint64_t, int) { return index::KeysPage(); },
            [this](const std::string&, const index::SwarmAsk& ask) {
              return Result<index::SwarmAnswer>(swarms_.OnAsk(loop_.Now(), ask));
            },
            PeerGate{[](const PeerId&) { return true; },
                     [this](const PeerId&, const Digest& digest) {
                       const std::lock_guard lock(hidden_mutex_);
                       return !hidden_.contains(digest);
                     },
                     [](const PeerId&, const PeerId&) { return true; },
                     [](const PeerId&, std::string_view, std::string_view) {
                       return Result<std::string>(Error{Code::kDenied, "no rooms here"});
                     }}},
        UploadLimits{});
    server_ = HttpServer::Start({.listen = {"127.0.0.1", 0},
                                 .name = "peer",
                                 .threads = 2,
                                 .limits = {},
                                 .tls = TlsIdentity::Make(key_).value()},
                                [this](HttpRequest request, HttpServer::Responder respond) {
                                  asked_.Put(request.target);
                                  ranges_.Put(std::string(FindHeader(request.headers, "range")));
                                  Answer(std::move(request), std::move(respond));
                                })
                  .value();
    network_.Join(id(), server_->endpoint());
  }
  ~TestHost() {
    server_->Stop(std::chrono::seconds(1));
    loop_.Ask([this] {
      fetcher_->StopAll();
      return 0;
    });
    upstream_.WaitForCancelled();
    client_.reset();
    pool_.reset();
    loop_.Stop();
  }
  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  [[nodiscard]] const PeerId& id() const { return key_.id(); }
  [[nodiscard]] Fetcher& fetcher() { return *fetcher_; }
  [[nodiscard]] LocalBlobs& locals() { return *locals_; }
  [[nodiscard]] BlobStore& store() { return *store_; }
  [[nodiscard]] const TestStore& folder() const { return store_; }
  [[nodiscard]] test::TestLoop& loop() { return loop_; }
  [[nodiscard]] WorkPool& pool() { return *pool_; }
  [[nodiscard]] Counters& counters() { return counters_; }
  [[nodiscard]] index::Endpoint endpoint() const { return server_->endpoint(); }

  // Holds `text`, and says so.
  Digest Hold(const std::string& text) {
    const Digest digest = Sha256Of(text);
    EXPECT_TRUE(store_->Put(digest, AsBytes(text)).ok());
    network_.Holds(id(), digest);
    return digest;
  }
  // No range is answered until Release().
  void HoldBack() {
    const std::lock_guard lock(held_back_mutex_);
    holds_back_ = true;
  }
  void Release() {
    std::vector<HeldBack> held;
    {
      const std::lock_guard lock(held_back_mutex_);
      holds_back_ = false;
      held.swap(held_back_);
    }
    for (auto& [request, respond] : held) handler_->Handle(std::move(request), std::move(respond));
  }
  // Whether it was asked for a range, waiting for it.
  [[nodiscard]] bool WasAskedForARange() {
    while (auto range = ranges_.Take()) {
      if (!range->empty()) return true;
    }
    return false;
  }
  // Peers are in no room that may see it, from now on.
  void Hide(const Digest& digest) {
    const std::lock_guard lock(hidden_mutex_);
    hidden_.insert(digest);
  }
  // Makes it hold another byte than it should.
  void Spoil(const Digest& digest, std::int64_t at) {
    std::fstream file(store_.PathOf(digest), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char was = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(was ^ 1));
  }

  [[nodiscard]] static FetchRequest Request(const Digest& digest, bool upstream = true) {
    FetchRequest request;
    request.digest = digest;
    if (upstream) request.upstream = kTestUpstream;
    request.why = "test";
    return request;
  }
  Status Fetch(FetchRequest request) {
    // Shared: a fetch that ends after the test lost patience must find it still.
    const auto done = std::make_shared<test::Inbox<Status>>();
    fetcher_->Fetch(std::move(request), [done](Status status) { done->Put(std::move(status)); });
    auto status = done->Take();
    EXPECT_TRUE(status.has_value()) << "nothing came of the fetch";
    return status ? *status : Status(Error{Code::kRetryLater, "nothing came of the fetch"});
  }
  Status Fetch(const Digest& digest) { return Fetch(Request(digest)); }
  Result<std::shared_ptr<LiveBlob>> Open(const Digest& digest) {
    using Opened = Result<std::shared_ptr<LiveBlob>>;
    auto ready = std::make_shared<test::Inbox<Opened>>();
    fetcher_->Open(Request(digest), [ready](Opened live) { ready->Put(std::move(live)); });
    auto live = ready->Take();
    EXPECT_TRUE(live.has_value()) << "nothing came of the opening";
    return live ? *live : Opened(Error{Code::kRetryLater, "nothing came"});
  }
  // The end of the next transfer to end.
  struct End {
    TransferView view;
    Status status;
  };
  [[nodiscard]] std::optional<End> NextEnd() { return ended_.Take(); }
  // The next blob that became whole and was kept.
  [[nodiscard]] std::optional<Digest> NextWhole() { return whole_.Take(); }
  [[nodiscard]] std::optional<Digest> NextCorrupt() { return corrupt_.Take(); }
  struct Banned {
    PeerId peer;
    std::string reason;
  };
  [[nodiscard]] std::optional<Banned> NextBan() { return banned_.Take(); }
  // Ranges that peers have asked us for so far.
  [[nodiscard]] std::vector<std::string> TakeRanges() {
    std::vector<std::string> ranges;
    while (ranges_.size() > 0) {
      auto range = ranges_.Take();
      if (!range->empty()) ranges.push_back(std::move(*range));
    }
    return ranges;
  }
  // What it answers another peer, without the network between them. A piece that it gives holds
  // its slot for ever.
  [[nodiscard]] HttpReply AnswerTo(const PeerId& peer, const std::string& target,
                                   const std::string& range) {
    const auto answer = std::make_shared<test::Inbox<HttpReply>>();
    handler_->Handle({"GET", target, {{"Range", range}}, "", "127.0.0.1:1", peer},
                     [answer](HttpReply reply) { answer->Put(std::move(reply)); });
    auto reply = answer->Take();
    EXPECT_TRUE(reply.has_value()) << "no answer";
    return reply ? std::move(*reply) : HttpReply{};
  }
  // The next target that it was asked for.
  [[nodiscard]] std::optional<std::string> NextAsked() { return asked_.Take(); }
  [[nodiscard]] std::size_t requests() const { return asked_.size(); }
  [[nodiscard]] std::string Stored(const Digest& digest) {
    auto file = store_->OpenBlob(digest);
    return file ? ReadAll(*file) : "<" + file.error().text + ">";
  }

 private:
  std::vector<PeerId> Others(const Digest& digest) {
    auto peers = network_.HoldersOf(digest);
    std::erase(peers, id());
    return peers;
  }
  std::optional<index::Endpoint> Dial(const PeerId& peer) { return network_.Dial(peer); }

  using HeldBack = std::pair<HttpRequest, HttpServer::Responder>;

  void Answer(HttpRequest request, HttpServer::Responder respond) {
    if (!FindHeader(request.headers, "range").empty()) {
      const std::lock_guard lock(held_back_mutex_);
      if (holds_back_) {
        held_back_.emplace_back(std::move(request), std::move(respond));
        return;
      }
    }
    handler_->Handle(std::move(request), std::move(respond));
  }

  TestNetwork& network_;
  ScriptedUpstream& upstream_;
  const index::SigningKey key_;
  test::Inbox<Digest> whole_;
  test::Inbox<Digest> corrupt_;
  test::Inbox<End> ended_;
  test::Inbox<Banned> banned_;
  test::Inbox<std::string> asked_;
  test::Inbox<std::string> ranges_;
  test::TestLoop loop_;
  std::unique_ptr<WorkPool> pool_;
  Counters counters_;
  TestStore store_;
  std::unique_ptr<HttpClient> client_;
  std::unique_ptr<LocalBlobs> locals_;
  std::unique_ptr<Fetcher> fetcher_;
  index::SwarmTable swarms_{index::SwarmLimits{}};  // on the loop
  std::mutex hidden_mutex_;
  std::set<Digest> hidden_;  // from peers
  std::mutex held_back_mutex_;
  bool holds_back_ = false;
  std::vector<HeldBack> held_back_;
  std::shared_ptr<PeerServer> handler_;
  std::unique_ptr<HttpServer> server_;
};

// A peer that answers with another blob's chain and bytes, as if they were the one asked for.
class Liar {
 public:
  Liar(int seed, TestNetwork& network, std::string text, const Digest& claimed)
      : key_(TestKey(seed)), text_(std::move(text)) {
    server_ =
        HttpServer::Start({.listen = {"127.0.0.1", 0},
                           .name = "liar",
                           .threads = 1,
                           .limits = {},
                           .tls = TlsIdentity::Make(key_).value()},
                          [this](const HttpRequest& request, const HttpServer::Responder& respond) {
                            Answer(request, respond);
                          })
            .value();
    network.Join(key_.id(), server_->endpoint());
    network.Holds(key_.id(), claimed);
  }
  ~Liar() { server_->Stop(std::chrono::seconds(1)); }
  Liar(const Liar&) = delete;
  Liar& operator=(const Liar&) = delete;

  [[nodiscard]] const PeerId& id() const { return key_.id(); }
  // From then on it has the last piece too.
  void ShowLast() { last_ = true; }

 private:
  void Answer(const HttpRequest& request, const HttpServer::Responder& respond) {
    HttpReply reply;
    const Chain chain = TestChain(text_);
    const std::string_view target = request.target;
    if (target.find("/map") != std::string_view::npos) {
      PieceMap have(chain.geometry().count(), true);
      if (!last_) have.Clear(chain.geometry().last());
      reply.headers = {{"Content-Type", "application/json"}};
      reply.body.push_back({EncodeMap(chain, have), nullptr, {}, {}});
      return respond(std::move(reply));
    }
    std::size_t first = 0;
    std::size_t last = 0;
    const std::string range(FindHeader(request.headers, "range"));
    if (std::sscanf(range.c_str(), "bytes=%zu-%zu", &first, &last) != 2) {
      reply.status = 400;
      return respond(std::move(reply));
    }
    reply.status = 206;
    reply.headers = {{"Content-Range", "bytes " + std::to_string(first) + "-" +
                                           std::to_string(last) + "/" +
                                           std::to_string(text_.size())}};
    reply.body.push_back({text_.substr(first, last - first + 1), nullptr, {}, {}});
    respond(std::move(reply));
  }

  const index::SigningKey key_;
  const std::string text_;
  std::atomic<bool> last_{false};
  std::unique_ptr<HttpServer> server_;
};

// Reads a LiveBlob through its gate, as a server's session does, until its end or failure.
class Reader {
 public:
  explicit Reader(std::shared_ptr<LiveBlob> live) : live_(std::move(live)), id_(live_->Join()) {}
  ~Reader() { live_->Leave(id_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Reads up to `end`. Returns what came, less when it failed or nothing came in time.
  std::string ReadTo(Bytes end) {
    const std::size_t from = text_.size();
    while (SizeOf(text_) < end) {
      const Bytes at = SizeOf(text_);
      const Bytes readable = std::min(end, live_->ReadableEnd(at));
      if (readable > at) {
        std::string some(static_cast<std::size_t>((readable - at).count()), '\0');
        EXPECT_TRUE(live_->file()
                        ->ReadAt(at, std::as_writable_bytes(std::span(some.data(), some.size())))
                        .ok());
        text_ += some;
        continue;
      }
      if (live_->Failure()) break;
      auto woken = std::make_shared<test::Inbox<int>>();
      live_->Await(id_, at, [woken] { woken->Put(1); });
      if (!woken->Take()) {
        ADD_FAILURE() << "no byte came at " << at.count();
        break;
      }
    }
    return text_.substr(from);
  }
  std::string ReadAll() { return ReadTo(live_->geometry().blob()); }
  [[nodiscard]] LiveBlob& live() { return *live_; }

 private:
  std::shared_ptr<LiveBlob> live_;
  int id_;
  std::string text_;
};

}  // namespace shoal::fetch
