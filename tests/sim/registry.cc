#include "tests/sim/registry.h"

#include <algorithm>
#include <utility>

#include "tests/sim/givers.h"

namespace shoal::sim {

Registry::Registry(World& world, RegistryLimits limits)
    : world_(world),
      limits_(limits),
      host_(world.AddHost(limits.rate, {})),
      rng_(world.script_rng.Next()) {}

void Registry::SetOutage(Outage outage) {
  outage_ = outage;
  if (outage != Outage::kNone) world_.givers->Crash(host_);
}

void Registry::OnAsk(const Message& ask) {
  Fetch* asker = world_.fetches->Find(ask.fetch);
  if (asker == nullptr || Fetches::FindOpen(*asker, ask.request) == nullptr) return;
  ++asked_;
  if (outage_ == Outage::kHangs) return;
  Message head;
  head.from = host_;
  head.to = ask.from;
  head.blob = ask.blob;
  head.fetch = ask.fetch;
  head.request = ask.request;
  head.wait = limits_.first_byte;
  head.kind = MessageKind::kUpstreamFailed;
  const std::size_t connections = world_.hosts[host_].giving.size();
  if (outage_ == Outage::kRefuses) {
    head.wait = Duration(0);
    head.error = Error{Code::kRetryLater, "the registry cannot be reached"};
  } else if (connections >= limits_.connections_max) {
    head.error = Error{Code::kRetryLater, "the registry answered 429", limits_.retry_after};
  } else if (limits_.fails > 0 && rng_.Unit() < limits_.fails) {
    head.error = Error{Code::kRetryLater, "the registry answered 500"};
  }
  if (head.error) return world_.Send(std::move(head));
  head.kind = MessageKind::kUpstreamHead;
  world_.checker.Expect(connections < limits_.bound, world_.now(),
                        "more connections to the registry than its bound");
  connections_peak_ = std::max(connections_peak_, connections + 1);
  Answer answer;
  answer.from = host_;
  answer.to = ask.from;
  answer.fetch = ask.fetch;
  answer.request = ask.request;
  answer.blob = ask.blob;
  answer.first = answer.next = ask.first;
  answer.end = ask.count > 0 ? ask.first + ask.count : fetch::PieceIndex{fetch::kPiecesMax};
  if (limits_.truncates > 0 && rng_.Unit() < limits_.truncates) {
    answer.breaks_in = ask.first + static_cast<std::int32_t>(rng_.Below(16));
  }
  world_.givers->Begin(answer, limits_.connection_rate);
  world_.Send(std::move(head));
}

}  // namespace shoal::sim
