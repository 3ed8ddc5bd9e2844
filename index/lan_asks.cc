#include "index/lan_asks.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "index/beacon.h"
#include "index/envelope.h"

namespace shoal::index {
namespace {

constexpr std::string_view kAskContext = "shoal-ask-v1\n";
constexpr std::string_view kAnswerContext = "shoal-answer-v1\n";
constexpr std::size_t kAskBytesMax = 512;
constexpr std::size_t kAskedKeyBytesMax = 255;
// As many neighbours as a LAN index knows. Beyond, the memory of who asked when begins anew.
constexpr std::size_t kAskersMax = 20'000;

}  // namespace

bool IsAskOrAnswer(std::string_view datagram) {
  return datagram.find("\"ask\"") != std::string_view::npos ||
         datagram.find("\"answer\"") != std::string_view::npos;
}

LanAsks::LanAsks(AskLimits limits, const SigningKey& key, Rng rng)
    : limits_(limits), key_(key), rng_(rng) {}

bool LanAsks::Budget::Take(Time now, int per_second) {
  if (now - begin >= std::chrono::seconds(1)) {
    begin = now;
    count = 0;
  }
  return ++count <= per_second;
}

Duration LanAsks::Spread(std::size_t neighbours) {
  if (neighbours <= kAnswersEnough) return Duration(0);
  return std::min(kAnswerSpread * static_cast<std::int64_t>(neighbours), kAnswerSpreadMax);
}

Duration LanAsks::Patience(std::size_t neighbours) const {
  const Duration least = Spread(neighbours) + kAnswerGrace;
  if (!took_) return least;
  return std::clamp(*took_ + 4 * took_apart_, least, Spread(neighbours) + kAnswerGraceMax);
}

void LanAsks::OnFirstAnswer(Duration took) {
  if (!took_) {
    took_ = took;
    took_apart_ = took / 2;
    return;
  }
  took_apart_ = (3 * took_apart_ + std::chrono::abs(*took_ - took)) / 4;
  took_ = (7 * *took_ + took) / 8;
}

void LanAsks::OnEnd(Time now, const Key& key) {
  const auto node = asking_.extract(key);
  if (node.empty() || node.mapped().is_answered) return;
  std::erase_if(ended_, [&](const auto& one) { return now - one.second.when > kLateAnswer; });
  if (ended_.size() < limits_.asking_max) ended_[key] = node.mapped();
}

LanAsks::Asking* LanAsks::Ended(Time now, const Key& key) {
  const auto it = ended_.find(key);
  return it == ended_.end() || now - it->second.when > kLateAnswer ? nullptr : &it->second;
}

std::string LanAsks::Sealed(std::string_view member, std::string_view context,
                            const std::string& payload) const {
  return R"({"shoal":1,"key":")" + ToBase64Url(key_.public_key().bytes) + R"(",")" +
         std::string(member) + R"(":")" + ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
         ToBase64Url(SignIn(context, payload, key_)) + R"("})";
}

std::optional<std::string> LanAsks::Ask(Time now, WallTime wall, const Key& key) {
  SHOAL_CHECK(key.size() <= kAskedKeyBytesMax);
  const auto last = asked_.find(key);
  if (last != asked_.end() && now - last->second < limits_.ask_again) return {};
  if (asking_.size() >= limits_.asking_max || !asks_.Take(now, limits_.asks_per_second)) return {};
  std::erase_if(asked_, [&](const auto& one) { return now - one.second >= limits_.ask_again; });
  asked_[key] = now;
  last_sent_ms_ = std::max(ToUnixMs(wall), last_sent_ms_ + 1);
  asking_[key] = {last_sent_ms_, now, false};
  ended_.erase(key);
  Json payload = Json::object();
  payload["key"] = Json::string(key);
  payload["sent"] = Json::number(last_sent_ms_);
  return Sealed("ask", kAskContext, payload.serialize());
}

Result<LanAsks::Parts> LanAsks::TakeApart(std::string_view datagram) {
  auto json = ParseJson(datagram, kBeaconBytesMax);
  if (!json) return json.error().In("LAN question");
  if (auto version = GetInt(*json, "shoal", 1, 1); !version) return version.error();
  Parts parts;
  parts.is_answer = json->has_field("answer");
  if (parts.is_answer == json->has_field("ask")) {
    return Error{Code::kInvalid, "LAN question: it must have one of \"ask\" and \"answer\""};
  }
  auto key = GetPublicKey(*json, "key");
  if (!key) return key.error();
  parts.key = *key;
  parts.from = PeerIdOf(*key);
  auto payload = GetBase64(*json, parts.is_answer ? "answer" : "ask", kAskBytesMax);
  if (!payload) return payload.error();
  parts.payload = *std::move(payload);
  auto signature = GetSignature(*json, "signature");
  if (!signature) return signature.error();
  parts.signature = *signature;
  auto inner = ParseJson(parts.payload, kAskBytesMax);
  if (!inner) return inner.error().In("LAN question");
  auto asked = GetString(*inner, "key", kAskedKeyBytesMax);
  if (!asked) return asked.error();
  parts.asked = *std::move(asked);
  auto sent = GetInt(*inner, "sent", 0, kJsonIntMax);
  if (!sent) return sent.error();
  parts.sent_ms = *sent;
  if (parts.is_answer) {
    auto asker = GetString(*inner, "asker", 64);
    if (!asker) return asker.error();
    auto id = ParsePeerId(*asker);
    if (!id) return id.error();
    parts.asker = *id;
  }
  return parts;
}

