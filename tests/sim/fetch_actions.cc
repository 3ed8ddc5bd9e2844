// What a Download wants done, done.
#include <algorithm>
#include <utility>

#include "tests/sim/catalog.h"
#include "tests/sim/fetches.h"
#include "tests/sim/registry.h"
#include "tests/sim/slots.h"
#include "tests/sim/swarms.h"

namespace shoal::sim {
namespace {

// agent/discovery.cc has the same.
constexpr int kProbedMax = 16;

}  // namespace

Message Fetches::To(FetchId id, MessageKind kind, HostId to) const {
  const Fetch& fetch = pool_[id];
  Message message;
  message.kind = kind;
  message.from = fetch.host;
  message.to = to;
  message.blob = fetch.blob;
  message.fetch = RefOf(id);
  message.cut = fetch.cut;
  return message;
}

void Fetches::Do(FetchId id, const fetch::FetchMap& action) {
  const HostId peer = world_.HostOf(action.peer);
  OpenRequest(id, action.id, Open::Kind::kMap, peer);
  Message ask = To(id, MessageKind::kMapAsk, peer);
  ask.request = action.id;
  ask.count = action.known;
  // A first contact costs a TCP and a TLS handshake.
  if (action.known == 0) {
    const Latencies& latencies = world_.limits.latencies;
    ask.wait = world_.Latency(pool_[id].host, peer) * 4 + latencies.connect;
  }
  world_.Send(std::move(ask));
}

void Fetches::Do(FetchId id, const fetch::FetchPieces& action) {
  Fetch& fetch = pool_[id];
  const HostId peer = world_.HostOf(action.peer);
  Open& open = OpenRequest(id, action.id, Open::Kind::kPieces, peer);
  open.count = action.count;
  fetch.pieces_asked += action.count;
  CheckAsked(fetch, peer);
  Message ask = To(id, MessageKind::kPieceAsk, peer);
  ask.request = action.id;
  ask.first = action.first;
  ask.count = action.count;
  ask.options = action.options;
  ask.known = action.known;
  world_.Send(std::move(ask));
}

void Fetches::CheckAsked(const Fetch& fetch, HostId peer) const {
  const fetch::DownloadLimits& limits = world_.hosts[fetch.host].limits;
  std::int32_t of_peer = 0;
  for (const Open& open : fetch.open) {
    if (open.kind == Open::Kind::kPieces && open.peer == peer) of_peer += open.count;
  }
  if (of_peer > limits.parallel_per_peer) {
    world_.checker.Fail(world_.now(), "more pieces asked of one peer than its share");
  }
  if (fetch.pieces_asked > limits.parallel_pieces) {
    world_.checker.Fail(world_.now(), "more pieces asked than limits allow");
  }
}

void Fetches::Do(FetchId id, const fetch::FetchUpstream& action) {
  Open& open = OpenRequest(id, action.id, Open::Kind::kUpstream, world_.registry->host());
  open.next = action.first;
  Message ask = To(id, MessageKind::kUpstreamAsk, world_.registry->host());
  ask.request = action.id;
  ask.first = action.first;
  ask.count = action.count.value_or(0);
  if (world_.slots) return world_.slots->OnAsk(std::move(ask));
  world_.Send(std::move(ask));
}

void Fetches::Do(FetchId id, const fetch::CancelRequest& action) {
  Open* open = FindOpen(pool_[id], action.id);
  if (open == nullptr) return;  // its end is under way, as on a real host
  Message cancel = To(id, MessageKind::kCancel, open->peer);
  cancel.request = action.id;
  Close(id, action.id);
  world_.Send(std::move(cancel));
}

// As agent/discovery.h: some living peers at random, whose word may be newer than the catalog.
void Fetches::Do(FetchId id, const fetch::ResolveHolders& /*action*/) {
  const Fetch& fetch = pool_[id];
  Message resolved = To(id, MessageKind::kResolved, fetch.host);
  for (int i = 0; i < kProbedMax; ++i) {
    const auto host = static_cast<HostId>(world_.catalog_rng.Below(world_.hosts.size()));
    if (host == fetch.host || !world_.IsAgent(host) || !world_.hosts[host].listed) continue;
    resolved.hosts.push_back(host);
  }
  resolved.wait = std::chrono::milliseconds(1);
  world_.Send(std::move(resolved));
}

void Fetches::Do(FetchId id, const fetch::AskSwarm& action) { world_.swarms->Ask(id, action); }

void Fetches::Do(FetchId /*id*/, const fetch::BanPeer& action) {
  const Host& host = world_.hosts[world_.HostOf(action.peer)];
  ++bans_;
  if (host.lie == Lie::kHonest) {
    world_.checker.Fail(world_.now(), "an honest peer is banned: " + action.reason);
  }
}

void Fetches::Do(FetchId id, const fetch::UseGeometry& action) {
  Fetch& fetch = pool_[id];
  const Cut& cut = world_.blobs.CutBy(fetch.blob, action.geometry);
  if (fetch.cut != &cut) fetch.wrong.clear();
  fetch.cut = &cut;
  Changed(id);
}

void Fetches::Do(FetchId id, const fetch::ForgetPieces& action) {
  for (const fetch::PieceIndex piece : action.pieces) pool_[id].wrong.erase(piece.value);
  Changed(id);
}

void Fetches::Do(FetchId id, const fetch::LearnState& /*action*/) { pool_[id].snapshot.reset(); }

void Fetches::Do(FetchId id, const fetch::Proved& /*action*/) { Finish(id, std::nullopt); }

void Fetches::Do(FetchId id, const fetch::GaveUp& action) { Finish(id, action.error); }

}  // namespace shoal::sim
