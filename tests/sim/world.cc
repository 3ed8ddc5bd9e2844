#include "tests/sim/world.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/sim/catalog.h"
#include "tests/sim/fetches.h"
#include "tests/sim/givers.h"
#include "tests/sim/pulls.h"
#include "tests/sim/registry.h"
#include "tests/sim/slots.h"
#include "tests/sim/swarms.h"

namespace shoal::sim {
namespace {

bool IsAsk(MessageKind kind) {
  return kind == MessageKind::kMapAsk || kind == MessageKind::kPieceAsk ||
         kind == MessageKind::kSwarmAsk;
}

// A number that is fixed for a pair of hosts, in both directions.
std::uint64_t PairLot(HostId a, HostId b) {
  std::uint64_t x = (std::uint64_t{std::min(a, b)} << 32) | std::max(a, b);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace

World::World(std::uint64_t seed, WorldLimits l)
    : network(engine),
      blobs(seed ^ 0xb10b),
      catalog(std::make_unique<Catalog>(*this)),
      fetches(std::make_unique<Fetches>(*this)),
      givers(std::make_unique<Givers>(*this)),
      swarms(std::make_unique<Swarms>(*this)),
      pulls(std::make_unique<Pulls>(*this)),
      limits(l),
      fetch_rng(seed ^ 0xfe7c4),
      network_rng(seed ^ 0x9e7),
      catalog_rng(seed ^ 0xca7a),
      script_rng(seed ^ 0x5c219) {}

World::~World() = default;

HostId World::AddHost(double rate, const fetch::DownloadLimits& download_limits) {
  const auto at = static_cast<HostId>(hosts.size());
  Host host;
  // Evenly spread, as ids are; the last bytes say which host it is.
  Rng rng(PairLot(at, at) ^ 0x1d);
  for (std::size_t i = 0; i < host.id.bytes.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t word = rng.Next();
    std::memcpy(host.id.bytes.data() + i, &word, sizeof word);
  }
  std::memcpy(host.id.bytes.data() + host.id.bytes.size() - sizeof at, &at, sizeof at);
  host.up = network.AddLink(rate);
  host.down = network.AddLink(rate);
  host.limits = download_limits;
  host.desk = std::make_unique<fetch::UploadDesk>(fetch::UploadLimits{});
  ids_.push_back(host.id);
  hosts.push_back(std::move(host));
  return at;
}

bool World::IsAgent(HostId host) const {
  return host != index_server_ && (!registry || host != registry->host());
}

HostId World::HostOf(const PeerId& peer) const {
  HostId at = 0;
  std::memcpy(&at, peer.bytes.data() + peer.bytes.size() - sizeof at, sizeof at);
  SHOAL_CHECK(at < ids_.size() && ids_[at] == peer);
  return at;
}

void World::AddIndexServer() { index_server_ = AddHost(1.25e9, {}); }

double World::seconds() const {
  return static_cast<double>(engine.now().time_since_epoch().count()) / 1e6;
}

void World::Plan(Time at, EventKind kind, std::uint32_t a, std::uint32_t b) {
  engine.At(at, kind, a, b);
}

void World::At(Time when, std::function<void()> what) {
  script_.push_back(std::move(what));
  ++script_left_;
  Plan(when, EventKind::kScript, static_cast<std::uint32_t>(script_.size() - 1));
}

const Cut& World::CutAt(HostId host, BlobId blob) {
  const auto geometry = fetch::CutFor(blobs.size(blob), hosts[host].limits.piece);
  return blobs.CutBy(blob, geometry.value());
}

bool World::Reaches(HostId from, HostId to) const {
  if (dark_ > 0 && (hosts[from].dark || hosts[to].dark)) return from == to;
  if (groups_.empty()) return true;
  const int a = groups_[from];
  const int b = groups_[to];
  if (a == b || a < 0 || b < 0) return true;
  return one_way_ && a > b;
}

Duration World::Latency(HostId from, HostId to) const {
  if (from == to) return Duration(1);
  const Latencies& l = limits.latencies;
  const Duration way = RackOf(from) == RackOf(to)   ? l.rack
                       : ZoneOf(from) == ZoneOf(to) ? l.zone
                                                    : l.far;
  const auto jitter = static_cast<std::int64_t>(PairLot(from, to) %
                                                static_cast<std::uint64_t>(l.jitter.count() + 1));
  return way + Duration(jitter);
}

void World::Send(Message message) {
  ++message_count;
  ++hosts[message.from].messages;
  if (!Reaches(message.from, message.to)) return;
  const bool to_itself = message.from == message.to;
  // A closed connection is noticed in the end, whatever is lost.
  const bool may_be_lost = !to_itself && message.kind != MessageKind::kCancel;
  if (limits.loss > 0 && may_be_lost && network_rng.Unit() < limits.loss) return;
  const Duration handling = to_itself ? Duration(0) : limits.latencies.handling;
  Time at = now() + Latency(message.from, message.to) + handling + message.wait;
  if (limits.queue > Duration(0) && !to_itself) {
    if (network.Full(hosts[message.from].up)) at += limits.queue;
    if (network.Full(hosts[message.to].down)) at += limits.queue;
    // TCP keeps the order, though a queue may be gone meanwhile.
    Time& latest = latest_[std::uint64_t{message.from} << 32 | message.to];
    at = latest = std::max(at, latest);
  }
  Plan(at, EventKind::kMessage, messages.Add(std::move(message)));
}

void World::Deliver(std::uint32_t slot) {
  Message message = std::move(messages[slot]);
  messages.Free(slot);
  // What was under way when the link broke is lost with it.
  if (!Reaches(message.from, message.to)) return;
  if (!hosts[message.to].running) {
    if (!IsAsk(message.kind)) return;
    std::swap(message.from, message.to);
    message.kind = message.kind == MessageKind::kMapAsk     ? MessageKind::kMapAnswer
                   : message.kind == MessageKind::kSwarmAsk ? MessageKind::kSwarmAnswer
                                                            : MessageKind::kPieceFailed;
    message.error = Error{Code::kRetryLater, "connection refused"};
    message.wait = Duration(0);
    return Send(std::move(message));
  }
  switch (message.kind) {
    case MessageKind::kMapAsk:
      return givers->OnMapAsk(message);
    case MessageKind::kPieceAsk:
      return givers->OnPieceAsk(message);
    case MessageKind::kCancel:
      return givers->OnCancel(message);
    case MessageKind::kUpstreamAsk:
      return registry->OnAsk(message);
    case MessageKind::kSwarmAsk:
      return swarms->OnAsk(message);
    case MessageKind::kSwarmAnswer:
      return swarms->OnAnswer(message);
    case MessageKind::kPieceCame:
      return fetches->OnPieceCame(std::move(message));
    default:
      return fetches->OnMessage(message);
  }
}

void World::Dispatch(const Event& event) {
  switch (event.kind) {
    case EventKind::kMessage:
      return Deliver(event.a);
    case EventKind::kHashed: {
      const Message message = std::move(messages[event.a]);
      messages.Free(event.a);
      return fetches->OnHashed(message);
    }
    case EventKind::kFlow:
      if (network.OnEvent(event.a, event.b)) givers->OnFlow(network.user(event.a));
      return;
    case EventKind::kDeadline:
      return fetches->OnDeadline(event.a, event.b);
    case EventKind::kPoll:
      return givers->OnPoll(event.a);
    case EventKind::kSwarmLate:
      return swarms->OnLate(event.a, event.b);
    case EventKind::kSlots:
      return slots->OnDue(event.a);
    case EventKind::kScript:
      --script_left_;
      // Taken out: what it does may add to the script.
      return std::exchange(script_[event.a], nullptr)();
  }
}

void World::Run(Time until) {
  while (!engine.empty()) {
    // Rates are worked out once for all that happens at one moment.
    while (!network.settled() && engine.next_at() > now()) network.Settle();
    if (engine.next_at() > until || (script_left_ == 0 && pulls->running() == 0)) return;
    Dispatch(engine.Pop());
  }
}

void World::Crash(HostId id) {
  Host& host = hosts[id];
  if (!host.running) return;
  host.running = false;
  givers->Crash(id);
  fetches->Crash(id);
  if (slots) slots->Crash(id);
  // Those that asked it meet a refusal at once, but rosters take their time.
  At(now() + limits.gone_after, [this, id] {
    if (!hosts[id].running) Gone(id);
  });
}

void World::Restart(HostId id) {
  hosts[id].running = true;
  hosts[id].listed = true;
  swarms->OnRosterChange();
}

void World::SetDark(HostId id, bool dark) {
  if (hosts[id].dark != dark) dark_ += dark ? 1 : -1;
  hosts[id].dark = dark;
  Reblock();
  if (!dark) {
    hosts[id].listed = true;
    swarms->OnRosterChange();
    return;
  }
  At(now() + limits.gone_after, [this, id] {
    if (hosts[id].dark) Gone(id);
  });
}

void World::Gone(HostId id) {
  hosts[id].listed = false;
  swarms->OnPeerGone(id);
  fetches->OnPeerGone(id);
}

void World::SetRate(HostId id, double rate) {
  network.SetRate(hosts[id].up, rate);
  network.SetRate(hosts[id].down, rate);
}

void World::Split(const std::function<int(const Host&)>& group, bool one_way) {
  groups_.clear();
  for (const Host& host : hosts) groups_.push_back(static_cast<std::int8_t>(group(host)));
  one_way_ = one_way;
  Reblock();
}

void World::Heal() {
  groups_.clear();
  Reblock();
}

void World::Reblock() { givers->Reblock(); }

}  // namespace shoal::sim