Result<std::variant<LanQuestion, LanAnswer>> LanAsks::OnParts(Time now, const Parts& parts) {
  using Heard = std::variant<LanQuestion, LanAnswer>;
  if (parts.from == key_.id()) return Error{Code::kCancelled, "LAN question: our own"};
  const LanQuestion question{parts.asker.value_or(parts.from), parts.asked, parts.sent_ms};
  const auto asking = asking_.find(parts.asked);
  Asking* ours = asking == asking_.end() ? Ended(now, parts.asked) : &asking->second;
  const bool is_ours =
      question.asker == key_.id() && ours != nullptr && ours->sent_ms == parts.sent_ms;
  const auto waiting = waiting_.find(question);
  // Only what is of interest costs a verification.
  if (parts.is_answer && !is_ours && waiting == waiting_.end()) {
    return Error{Code::kCancelled, "LAN answer: to somebody else"};
  }
  const auto last = last_asks_.find(parts.from);
  if (!parts.is_answer && last != last_asks_.end() && parts.sent_ms <= last->second) {
    return Error{Code::kCancelled, "LAN question: not newer than the last one of the peer"};
  }
  if (!heard_.Take(now, limits_.heard_per_second)) {
    return Error{Code::kExhausted, "LAN question: too many a second"};
  }
  if (!VerifyIn(parts.is_answer ? kAnswerContext : kAskContext, parts.payload, parts.key,
                parts.signature)) {
    return Error{Code::kDenied, "LAN question: the signature is not by its key"};
  }
  if (!parts.is_answer) {
    if (last_asks_.size() >= kAskersMax) last_asks_.clear();
    last_asks_[parts.from] = parts.sent_ms;
    return Heard(question);
  }
  if (is_ours) {
    if (!std::exchange(ours->is_answered, true)) OnFirstAnswer(now - ours->when);
    if (asking != asking_.end()) return Heard(LanAnswer{parts.from, parts.asked});
    ended_.erase(parts.asked);
    return Error{Code::kCancelled, "LAN answer: too late"};
  }
  waiting->second.answered.insert(parts.from);
  if (waiting->second.answered.size() >= kAnswersEnough) waiting_.erase(waiting);
  return Error{Code::kCancelled, "LAN answer: to somebody else"};
}

void LanAsks::OnHolds(Time now, const LanQuestion& question, std::size_t neighbours) {
  if (waiting_.size() >= limits_.waiting_max) return;  // others may hold it too
  const auto spread = static_cast<std::uint64_t>(Spread(neighbours).count());
  waiting_.try_emplace(
      question, Waiting{now + Duration(static_cast<std::int64_t>(rng_.Below(spread + 1))), {}});
}

void LanAsks::OnDeadline(Time now, std::vector<std::string>& out) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.when > now) {
      ++it;
      continue;
    }
    if (answers_.Take(now, limits_.answers_per_second)) {
      Json payload = Json::object();
      payload["key"] = Json::string(it->first.key);
      payload["sent"] = Json::number(it->first.sent_ms);
      payload["asker"] = Json::string(it->first.asker.Hex());
      out.push_back(Sealed("answer", kAnswerContext, payload.serialize()));
    }
    it = waiting_.erase(it);
  }
}

Time LanAsks::NextDeadline() const {
  Time next = kNever;
  for (const auto& [question, waiting] : waiting_) next = std::min(next, waiting.when);
  return next;
}

void LanAsks::CheckInvariants() const {
  SHOAL_CHECK(asking_.size() <= limits_.asking_max);
  SHOAL_CHECK(ended_.size() <= limits_.asking_max);
  SHOAL_CHECK(waiting_.size() <= limits_.waiting_max);
  SHOAL_CHECK(last_asks_.size() <= kAskersMax);
  for (const auto& [question, waiting] : waiting_) {
    SHOAL_CHECK(question.asker != key_.id());
    SHOAL_CHECK(waiting.answered.size() < kAnswersEnough);
  }
}

}  // namespace shoal::index
