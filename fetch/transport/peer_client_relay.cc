// What PeerClient asks about being dialled and of relays.
#include <utility>

#include "base/json.h"
#include "fetch/transport/peer_client.h"

namespace shoal::fetch {
namespace {

constexpr std::size_t kReserveAnswerMax = 8 << 10;
constexpr std::size_t kCallsMax = 128;
constexpr std::size_t kDialBackAnswerMax = 1024;
// Of one endpoint; a dial back tries up to four.
constexpr Duration kProbeTime = std::chrono::seconds(2);
constexpr Duration kDialBackTime = std::chrono::seconds(10);
// For an answer that is held on purpose, beyond that.
constexpr Duration kLate = std::chrono::seconds(5);

Result<std::vector<std::uint64_t>> ParseCalls(const std::string& body) {
  auto object = ParseJson(body, kReserveAnswerMax);
  if (!object) return object.error();
  auto list = GetArray(*object, "calls", kCallsMax);
  if (!list) return list.error();
  std::vector<std::uint64_t> calls;
  for (const auto& item : list->as_array()) {
    if (!item.is_number() || !item.as_number().is_uint64()) {
      return Error{Code::kInvalid, "a relay's calls must be numbers"};
    }
    calls.push_back(item.as_number().to_uint64());
  }
  return calls;
}

Error Refused(int status) {
  const Code code = status == 403   ? Code::kDenied
                    : status == 404 ? Code::kNotFound
                    : status == 503 ? Code::kExhausted
                                    : Code::kRetryLater;
  return Error{code, "the peer answered " + std::to_string(status)};
}

}  // namespace

void PeerClient::Probe(const PeerId& peer, const index::Endpoint& endpoint,
                       std::function<void(Status)> done) {
  HttpCall call = CallOf(peer, endpoint, "/p2p/v1/record");
  call.connect_timeout = call.stall_timeout = call.total_timeout = kProbeTime;
  call.fresh = call.close = true;
  client_.Get(std::move(call), index::kRecordBytesMax, [done = std::move(done)](auto answer) {
    done(answer ? Ok() : Status(answer.error()));
  });
}

void PeerClient::AskDialBack(const PeerId& peer, const index::Endpoint& endpoint,
                             const std::string& own, std::function<void(Result<bool>)> done) {
  HttpCall call = Post(peer, endpoint, "/p2p/v1/dialback", "");
  call.headers.emplace_back("Shoal-Record", own);
  call.stall_timeout = call.total_timeout = kDialBackTime;
  client_.Get(std::move(call), kDialBackAnswerMax, [done = std::move(done)](auto answer) {
    if (!answer) return done(answer.error());
    if (answer->head.status != 200) return done(Refused(answer->head.status));
    auto object = ParseJson(answer->body, kDialBackAnswerMax);
    if (!object) return done(object.error());
    done(GetBool(*object, "dialled"));
  });
}

void PeerClient::Reserve(const PeerId& relay, const index::Endpoint& endpoint,
                         const std::string& own, Duration wait,
                         std::function<void(Result<std::vector<std::uint64_t>>)> done) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
  HttpCall call = Post(relay, endpoint, "/p2p/v1/relay?wait_ms=" + std::to_string(ms), "");
  call.headers.emplace_back("Shoal-Record", own);
  call.stall_timeout = call.total_timeout = wait + kLate;
  client_.Get(std::move(call), kReserveAnswerMax, [done = std::move(done)](auto answer) {
    if (!answer) return done(answer.error());
    if (answer->head.status != 200) return done(Refused(answer->head.status));
    done(ParseCalls(answer->body));
  });
}

void PeerClient::Release(const PeerId& relay, const index::Endpoint& endpoint) {
  client_.Get(Post(relay, endpoint, "/p2p/v1/relay?release=1", ""), kReserveAnswerMax,
              [](const auto&) {});
}

}  // namespace shoal::fetch
