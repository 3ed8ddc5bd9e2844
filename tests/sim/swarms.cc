#include "tests/sim/swarms.h"

#include <utility>

#include "tests/sim/slots.h"

namespace shoal::sim {
namespace {

// As agent/arbiters.h has them.
constexpr std::size_t kArbiters = 3;
constexpr Duration kArbiterPatience = std::chrono::milliseconds(100);
constexpr Duration kSlotArbiterPatience = std::chrono::seconds(1);

}  // namespace

const std::vector<HostId>& Swarms::ArbitersOf(const Digest& digest) {
  const auto known = ranks_.find(digest);
  if (known != ranks_.end()) return known->second;
  std::vector<PeerId> living;
  for (HostId host = 0; host < world_.hosts.size(); ++host) {
    if (world_.IsAgent(host) && world_.hosts[host].listed) {
      living.push_back(world_.hosts[host].id);
    }
  }
  std::vector<HostId>& ranked = ranks_[digest];
  if (const auto server = world_.index_server()) ranked.push_back(*server);
  for (const PeerId& peer : index::RankArbiters(digest, living, kArbiters)) {
    ranked.push_back(world_.HostOf(peer));
  }
  return ranked;
}

void Swarms::Ask(FetchId id, const fetch::AskSwarm& action) {
  const Fetch& fetch = (*world_.fetches)[id];
  Round round;
  round.fetch = world_.fetches->RefOf(id);
  const index::SwarmAsk ask{.peer = world_.hosts[fetch.host].id,
                            .digest = world_.blobs.digest(fetch.blob),
                            .wants_lead = action.wants_lead,
                            .whole = action.whole,
                            .leaving = action.leaving,
                            .progress = action.progress,
                            .waiting = action.waiting,
                            .misses_lead = action.misses_lead};
  Send(fetch.host, fetch.blob, ask, std::move(round), kArbiterPatience);
}

void Swarms::AskForSlots(HostId host, std::uint32_t life, const index::SlotAsk& slots) {
  Round round;
  round.slots_of = host;
  round.life = life;
  index::SwarmAsk ask;
  ask.peer = world_.hosts[host].id;
  ask.digest = Slots::Key();
  ask.slots = slots;
  Send(host, 0, ask, std::move(round), kSlotArbiterPatience);
}

void Swarms::Send(HostId from, BlobId blob, const index::SwarmAsk& ask, Round round,
                  Duration patience) {
  const std::vector<HostId>& arbiters = ArbitersOf(ask.digest);
  for (const HostId arbiter : arbiters) round.arbiters[round.count++] = arbiter;
  const std::uint32_t slot = rounds_.Add(std::move(round));
  for (const HostId arbiter : arbiters) {
    Message message;
    message.kind = MessageKind::kSwarmAsk;
    message.from = from;
    message.to = arbiter;
    message.blob = blob;
    message.request = std::uint64_t{rounds_.generation(slot)} << 32 | slot;
    message.swarm_ask = std::make_unique<index::SwarmAsk>(ask);
    world_.Send(std::move(message));
  }
  world_.Plan(world_.now() + patience, EventKind::kSwarmLate, slot, rounds_.generation(slot));
}

void Swarms::OnAsk(const Message& ask) {
  Host& host = world_.hosts[ask.to];
  if (host.lie == Lie::kMute) return;
  if (!host.table) host.table = std::make_unique<index::SwarmTable>(index::SwarmLimits{});
  Message answer;
  answer.kind = MessageKind::kSwarmAnswer;
  answer.from = ask.to;
  answer.to = ask.from;
  answer.request = ask.request;
  answer.swarm_answer =
      std::make_unique<index::SwarmAnswer>(host.table->OnAsk(world_.now(), *ask.swarm_ask));
  if (host.lie != Lie::kHonest) {
    // It says that it leads, and never will.
    answer.swarm_answer->lead = host.id;
    answer.swarm_answer->lease = index::kLeadLease;
  }
  world_.Send(std::move(answer));
  const index::SwarmAsk& said = *ask.swarm_ask;
  const bool fetches = !said.whole && !said.leaving && !said.slots;
  if (fetches && ask.from != ask.to) world_.fetches->OnMembers(ask.to, ask.blob, {ask.from});
}

void Swarms::OnAnswer(const Message& answer) {
  const auto slot = static_cast<std::uint32_t>(answer.request);
  Round* round = rounds_.Find(slot, static_cast<std::uint32_t>(answer.request >> 32));
  if (round == nullptr) return;
  for (std::size_t i = 0; i < round->count; ++i) {
    if (round->arbiters[i] != answer.from) continue;
    round->over[i] = true;
    if (answer.swarm_answer) {
      round->answers[i] = std::make_unique<index::SwarmAnswer>(*answer.swarm_answer);
    }
  }
  Decide(slot, false);
}

void Swarms::OnLate(std::uint32_t slot, std::uint32_t generation) {
  if (rounds_.Find(slot, generation) != nullptr) Decide(slot, true);
}

// The best ranked of those that answered, as soon as nobody ranks better who still may.
void Swarms::Decide(std::uint32_t slot, bool is_late) {
  Round& round = rounds_[slot];
  std::size_t first = 0;
  for (; first < round.count; ++first) {
    if (round.answers[first]) break;
    if (!round.over[first] && !is_late) return;
  }
  const FetchRef fetch = round.fetch;
  const auto slots_of = round.slots_of;
  const std::uint32_t life = round.life;
  const auto answer = first < round.count ? std::move(round.answers[first]) : nullptr;
  rounds_.Free(slot);
  if (slots_of) {
    return world_.slots->OnAnswer(*slots_of, life, answer ? answer->slots : std::nullopt);
  }
  world_.fetches->OnSwarm(fetch, answer.get());
}

void Swarms::OnPeerGone(HostId gone) {
  OnRosterChange();
  const PeerId peer = world_.hosts[gone].id;
  for (Host& host : world_.hosts) {
    if (host.table) host.table->OnPeerGone(world_.now(), peer);
  }
}

}  // namespace shoal::sim
