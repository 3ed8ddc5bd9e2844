// Fetches: drives the Downloads of all hosts, as fetch/transport does it on a real one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "tests/sim/world.h"

namespace shoal::sim {

// A request that a Download waits for.
struct Open {
  enum class Kind { kMap, kPieces, kUpstream };
  fetch::RequestId id = 0;
  Kind kind = Kind::kMap;
  HostId peer = kNoHost;
  std::int32_t count = 0;          // pieces asked for
  std::optional<AnswerId> answer;  // while bytes flow
  Bytes reported;                  // of what arrived
  Bytes arrived;                   // counts once the flow is over
  fetch::PieceIndex next;          // kUpstream: the piece that comes next, and the state before it
  fetch::ChainState state{};
};

struct Fetch {
  HostId host = kNoHost;
  BlobId blob = 0;
  std::unique_ptr<fetch::Download> download;
  const Cut* cut = nullptr;
  std::vector<Open> open;
  std::vector<std::uint32_t> polls;                  // questions for its map that are held back
  std::map<std::int32_t, Version> wrong;             // pieces here whose bytes are not the blob's
  std::shared_ptr<const fetch::HolderMap> snapshot;  // of its map; null when it changed
  Time timer_at = kNever;
  std::int32_t pieces_asked = 0;
};

class Fetches {
 public:
  explicit Fetches(World& world) : world_(world) {}

  // Begins to fetch a blob that the host neither has nor fetches.
  void Start(HostId host, BlobId blob);
  void OnMessage(const Message& message);
  // A piece's last byte is here: it is written and hashed, and then comes back as OnHashed.
  void OnPieceCame(Message message);
  void OnHashed(const Message& message);
  void OnDeadline(FetchId id, std::uint32_t generation);
  // All rosters miss the peer now.
  void OnPeerGone(HostId gone);
  // The host hears that others fetch the blob too; it matters if it does.
  void OnMembers(HostId host, BlobId blob, const std::vector<HostId>& members);
  // What the arbiters said; null when none did.
  void OnSwarm(FetchRef ref, const index::SwarmAnswer* answer);
  // The host's agent died. What its disk had when it did stays.
  void Crash(HostId host);

  Fetch* Find(FetchRef ref) { return pool_.Find(ref.at, ref.generation); }
  Fetch& operator[](FetchId id) { return pool_[id]; }
  [[nodiscard]] FetchRef RefOf(FetchId id) const { return {id, pool_.generation(id)}; }
  // What the host says it has. Shared until it changes.
  std::shared_ptr<const fetch::HolderMap> MapOf(Fetch& fetch);
  // The answer to an open request begins or ends to send bytes.
  void SetAnswer(FetchRef ref, fetch::RequestId request, std::optional<AnswerId> answer,
                 Bytes arrived);
  static Open* FindOpen(Fetch& fetch, fetch::RequestId id);
  [[nodiscard]] std::size_t running() const { return pool_.used(); }
  // For the report: of the fetches that ended.
  [[nodiscard]] Bytes wasted() const { return wasted_; }
  [[nodiscard]] Bytes upstream() const { return upstream_; }
  [[nodiscard]] std::uint64_t spoiled() const { return spoiled_; }
  [[nodiscard]] std::uint64_t bans() const { return bans_; }

 private:
  template <class Event>
  void Feed(FetchId id, Event&& event);
  void Plan(FetchId id);
  void Report(FetchRef ref, fetch::DownloadActions& out);
  void Changed(FetchId id);
  void Finish(FetchId id, const std::optional<Error>& error);
  void Drop(FetchId id);
  Message To(FetchId id, MessageKind kind, HostId to) const;
  Open& OpenRequest(FetchId id, fetch::RequestId request, Open::Kind kind, HostId peer);
  void Close(FetchId id, fetch::RequestId request);

  void Do(FetchId id, const fetch::FetchMap& action);
  void Do(FetchId id, const fetch::FetchPieces& action);
  void Do(FetchId id, const fetch::FetchUpstream& action);
  void Do(FetchId id, const fetch::CancelRequest& action);
  void Do(FetchId id, const fetch::ResolveHolders& action);
  void Do(FetchId id, const fetch::AskSwarm& action);
  void Do(FetchId id, const fetch::BanPeer& action);
  void Do(FetchId id, const fetch::UseGeometry& action);
  void Do(FetchId id, const fetch::ForgetPieces& action);
  void Do(FetchId id, const fetch::LearnState& action);
  void Do(FetchId id, const fetch::Proved& action);
  void Do(FetchId id, const fetch::GaveUp& action);

  void CheckAsked(const Fetch& fetch, HostId peer) const;
  void CheckHashed(FetchId id, fetch::PieceIndex piece, Version version,
                   const Blobs::Hashed& hashed);

  World& world_;
  Pool<Fetch> pool_;
  std::uint64_t fed_ = 0;
  Bytes wasted_;
  Bytes upstream_;
  std::uint64_t spoiled_ = 0;
  std::uint64_t bans_ = 0;
};

}  // namespace shoal::sim
