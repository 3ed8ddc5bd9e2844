#include "fetch/transport/peer_server.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/json.h"
#include "fetch/transport/map_codec.h"
#include "fetch/transport/zstd_codec.h"

namespace shoal::fetch {
namespace {

constexpr std::string_view kBlobsPath = "/p2p/v1/blobs/";
constexpr int kMapWaitMsMax = 10'000;
// Below this zstd gains less than its frame costs.
constexpr std::size_t kCompressFrom = 256;

std::string_view PathOf(std::string_view target) { return target.substr(0, target.find('?')); }

// The number that query parameter `name` gives; `fallback` when absent, nullopt when it is none.
std::optional<std::int64_t> QueryNumber(std::string_view target, std::string_view name,
                                        std::int64_t fallback) {
  const auto mark = target.find('?');
  if (mark == std::string_view::npos) return fallback;
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (!pair.starts_with(name) || pair.size() <= name.size() || pair[name.size()] != '=') continue;
    const std::string_view value = pair.substr(name.size() + 1);
    std::uint64_t number = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || stop != value.data() + value.size()) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  return fallback;
}

struct ByteRange {
  Bytes begin;
  Bytes end;  // one past the last
};

// Exactly "bytes=a-b".
std::optional<ByteRange> ParseExactRange(std::string_view value) {
  constexpr std::string_view kUnit = "bytes=";
  if (!value.starts_with(kUnit)) return std::nullopt;
  value.remove_prefix(kUnit.size());
  std::int64_t first = 0;
  std::int64_t last = 0;
  const char* const stop = value.data() + value.size();
  auto [dash, error] = std::from_chars(value.data(), stop, first);
  if (error != std::errc() || dash == stop || *dash != '-') return std::nullopt;
  auto [end, last_error] = std::from_chars(dash + 1, stop, last);
  if (last_error != std::errc() || end != stop || first < 0 || last < first) return std::nullopt;
  if (last >= kBlobBytesMax.count()) return std::nullopt;
  return ByteRange{Bytes(first), Bytes(last + 1)};
}

HttpReply Refuse(int status, const std::string& text) {
  HttpReply reply;
  reply.status = status;
  reply.headers = {{"Content-Type", "application/json"}};
  Json body = Json::object();
  body["error"] = Json::string(text);
  reply.body.push_back({body.serialize(), nullptr, {}, {}});
  return reply;
}

bool TakesZstd(const HttpRequest& request) {
  return FindHeader(request.headers, "accept-encoding").find("zstd") != std::string_view::npos;
}

HttpReply JsonReply(std::string body, bool zstd) {
  HttpReply reply;
  reply.headers = {{"Content-Type", "application/json"}};
  if (zstd && body.size() >= kCompressFrom) {
    body = Compress(body);
    reply.headers.emplace_back("Content-Encoding", "zstd");
  }
  reply.body.push_back({std::move(body), nullptr, {}, {}});
  return reply;
}

}  // namespace

void PeerServer::Handle(HttpRequest request, HttpServer::Responder respond) {
  const std::string_view path = PathOf(request.target);
  if (request.method != "GET") return respond(Refuse(405, "only GET is answered here"));
  if (path == "/p2p/v1/record") {
    ports_.loop.Post([self = shared_from_this(), respond = std::move(respond)] {
      respond(JsonReply(self->ports_.own_record(), false));
    });
    return;
  }
  if (!request.peer || !ports_.is_member(*request.peer)) {
    return respond(Refuse(403, "you share no room with this peer"));
  }
  if (path == "/p2p/v1/peers") {
    ports_.loop.Post(
        [self = shared_from_this(), zstd = TakesZstd(request), respond = std::move(respond)] {
          std::string body = "{\"records\":[";
          for (const auto& envelope : self->ports_.records()) {
            if (body.back() != '[') body += ',';
            body += envelope;
          }
          respond(JsonReply(body + "]}", zstd));
        });
    return;
  }
  if (path == "/p2p/v1/keys") return Keys(request, std::move(respond));
  if (!path.starts_with(kBlobsPath)) return respond(Refuse(404, "no such path"));

  std::string_view rest = path.substr(kBlobsPath.size());
  const bool map = rest.ends_with("/map");
  if (map) rest.remove_suffix(4);
  const auto digest = ParseDigest(rest);
  if (!digest) return respond(Refuse(400, digest.error().text));
  if (map) return Map(request, *digest, std::move(respond));
  return Blob(request, *digest, std::move(respond));
}

