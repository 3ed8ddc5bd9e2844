#include "agent/index_search.h"

#include <future>
#include <optional>
#include <utility>

#include "base/rng.h"
#include "fetch/transport/http_client.h"
#include "index/net/io_thread.h"
#include "index/signing_key.h"

namespace shoal::agent {
namespace {

constexpr std::string_view kScheme = "https://";
constexpr std::size_t kAnswerBytesMax = std::size_t{1} << 20;  // 1000 images
constexpr Duration kAnswerTime = std::chrono::seconds(5);

Error WrongUrl(const std::string& url) {
  return {Code::kInvalid,
          "\"" + url + "\" must be like https://host:7383 or https://host:7383#PEERID"};
}

// Nobody is told it, and nothing is gained by guessing it.
index::SigningKey KeyForOnce() {
  Rng rng(index::RandomSeed());
  index::KeySeed seed{};
  for (auto& byte : seed) byte = static_cast<std::byte>(rng.Below(256));
  return index::SigningKey::FromSeed(seed);
}

}  // namespace

Result<Json> AskIndexServer(const std::string& url, const std::string& path) {
  if (!url.starts_with(kScheme)) return WrongUrl(url);
  const auto mark = url.find('#');
  const auto endpoint = index::ParseEndpoint(
      url.substr(kScheme.size(), mark == std::string::npos ? mark : mark - kScheme.size()));
  if (!endpoint) return WrongUrl(url);
  std::optional<PeerId> id;
  if (mark != std::string::npos) {
    const auto parsed = ParsePeerId(std::string_view(url).substr(mark + 1));
    if (!parsed) return WrongUrl(url);
    id = *parsed;
  }
  auto identity = fetch::TlsIdentity::Make(KeyForOnce());
  if (!identity) return identity.error();
  fetch::HttpClient::Options options;
  options.threads = 1;
  options.identity = *identity;
  auto client = fetch::HttpClient::Start(std::move(options));
  if (!client) return client.error();
  fetch::HttpCall call;
  call.url = fetch::PeerUrl(id, *endpoint, path);
  call.peer = fetch::HttpCall::ToPeer{*endpoint, id};
  call.total_timeout = kAnswerTime;
  using Answer = fetch::HttpClient::Answer;
  std::promise<Result<Answer>> promise;
  (*client)->Get(std::move(call), kAnswerBytesMax,
                 [&](Result<Answer> answer) { promise.set_value(std::move(answer)); });
  const auto answer = promise.get_future().get();
  if (!answer) return answer.error().In("index server " + url);
  auto json = ParseJson(answer->body, kAnswerBytesMax);
  if (answer->head.status == 200) return json;
  if (answer->head.status == 404) {
    return Error{Code::kNotFound, "index server " + url +
                                      " does not search; its operator can allow it "
                                      "with rendezvous.search"};
  }
  const auto sentence = json ? GetString(*json, "error", kAnswerBytesMax) : json.error();
  return Error{answer->head.status == 400 ? Code::kInvalid : Code::kExhausted,
               sentence
                   ? *sentence
                   : "index server " + url + " answered " + std::to_string(answer->head.status)};
}

}  // namespace shoal::agent
