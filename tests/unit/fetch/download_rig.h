// A Download under the tester's hands: events go in one by one, actions are looked at as they come.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fetch/download.h"

namespace shoal::fetch {

inline PeerId Peer(int n) {
  PeerId id;
  id.bytes[31] = static_cast<std::byte>(n);
  return id;
}

// States are made up: the rig says itself whether a piece leads where the chain says.
inline ChainState StateOf(std::int32_t i, char chain = 'a') {
  ChainState state{};
  state[0] = static_cast<std::byte>(chain);
  state[1] = static_cast<std::byte>(i);
  state[2] = static_cast<std::byte>(i >> 8);
  return state;
}

class DownloadRig {
 public:
  explicit DownloadRig(bool has_upstream = true, DownloadLimits limits = SmallLimits(),
                       std::uint64_t seed = 1)
      : download(Digest{}, limits, has_upstream, Rng(seed)) {}

  static DownloadLimits SmallLimits() {
    DownloadLimits limits;
    limits.piece = kPieceBytesMin;
    return limits;
  }

  static DownloadLimits Limits() { return SmallLimits(); }
  static Geometry Pieces(std::int32_t count, Bytes piece = kPieceBytesMin) {
    return Geometry::Make(piece * count, piece).value();
  }

  // A map as drawn: '*' for each piece that is there. The chain is known to the end, or as far as
  // `states` says.
  static HolderMap Map(std::string_view have, char chain = 'a', std::int32_t states = 1 << 20) {
    const auto count = static_cast<std::int32_t>(have.size());
    HolderMap map{Chain(Pieces(count)), PieceMap(count)};
    for (std::int32_t i = 0; i < count; ++i) {
      if (have[static_cast<std::size_t>(i)] == '*') map.have.Set({i});
      if (i > 0 && i < states) map.chain.Set({i}, StateOf(i, chain));
    }
    return map;
  }
  static HolderMap Whole(std::int32_t count, char chain = 'a') {
    return Map(std::string(static_cast<std::size_t>(count), '*'), chain);
  }

  void Start(const std::vector<PeerId>& known = {}) {
    Do([&](auto& out) { download.Start(now, known, out); });
  }
  void Resolved(const std::vector<PeerId>& peers = {}) {
    if (!peers.empty()) Do([&](auto& out) { download.OnHolders(now, peers, out); });
    Do([&](auto& out) { download.OnResolved(now, out); });
  }
  void AnswerMap(RequestId id, const HolderMap& map) {
    Do([&](auto& out) { download.OnMap(now, id, map, out); });
  }
  // Answers the one outstanding first map request to `peer`.
  void AnswerMapOf(const PeerId& peer, const HolderMap& map) { AnswerMap(IdOfMap(peer), map); }
  void Piece(RequestId id, std::int32_t piece, char chain = 'a', bool digest_ok = true) {
    Do([&](auto& out) {
      download.OnPieceHashed(now, id, {piece}, StateOf(piece + 1, chain), digest_ok, out);
    });
  }
  void BadPiece(RequestId id, std::int32_t piece) { Piece(id, piece, '?', false); }
  void Waiting(RequestId id) {
    Do([&](auto& out) { download.OnWaiting(now, id, out); });
  }
  void BytesCame(RequestId id, std::int64_t count) {
    Do([&](auto& out) { download.OnBytes(now, id, Bytes(count), out); });
  }
  void Size(RequestId id, Bytes size) {
    Do([&](auto& out) { download.OnUpstreamSize(now, id, size, out); });
  }
  void Done(RequestId id) {
    Do([&](auto& out) { download.OnRequestDone(now, id, out); });
  }
  void Failed(RequestId id, Code code, const std::string& text = "it failed") {
    Do([&](auto& out) { download.OnRequestFailed(now, id, {code, text}, out); });
  }
  void Gone(const PeerId& peer) {
    Do([&](auto& out) { download.OnPeerGone(now, peer, out); });
  }
  void Member(const PeerId& peer) {
    Do([&](auto& out) { download.OnMember(now, peer, out); });
  }
  void Swarm(const SwarmView& view) {
    Do([&](auto& out) { download.OnSwarm(now, view, out); });
  }
  void SwarmFailed() {
    Do([&](auto& out) { download.OnSwarmFailed(now, out); });
  }
  void Chosen(RequestId id, std::int32_t piece) {
    Do([&](auto& out) { download.OnChosen(now, id, {piece}, out); });
  }
  void Busy(RequestId id, Duration retry, const std::vector<PeerId>& others) {
    Do([&](auto& out) { download.OnBusy(now, id, retry, others, out); });
  }
  void Reader(int reader, std::int32_t piece) {
    Do([&](auto& out) { download.OnReader(now, reader, {piece}, out); });
  }
  // Lets time pass; every deadline on the way is kept.
  void Pass(Duration duration) {
    const Time end = now + duration;
    while (!download.finished() && download.NextDeadline() <= end) {
      now = download.NextDeadline();
      Do([&](auto& out) { download.OnDeadline(now, out); });
    }
    now = end;
  }
  // Answers all piece requests at peers with right pieces until nothing is asked any more.
  void ServeAll(char chain = 'a') {
    while (!download.finished()) {
      const auto asked = Take<FetchPieces>();
      if (asked.empty()) return;
      for (const FetchPieces& run : asked) Serve(run, chain);
    }
  }
  void Serve(const FetchPieces& run, char chain = 'a') {
    for (std::int32_t k = 0; k < run.count; ++k) Piece(run.id, run.first.value + k, chain);
    Done(run.id);
  }

  // Removes and returns the actions of one kind that came so far.
  template <class Action>
  std::vector<Action> Take() {
    std::vector<Action> taken;
    std::erase_if(actions, [&](const DownloadAction& action) {
      const Action* found = std::get_if<Action>(&action);
      if (found != nullptr) taken.push_back(*found);
      return found != nullptr;
    });
    return taken;
  }
  // The only one of its kind so far.
  template <class Action>
  Action TakeOne() {
    std::vector<Action> taken = Take<Action>();
    EXPECT_EQ(taken.size(), 1U);
    SHOAL_CHECK(!taken.empty());
    return taken.front();
  }
  template <class Action>
  [[nodiscard]] int Count() const {
    int count = 0;
    for (const auto& action : actions) count += std::holds_alternative<Action>(action) ? 1 : 0;
    return count;
  }

  Download download;
  Time now{std::chrono::hours(1)};
  DownloadActions actions;

 private:
  template <class Event>
  void Do(Event&& event) {
    event(actions);
    download.CheckInvariants();
  }

  RequestId IdOfMap(const PeerId& peer) {
    RequestId id = 0;
    std::erase_if(actions, [&](const DownloadAction& action) {
      const auto* map = std::get_if<FetchMap>(&action);
      if (map == nullptr || map->peer != peer) return false;
      id = map->id;
      return true;
    });
    EXPECT_NE(id, 0U) << "its map was not asked";
    return id;
  }
};

}  // namespace shoal::fetch