void PeerServer::Keys(const HttpRequest& request, HttpServer::Responder respond) {
  const auto epoch = QueryNumber(request.target, "epoch", 0);
  const auto after = QueryNumber(request.target, "after", 0);
  const auto limit = QueryNumber(request.target, "limit", index::kKeysPageMax);
  if (!epoch || !after || !limit || *limit < 1) {
    return respond(Refuse(400, "epoch, after and limit must be numbers, limit at least 1"));
  }
  const int bounded = static_cast<int>(std::min<std::int64_t>(*limit, index::kKeysPageMax));
  ports_.loop.Post([self = shared_from_this(), epoch = static_cast<std::uint64_t>(*epoch),
                    after = static_cast<std::uint64_t>(*after), bounded, zstd = TakesZstd(request),
                    respond = std::move(respond)]() mutable {
    // The page is taken on the loop, written out and packed on the pool.
    self->ports_.pool.Post(
        [page = self->ports_.keys(epoch, after, bounded), zstd, respond = std::move(respond)] {
          respond(JsonReply(index::EncodeKeysPage(page), zstd));
        });
  });
}

void PeerServer::Map(const HttpRequest& request, const Digest& digest,
                     HttpServer::Responder respond) {
  const auto known = QueryNumber(request.target, "known", 0);
  const auto wait_ms = QueryNumber(request.target, "wait_ms", 0);
  if (!known || !wait_ms || *known < 0 || *known > kPiecesMax || *wait_ms < 0) {
    return respond(Refuse(400, "known and wait_ms must be numbers"));
  }
  auto live = ports_.fetcher.Find(digest);
  if (!live) return respond(Refuse(404, "nothing of " + ToString(digest) + " is here"));
  auto answer = [live, zstd = TakesZstd(request), respond = std::move(respond)] {
    const PieceMap have = live->have();
    if (live->Failure()) return respond(Refuse(404, "it is not here any more"));
    respond(JsonReply(EncodeMap(live->chain(), have), zstd));
  };
  // Once, whether pieces came or time is up. A first question waits for a first piece: it is being
  // hashed or is about to arrive, and "nothing yet" would only be asked again.
  auto once = std::make_shared<std::function<void()>>(std::move(answer));
  auto mutex = std::make_shared<std::mutex>();
  auto fire = [once, mutex] {
    std::function<void()> run;
    {
      const std::lock_guard lock(*mutex);
      run.swap(*once);
    }
    if (run) run();
  };
  const int reader = live->Join();
  const std::int64_t wait = *known == 0 ? 200 : std::min<std::int64_t>(*wait_ms, kMapWaitMsMax);
  ports_.loop.After(std::chrono::milliseconds(wait), [live, reader, fire] {
    live->Leave(reader);
    fire();
  });
  live->AwaitPieces(reader, static_cast<std::int32_t>(*known), fire);
}

void PeerServer::Blob(const HttpRequest& request, const Digest& digest,
                      HttpServer::Responder respond) {
  auto live = ports_.fetcher.Find(digest);
  if (!live) return respond(Refuse(404, "nothing of " + ToString(digest) + " is here"));
  const Bytes size = live->geometry().blob();
  if (size == Bytes(0)) return respond(Refuse(416, "the blob is empty"));
  const auto range = ParseExactRange(FindHeader(request.headers, "range"));
  if (!range) return respond(Refuse(400, "ask for one range, \"bytes=a-b\""));
  if (range->end > size || !live->Covers(range->begin, range->end)) {
    return respond(Refuse(416, "these pieces are not here"));
  }
  HttpReply reply;
  reply.status = 206;
  reply.headers = {{"Content-Type", "application/octet-stream"},
                   {"Content-Range", "bytes " + std::to_string(range->begin.count()) + "-" +
                                         std::to_string(range->end.count() - 1) + "/" +
                                         std::to_string(size.count())}};
  reply.body.push_back({"", live->file(), range->begin, range->end});
  reply.done = [&counters = ports_.counters, peer = *request.peer](Bytes sent, bool /*whole*/) {
    counters.AddOut(peer, sent.count());
  };
  respond(std::move(reply));
}

}  // namespace shoal::fetch
