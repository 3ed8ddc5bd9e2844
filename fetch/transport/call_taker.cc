#include "fetch/transport/call_taker.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <utility>

#include "base/check.h"

namespace shoal::fetch {
namespace {

// The relay gives a call up after 2 s.
constexpr Duration kTakeTime = std::chrono::seconds(3);

}  // namespace

void CallTaker::Take(const index::Endpoint& relay, std::uint64_t call) {
  SHOAL_CHECK(relay.relay.has_value());
  if (taken_.fetch_add(1) >= kTakenMax) {
    taken_.fetch_sub(1);
    return;
  }
  splicer_.Dial(relay, identity_.ClientContext(*relay.relay),
                std::to_string(call) + ".call.shoal:443", kTakeTime,
                [this, relay](Result<std::unique_ptr<RawConnection>> circuit) {
                  if (circuit) return Serving(relay, *std::move(circuit));
                  taken_.fetch_sub(1);
                  spdlog::debug("a call was not taken: {}", circuit.error().text);
                });
}

void CallTaker::Serving(const index::Endpoint& relay, std::unique_ptr<RawConnection> circuit) {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    taken_.fetch_sub(1);
    spdlog::warn("a call cannot be taken: too many open files; raise LimitNOFILE");
    return;
  }
  serve_(std::make_unique<RawConnection>(ends[0], nullptr), "relay " + relay.relay->Short());
  splicer_.Splice(next_.fetch_add(1), std::move(circuit),
                  std::make_unique<RawConnection>(ends[1], nullptr),
                  [this] { taken_.fetch_sub(1); });
}

}  // namespace shoal::fetch
