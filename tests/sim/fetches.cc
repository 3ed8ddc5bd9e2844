#include "tests/sim/fetches.h"

#include <algorithm>
#include <utility>

#include "tests/sim/catalog.h"
#include "tests/sim/givers.h"
#include "tests/sim/pulls.h"
#include "tests/sim/registry.h"
#include "tests/sim/slots.h"

namespace shoal::sim {
namespace {

// Pieces that a host asks for at once, over all its downloads; as Fetcher does it.
constexpr int kPiecesAskedMax = 64;
constexpr Duration kLeadModesty = std::chrono::milliseconds(5);
constexpr Duration kLeadModestyMax = std::chrono::milliseconds(20);
// SHA-256 on one core; docs/ARCHITECTURE.md.
constexpr double kHashRate = 1.8e9;
// CheckInvariants is asked once in so many events, and more rarely in a large world, which has more
// of them.
constexpr std::uint64_t kCheckEvery = 97;
constexpr std::uint64_t kCheckEveryLarge = 997;
constexpr std::size_t kLargeWorld = 1000;

}  // namespace

template <class Event>
void Fetches::Feed(FetchId id, Event&& event) {
  fetch::Download& download = *pool_[id].download;
  fetch::DownloadActions out;
  event(download, out);
  const std::uint64_t every = world_.hosts.size() < kLargeWorld ? kCheckEvery : kCheckEveryLarge;
  if (++fed_ % every == 0) download.CheckInvariants();
  const std::uint32_t generation = pool_.generation(id);
  for (const fetch::DownloadAction& action : out) {
    world_.engine.Trace(action.index() << 32 | id);
    std::visit([&](const auto& what) { Do(id, what); }, action);
    if (pool_.generation(id) != generation) return;
  }
  Plan(id);
}

void Fetches::Start(HostId host_id, BlobId blob) {
  Host& host = world_.hosts[host_id];
  SHOAL_CHECK(host.running && !host.fetching.contains(blob) && !host.whole.contains(blob));
  fetch::DownloadLimits limits = host.limits;
  const int share = kPiecesAskedMax / static_cast<int>(host.fetching.size() + 1);
  limits.parallel_pieces = std::clamp(share, 2, limits.parallel_pieces);
  limits.arbitrated = true;
  const auto leading = std::ranges::count_if(
      host.fetching, [this](const auto& entry) { return pool_[entry.second].download->leads(); });
  limits.lead_modesty = std::min(kLeadModesty * leading, kLeadModestyMax);
  Fetch fresh;
  fresh.host = host_id;
  fresh.blob = blob;
  fresh.download = std::make_unique<fetch::Download>(
      world_.blobs.digest(blob), limits, world_.registry != nullptr, Rng(world_.fetch_rng.Next()));
  const FetchId id = pool_.Add(std::move(fresh));
  host.fetching[blob] = id;
  if (const auto left = host.partial.find(blob); left != host.partial.end()) {
    pool_[id].download->Resume(left->second.chain, left->second.have);
    host.partial.erase(left);
  }
  const auto known = world_.catalog->Known(blob, host_id);
  Feed(id, [&](auto& download, auto& out) {
    download.Start(world_.now(), known, out);
    download.OnReader(world_.now(), 1, {0}, out);  // the runtime, which takes what is there
  });
}

void Fetches::Plan(FetchId id) {
  Fetch& fetch = pool_[id];
  const Time next = std::max(fetch.download->NextDeadline(),
                             world_.now() + Duration(std::chrono::milliseconds(1)));
  if (next >= fetch.timer_at) return;  // an early event is planned anew when it happens
  fetch.timer_at = next;
  world_.Plan(next, EventKind::kDeadline, id, pool_.generation(id));
}

void Fetches::OnDeadline(FetchId id, std::uint32_t generation) {
  Fetch* fetch = pool_.Find(id, generation);
  if (fetch == nullptr || fetch->timer_at != world_.now()) return;
  fetch->timer_at = kNever;
  if (fetch->download->NextDeadline() > world_.now()) return Plan(id);
  Feed(id, [&](auto& download, auto& out) {
    Report(RefOf(id), out);
    download.OnDeadline(world_.now(), out);
  });
}

// Bytes are looked at when the core wants to be woken, as the real transfer does it.
void Fetches::Report(FetchRef ref, fetch::DownloadActions& out) {
  Fetch& fetch = *Find(ref);
  for (std::size_t i = 0; i < fetch.open.size(); ++i) {
    Open& open = fetch.open[i];
    if (world_.slots && open.kind == Open::Kind::kUpstream &&
        world_.slots->Waits(fetch.host, ref, open.id)) {
      fetch.download->OnWaiting(world_.now(), open.id, out);
    }
    if (open.answer) open.arrived = world_.givers->Moved(*open.answer);
    if (open.arrived <= open.reported) continue;
    const Bytes more = open.arrived - open.reported;
    open.reported = open.arrived;
    fetch.download->OnBytes(world_.now(), open.id, more, out);
  }
}

Open* Fetches::FindOpen(Fetch& fetch, fetch::RequestId id) {
  const auto found = std::ranges::find(fetch.open, id, &Open::id);
  return found == fetch.open.end() ? nullptr : &*found;
}

Open& Fetches::OpenRequest(FetchId id, fetch::RequestId request, Open::Kind kind, HostId peer) {
  Fetch& fetch = pool_[id];
  if (FindOpen(fetch, request) != nullptr) world_.checker.Fail(world_.now(), "a request id twice");
  Open open;
  open.id = request;
  open.kind = kind;
  open.peer = peer;
  fetch.open.push_back(open);
  return fetch.open.back();
}

void Fetches::Close(FetchId id, fetch::RequestId request) {
  Fetch& fetch = pool_[id];
  const auto found = std::ranges::find(fetch.open, request, &Open::id);
  if (found == fetch.open.end()) return;
  fetch.pieces_asked -= found->count;
  if (world_.slots && found->kind == Open::Kind::kUpstream) {
    world_.slots->OnEnd(fetch.host, RefOf(id), request);
  }
  *found = fetch.open.back();
  fetch.open.pop_back();
}

void Fetches::SetAnswer(FetchRef ref, fetch::RequestId request, std::optional<AnswerId> answer,
                        Bytes arrived) {
  Fetch* fetch = Find(ref);
  Open* open = fetch == nullptr ? nullptr : FindOpen(*fetch, request);
  if (open == nullptr) return;
  open->answer = answer;
  open->arrived = arrived;
}

std::shared_ptr<const fetch::HolderMap> Fetches::MapOf(Fetch& fetch) {
  if (!fetch.snapshot) {
    fetch.snapshot = std::make_shared<const fetch::HolderMap>(
        fetch::HolderMap{*fetch.download->chain(), fetch.download->have()});
  }
  return fetch.snapshot;
}

void Fetches::Changed(FetchId id) {
  pool_[id].snapshot.reset();
  world_.givers->OnNews(id);
}

void Fetches::OnMessage(const Message& message) {
  Fetch* fetch = Find(message.fetch);
  const FetchId id = message.fetch.at;
  if (fetch == nullptr) return;
  const Time now = world_.now();
  const fetch::RequestId request = message.request;
  if (message.kind == MessageKind::kResolved) {
    std::vector<PeerId> peers;
    for (const HostId host : message.hosts) peers.push_back(world_.hosts[host].id);
    return Feed(id, [&](auto& download, auto& out) {
      download.OnHolders(now, peers, out);
      download.OnResolved(now, out);
    });
  }
  Open* open = FindOpen(*fetch, request);
  if (open == nullptr) return;  // taken back meanwhile
  if (message.error) {
    Close(id, request);
    return Feed(id, [&](auto& download, auto& out) {
      download.OnRequestFailed(now, request, *message.error, out);
    });
  }
  if (message.map && message.kind != MessageKind::kMapAnswer) {
    Feed(id, [&](auto& download, auto& out) {
      download.OnNews(now, world_.hosts[message.from].id, *message.map, out);
    });
    fetch = Find(message.fetch);
    open = fetch == nullptr ? nullptr : FindOpen(*fetch, request);
    if (open == nullptr) return;
  }
  switch (message.kind) {
    case MessageKind::kPieceHead:
      return Feed(id, [&](auto& download, auto& out) {
        download.OnChosen(now, request, message.first, out);
      });
    case MessageKind::kPieceBusy: {
      std::vector<PeerId> others;
      for (const HostId host : message.hosts) others.push_back(world_.hosts[host].id);
      Close(id, request);
      return Feed(id, [&](auto& download, auto& out) {
        download.OnBusy(now, request, message.retry, others, out);
      });
    }
    case MessageKind::kMapAnswer:
      Close(id, request);
      return Feed(
          id, [&](auto& download, auto& out) { download.OnMap(now, request, *message.map, out); });
    case MessageKind::kUpstreamHead: {
      Feed(id, [&](auto& download, auto& out) {
        download.OnUpstreamSize(now, request, world_.blobs.size(message.blob), out);
      });
      fetch = Find(message.fetch);
      open = fetch == nullptr ? nullptr : FindOpen(*fetch, request);
      if (open == nullptr) return;
      const fetch::ChainState* state = fetch->download->chain()->Before(open->next);
      if (state == nullptr) return world_.checker.Fail(now, "upstream asked from an unknown state");
      open->state = *state;
      return world_.givers->Continue(*open->answer, *fetch->cut);
    }
    default:
      return;
  }
}

void Fetches::OnPieceCame(Message message) {
  Fetch* fetch = Find(message.fetch);
  if (fetch == nullptr || message.cut != fetch->cut) return;
  Disk& disk = world_.hosts[fetch->host].disk;
  const Bytes length = fetch->cut->geometry.LengthOf(message.first);
  if (disk.room < length) {
    return Finish(message.fetch.at, Error{Code::kExhausted, "the disk is full"});
  }
  const auto micros = [&](double rate) {
    return Duration(static_cast<std::int64_t>(static_cast<double>(length.count()) * 1e6 / rate));
  };
  disk.free_at = std::max(disk.free_at, world_.now()) + micros(disk.rate);
  disk.hashed_at = std::max(disk.hashed_at, disk.free_at) + micros(kHashRate);
  world_.Plan(disk.hashed_at, EventKind::kHashed, world_.messages.Add(std::move(message)));
}

void Fetches::OnHashed(const Message& message) {
  Fetch* fetch = Find(message.fetch);
  if (fetch == nullptr) return;
  Open* open = FindOpen(*fetch, message.request);
  const fetch::Chain* chain = fetch->download->chain();
  if (open == nullptr || chain == nullptr || message.cut != fetch->cut) return;
  const fetch::PieceIndex piece = message.first;
  const bool upstream = open->kind == Open::Kind::kUpstream;
  const fetch::ChainState* known = upstream ? &open->state : chain->Before(piece);
  if (known == nullptr) {
    return world_.checker.Fail(world_.now(), "a piece asked that cannot be hashed");
  }
  const fetch::ChainState before = *known;
  const auto hashed =
      world_.blobs.Hash(fetch->blob, chain->geometry(), piece, message.version, before);
  open->state = hashed.after;
  if (!upstream) {
    --open->count;
    --fetch->pieces_asked;
  }
  const FetchId id = message.fetch.at;
  const bool had = fetch->download->have().Has(piece);
  Feed(id, [&](fetch::Download& download, fetch::DownloadActions& out) {
    download.OnPieceHashed(world_.now(), message.request, piece, hashed.after, hashed.digest_ok,
                           out);
    const bool has = download.have().size() > piece.value && download.have().Has(piece);
    if (!had && has) CheckHashed(id, piece, message.version, hashed);
  });
  fetch = Find(message.fetch);
  if (fetch == nullptr) return;
  if (!had && fetch->download->have().Has(piece)) {
    world_.hosts[fetch->host].disk.room -= fetch->cut->geometry.LengthOf(piece);
    if (fetch->download->have().count() == 1) {
      world_.catalog->Add(fetch->blob, fetch->host);
    }
    Changed(id);
  }
  if (!message.last || FindOpen(*fetch, message.request) == nullptr) return;
  Close(id, message.request);
  Feed(id, [&](auto& download, auto& out) {
    download.OnRequestDone(world_.now(), message.request, out);
  });
}

void Fetches::CheckHashed(FetchId id, fetch::PieceIndex piece, Version version,
                          const Blobs::Hashed& hashed) {
  Fetch& fetch = pool_[id];
  const fetch::Chain& chain = *fetch.download->chain();
  const bool last = piece == chain.geometry().last();
  const bool proven =
      last ? hashed.digest_ok
           : chain.Before(piece + 1) != nullptr && *chain.Before(piece + 1) == hashed.after;
  if (!proven)
    world_.checker.Fail(world_.now(), "a piece counts as here, its chain does not say so");
  if (!world_.blobs.IsRight(fetch.blob, chain.geometry(), piece, version)) {
    fetch.wrong[piece.value] = version;  // under a false chain; it must not last
    ++spoiled_;
  }
}

void Fetches::OnMembers(HostId host, BlobId blob, const std::vector<HostId>& members) {
  const auto found = world_.hosts[host].fetching.find(blob);
  if (found == world_.hosts[host].fetching.end()) return;
  Feed(found->second, [&](auto& download, auto& out) {
    for (const HostId member : members) {
      download.OnMember(world_.now(), world_.hosts[member].id, out);
    }
  });
}

void Fetches::OnSwarm(FetchRef ref, const index::SwarmAnswer* answer) {
  Fetch* fetch = Find(ref);
  if (fetch == nullptr) return;
  Feed(ref.at, [&](auto& download, auto& out) {
    if (answer == nullptr) return download.OnSwarmFailed(world_.now(), out);
    fetch::SwarmView view;
    view.we_lead = answer->lead == world_.hosts[fetch->host].id;
    if (!view.we_lead) view.lead = answer->lead;
    view.members = answer->members;
    view.pace = answer->pace;
    view.lease = answer->lease;
    view.lead_waits = answer->lead_waits;
    download.OnSwarm(world_.now(), view, out);
  });
}

void Fetches::OnPeerGone(HostId gone) {
  const PeerId peer = world_.hosts[gone].id;
  for (Host& host : world_.hosts) {
    std::vector<FetchId> ids;
    for (const auto& [blob, id] : host.fetching) ids.push_back(id);
    for (const FetchId id : ids) {
      if (pool_[id].download == nullptr) continue;
      Feed(id, [&](auto& download, auto& out) { download.OnPeerGone(world_.now(), peer, out); });
    }
  }
}

void Fetches::Finish(FetchId id, const std::optional<Error>& error) {
  const HostId host_id = pool_[id].host;
  const BlobId blob = pool_[id].blob;
  Host& host = world_.hosts[host_id];
  Fetch& fetch = pool_[id];
  if (!error) {
    if (!fetch.wrong.empty()) world_.checker.Fail(world_.now(), "proved with wrong bytes in it");
    if (!fetch.download->have().all()) world_.checker.Fail(world_.now(), "proved with holes");
    host.whole[blob] = fetch.cut;
    world_.catalog->Add(blob, host_id);
  } else if (error->code != Code::kCorrupt && fetch.download->chain() != nullptr &&
             fetch.wrong.empty()) {
    host.partial.insert_or_assign(blob, Leftover{*fetch.download->chain(), fetch.download->have()});
  }
  host.fetching.erase(blob);
  Drop(id);
  world_.pulls->OnBlob(host_id, blob, error);
}

// Answers whoever waits for its map, takes back what it asked, and forgets it.
void Fetches::Drop(FetchId id) {
  Fetch& fetch = pool_[id];
  world_.givers->OnEnded(id);
  std::vector<fetch::RequestId> open;
  for (const Open& request : fetch.open) open.push_back(request.id);
  for (const fetch::RequestId request : open) Do(id, fetch::CancelRequest{request});
  wasted_ += fetch.download->sources().wasted;
  upstream_ += fetch.download->sources().upstream;
  pool_.Free(id);
}

void Fetches::Crash(HostId host_id) {
  Host& host = world_.hosts[host_id];
  for (const auto& [blob, id] : std::exchange(host.fetching, {})) {
    Fetch& fetch = pool_[id];
    const fetch::Chain* chain = fetch.download->chain();
    if (chain != nullptr && fetch.wrong.empty()) {
      Leftover left{*chain, fetch.download->have()};
      // Metadata is committed in groups: what was not yet is torn off.
      for (fetch::PieceIndex i{0}; i.value < left.have.size(); ++i) {
        if (left.have.Has(i) && world_.script_rng.Below(8) == 0) left.have.Clear(i);
      }
      host.partial.insert_or_assign(blob, std::move(left));
    }
    Drop(id);
  }
}

}  // namespace shoal::sim
