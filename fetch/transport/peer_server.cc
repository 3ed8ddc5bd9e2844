#include "fetch/transport/peer_server.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "base/json.h"
#include "fetch/transport/map_codec.h"
#include "fetch/transport/zstd_codec.h"
#include "index/swarm_messages.h"

namespace shoal::fetch {
namespace {

constexpr std::string_view kBlobsPath = "/p2p/v1/blobs/";
constexpr std::string_view kRoomsPath = "/p2p/v1/rooms/";
constexpr std::string_view kFeedPath = "/p2p/v1/feed/";
constexpr std::string_view kRelayPath = "/p2p/v1/relay";
constexpr std::string_view kDialBackPath = "/p2p/v1/dialback";
constexpr std::int64_t kMapWaitMsMax = 10'000;
constexpr std::int64_t kRelayWaitMsMax = 60'000;  // of what is asked; RelayService bounds the wait
constexpr std::int64_t kFirstMapWaitMs = 200;
constexpr std::size_t kOptionsMax = 64;
constexpr const char* kNoQuestion = "known, wait_ms, epoch and states must be numbers";
// Below this zstd gains less than its frame costs.
constexpr std::size_t kCompressFrom = 256;

std::string_view PathOf(std::string_view target) { return target.substr(0, target.find('?')); }

// What query parameter `name` gives; `fallback` when absent.
std::string_view QueryText(std::string_view target, std::string_view name,
                           std::string_view fallback) {
  const auto mark = target.find('?');
  if (mark == std::string_view::npos) return fallback;
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (!pair.starts_with(name) || pair.size() <= name.size() || pair[name.size()] != '=') continue;
    return pair.substr(name.size() + 1);
  }
  return fallback;
}

// The same as a number; nullopt when it is none.
std::optional<std::int64_t> QueryNumber(std::string_view target, std::string_view name,
                                        std::int64_t fallback) {
  const std::string absent = std::to_string(fallback);
  const std::string_view value = QueryText(target, name, absent);
  std::uint64_t number = 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || stop != value.data() + value.size()) return std::nullopt;
  return static_cast<std::int64_t>(number);
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

// "5,9,12" of at most kOptionsMax pieces below `count`; "" for none.
std::optional<std::vector<PieceIndex>> ParseOptions(std::string_view list, std::int32_t count) {
  std::vector<PieceIndex> options;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::int32_t piece = 0;
    const auto [end, error] = std::from_chars(list.data(), list.data() + comma, piece);
    if (error != std::errc() || end != list.data() + comma || piece < 0 || piece >= count ||
        options.size() == kOptionsMax) {
      return std::nullopt;
    }
    options.push_back({piece});
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return options;
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

HttpReply NoRoom() { return Refuse(403, "you share no room with this peer"); }

// The same whether it is not here or not this peer's to know.
HttpReply Nothing(const Digest& digest) {
  return Refuse(404, "nothing of " + ToString(digest) + " is here");
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

// The record that the asker shows of itself, if it does.
Result<std::optional<index::SignedRecord>> PeerServer::Shown(const HttpRequest& request) {
  const std::string_view envelope = FindHeader(request.headers, "shoal-record");
  if (!request.peer || envelope.empty()) return std::optional<index::SignedRecord>();
  auto record = index::SignedRecord::Parse(envelope);
  if (!record) return record.error().In("Shoal-Record");
  if (record->id() != *request.peer) {
    return Error{Code::kInvalid, "Shoal-Record must be your own record"};
  }
  return std::optional(*std::move(record));
}

void PeerServer::Record(const HttpRequest& request, HttpServer::Responder respond) {
  auto shown = Shown(request);
  if (!shown) return respond(Refuse(400, shown.error().text));
  ports_.loop.Post(
      [self = shared_from_this(), shown = *std::move(shown), respond = std::move(respond)] {
        if (shown && self->ports_.on_record) self->ports_.on_record(*shown);
        respond(JsonReply(self->ports_.own_record(), false));
      });
}

void PeerServer::Relay(const HttpRequest& request, std::string_view path,
                       HttpServer::Responder respond) {
  if (path == kDialBackPath) {
    const auto shown = Shown(request);
    if (!shown) return respond(Refuse(400, shown.error().text));
    if (!*shown) return respond(Refuse(400, "show your record as Shoal-Record"));
    if (!relaying_.dial_back) return respond(Refuse(404, "this peer dials nobody back"));
    return relaying_.dial_back->Answer(**shown, std::move(respond));
  }
  if (!relaying_.relay) return respond(Refuse(404, "this peer is no relay"));
  if (request.method == "CONNECT") {
    return relaying_.relay->Connect(*request.peer, request.target, std::move(respond));
  }
  const auto release = QueryNumber(request.target, "release", 0);
  const auto wait_ms = QueryNumber(request.target, "wait_ms", 0);
  const auto shown = Shown(request);
  if (!release || !wait_ms || *wait_ms < 0 || *wait_ms > kRelayWaitMsMax) {
    return respond(Refuse(400, "release and wait_ms must be numbers"));
  }
  if (!shown) return respond(Refuse(400, shown.error().text));
  if (*release != 0) return relaying_.relay->Release(*request.peer, std::move(respond));
  if (*shown && ports_.on_record) {
    ports_.loop.Post(
        [self = shared_from_this(), record = **shown] { self->ports_.on_record(record); });
  }
  relaying_.relay->Reserve(*request.peer, std::chrono::milliseconds(*wait_ms), std::move(respond));
}

void PeerServer::Handle(HttpRequest request, HttpServer::Responder respond) {
  const std::string_view path = PathOf(request.target);
  if (request.method == "CONNECT" || path == kRelayPath || path == kDialBackPath) {
    if (request.method != "CONNECT" && request.method != "POST") {
      return respond(Refuse(405, "this is asked by POST"));
    }
    if (!request.peer || !ports_.gate.is_member(*request.peer)) return respond(NoRoom());
    return Relay(request, path, std::move(respond));
  }
  const bool swarm = path.starts_with(kBlobsPath) && path.ends_with("/swarm");
  const bool meet = path.starts_with(kRoomsPath);
  const bool feed = path.starts_with(kFeedPath);
  const bool posted = swarm || meet || feed;
  if (request.method != (posted ? "POST" : "GET")) {
    return respond(Refuse(405, posted ? "this is asked by POST" : "this is asked by GET"));
  }
  if (path == "/p2p/v1/record") return Record(request, std::move(respond));
  if (!request.peer) return respond(NoRoom());
  if (meet) return Meet(request, std::move(respond));
  if (!ports_.gate.is_member(*request.peer)) return respond(NoRoom());
  if (path == "/p2p/v1/peers") return Peers(request, std::move(respond));
  if (path == "/p2p/v1/peers/names") return Names(request, std::move(respond));
  if (feed) return Feed(request, std::move(respond));
  if (path == "/p2p/v1/keys") return Keys(request, std::move(respond));
  if (!path.starts_with(kBlobsPath)) return respond(Refuse(404, "no such path"));

  std::string_view rest = path.substr(kBlobsPath.size());
  const bool map = rest.ends_with("/map");
  if (map || swarm) rest.remove_suffix(map ? 4 : 6);
  const auto digest = ParseDigest(rest);
  if (!digest) return respond(Refuse(400, digest.error().text));
  if (swarm) return Swarm(request, *digest, std::move(respond));
  if (map) return Map(request, *digest, std::move(respond));
  return Blob(request, *digest, std::move(respond));
}

void PeerServer::Peers(const HttpRequest& request, HttpServer::Responder respond) {
  auto names = index::DecodeNames(QueryText(request.target, "names", ""), index::kRecordsAskedMax);
  if (!names) return respond(Refuse(400, names.error().text));
  ports_.loop.Post([self = shared_from_this(), peer = *request.peer, names = *std::move(names),
                    zstd = TakesZstd(request), respond = std::move(respond)] {
    std::string body = "{\"records\":[";
    for (const auto& envelope : self->ports_.records(peer, names)) {
      if (body.back() != '[') body += ',';
      body += envelope;
    }
    respond(JsonReply(body + "]}", zstd));
  });
}

void PeerServer::Names(const HttpRequest& request, HttpServer::Responder respond) {
  const bool whole = QueryText(request.target, "fresh", "0") == "0";
  ports_.loop.Post(
      [self = shared_from_this(), peer = *request.peer, whole, respond = std::move(respond)] {
        // Not packed: ids are as random as anything.
        const auto names = index::EncodeNames(self->ports_.names(peer, whole));
        respond(JsonReply("{\"names\":\"" + names + "\"}", false));
      });
}

void PeerServer::Meet(const HttpRequest& request, HttpServer::Responder respond) {
  // Signatures are verified on the pool.
  ports_.pool.Post([self = shared_from_this(), peer = *request.peer,
                    room = std::string(PathOf(request.target).substr(kRoomsPath.size())),
                    body = request.body, zstd = TakesZstd(request), respond = std::move(respond)] {
    auto answer = self->ports_.gate.meet(peer, room, body);
    if (answer) return respond(JsonReply(*std::move(answer), zstd));
    respond(answer.error().code == Code::kDenied ? NoRoom() : Refuse(400, answer.error().text));
  });
}

void PeerServer::Feed(const HttpRequest& request, HttpServer::Responder respond) {
  // "<room>", or "<room>/<number>" for what is said to one message.
  const std::string_view rest = PathOf(request.target).substr(kFeedPath.size());
  const std::size_t slash = rest.find('/');
  const std::string room(rest.substr(0, slash));
  if (slash != std::string_view::npos) {
    const std::string_view text = rest.substr(slash + 1);
    std::uint64_t sequence = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sequence);
    if (error != std::errc() || end != text.data() + text.size()) {
      return respond(Refuse(400, "the number of a message must be a number"));
    }
    ports_.loop.Post([self = shared_from_this(), peer = *request.peer, room, sequence,
                      body = request.body, respond = std::move(respond)] {
      const Status taken = self->ports_.feed_answer(peer, room, sequence, body);
      if (taken) return respond(JsonReply("{}", false));
      const Code code = taken.error().code;
      respond(code == Code::kDenied
                  ? NoRoom()
                  : Refuse(code == Code::kNotFound ? 404 : 400, taken.error().text));
    });
    return;
  }
  ports_.pool.Post([self = shared_from_this(), peer = *request.peer, room, body = request.body,
                    zstd = TakesZstd(request), respond = std::move(respond)] {
    auto frame = index::DecodeFeedFrame(body);
    if (!frame) return respond(Refuse(400, frame.error().text));
    self->ports_.loop.Post([self, peer, room, zstd, respond, frame = *std::move(frame)] {
      const auto answer = self->ports_.feed(peer, room, frame);
      if (!answer) return respond(NoRoom());
      respond(JsonReply(index::EncodeFeedFrame(*answer), zstd));
    });
  });
}

void PeerServer::Keys(const HttpRequest& request, HttpServer::Responder respond) {
  const auto epoch = QueryNumber(request.target, "epoch", 0);
  const auto after = QueryNumber(request.target, "after", 0);
  const auto limit = QueryNumber(request.target, "limit", index::kKeysPageMax);
  if (!epoch || !after || !limit || *limit < 1) {
    return respond(Refuse(400, "epoch, after and limit must be numbers, limit at least 1"));
  }
  const int bounded = static_cast<int>(std::min<std::int64_t>(*limit, index::kKeysPageMax));
  ports_.loop.Post([self = shared_from_this(), peer = *request.peer,
                    epoch = static_cast<std::uint64_t>(*epoch),
                    after = static_cast<std::uint64_t>(*after), bounded, zstd = TakesZstd(request),
                    respond = std::move(respond)]() mutable {
    // The page is taken on the loop, written out and packed on the pool.
    self->ports_.pool.Post(
        [page = self->ports_.keys(peer, epoch, after, bounded), zstd,
         respond = std::move(respond)] { respond(JsonReply(index::EncodeKeysPage(page), zstd)); });
  });
}

void PeerServer::Swarm(const HttpRequest& request, const Digest& digest,
                       HttpServer::Responder respond) {
  const auto lead = QueryNumber(request.target, "lead", 0);
  const auto whole = QueryNumber(request.target, "whole", 0);
  const auto leaving = QueryNumber(request.target, "leaving", 0);
  const auto progress = QueryNumber(request.target, "progress", 0);
  if (!lead || !whole || !leaving || !progress || *progress < 0) {
    return respond(Refuse(400, "lead, whole, leaving and progress must be numbers"));
  }
  const auto waiting = QueryNumber(request.target, "waiting", 0);
  const auto missed = QueryNumber(request.target, "missed", 0);
  const auto most = QueryNumber(request.target, "of", 0);
  const auto want = QueryNumber(request.target, "slots", 0);
  const auto held = QueryNumber(request.target, "held", 0);
  if (!waiting || !missed || !most || !want || !held) {
    return respond(Refuse(400, "waiting, missed, slots, held and of must be numbers"));
  }
  index::SwarmAsk ask{.peer = *request.peer,
                      .digest = digest,
                      .wants_lead = *lead != 0,
                      .whole = *whole != 0,
                      .leaving = *leaving != 0,
                      .progress = *progress,
                      .waiting = *waiting != 0,
                      .misses_lead = *missed != 0};
  if (*most != 0) {
    // What is absurd is brought to the limits by RegistrySlots.
    const auto bounded = [](std::int64_t n) {
      return static_cast<int>(std::clamp<std::int64_t>(n, 0, 1'000'000));
    };
    ask.slots = index::SlotAsk{bounded(*want), bounded(*held), bounded(*most)};
  }
  const std::string room(QueryText(request.target, "room", index::kOpenRoom));
  ports_.loop.Post([self = shared_from_this(), ask, room, respond = std::move(respond)] {
    const auto answer = self->ports_.swarm(room, ask);
    if (!answer) return respond(NoRoom());
    respond(JsonReply(index::EncodeSwarmAnswer(*answer), false));
    if (ask.slots || ask.whole || ask.leaving) return;
    if (!self->ports_.gate.may_share(ask.peer, ask.digest)) return;
    self->ports_.fetcher.OnMember(ask.digest, ask.peer);
  });
}

std::optional<PeerServer::MapQuestion> PeerServer::QuestionOf(const HttpRequest& request) {
  const auto known = QueryNumber(request.target, "known", 0);
  const auto wait_ms = QueryNumber(request.target, "wait_ms", 0);
  const auto epoch = QueryNumber(request.target, "epoch", 0);
  const auto states = QueryNumber(request.target, "states", 1);
  if (!known || !wait_ms || !epoch || !states || *known < 0 || *known > kPiecesMax ||
      *wait_ms < 0 || *states < 1 || *states > kPiecesMax) {
    return std::nullopt;
  }
  return MapQuestion{static_cast<std::int32_t>(*known),
                     *known == 0 ? kFirstMapWaitMs : std::min(*wait_ms, kMapWaitMsMax),
                     static_cast<std::uint64_t>(*epoch), static_cast<std::int32_t>(*states),
                     TakesZstd(request)};
}

void PeerServer::Map(const HttpRequest& request, const Digest& digest,
                     HttpServer::Responder respond) {
  const auto asked = QuestionOf(request);
  if (!asked) return respond(Refuse(400, kNoQuestion));
  const MapQuestion question = *asked;
  if (!ports_.gate.may_share(*request.peer, digest)) return respond(Nothing(digest));
  auto live = ports_.fetcher.Find(digest);
  if (live && question.known > 0) return AnswerMap(live, question, std::move(respond));
  // A first question: whoever asks fetches it too, and we may be about to.
  ports_.loop.Post([self = shared_from_this(), live, digest, peer = *request.peer, question,
                    respond = std::move(respond)]() mutable {
    if (live) {
      self->ports_.fetcher.OnMember(digest, peer);
      return self->AnswerMap(live, question, std::move(respond));
    }
    const auto wait = std::chrono::milliseconds(question.wait_ms);
    self->ports_.fetcher.OnMemberAsked(
        digest, peer, wait,
        [self, digest, question,
         respond = std::move(respond)](const std::shared_ptr<LiveBlob>& begun) mutable {
          if (begun) return self->AnswerMap(begun, question, std::move(respond));
          respond(Nothing(digest));
        });
  });
}

std::string PeerServer::MapFor(const LiveBlob& live, const PieceMap& have,
                               const MapQuestion& question) {
  // The epoch first: states that are taken back after it only make the answer longer.
  const std::uint64_t epoch = live.chain_epoch();
  const std::int32_t from = question.epoch == epoch ? question.states : 1;
  return EncodeMap(live.chain(), have, epoch, from);
}

void PeerServer::AnswerMap(const std::shared_ptr<LiveBlob>& live, const MapQuestion& question,
                           HttpServer::Responder respond) {
  auto answer = [live, question, respond = std::move(respond)] {
    const PieceMap have = live->have();
    if (live->Failure()) return respond(Refuse(404, "it is not here any more"));
    respond(JsonReply(MapFor(*live, have, question), question.zstd));
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
  if (!live->AwaitPieces(reader, question.known, fire)) return;
  ports_.loop.After(std::chrono::milliseconds(question.wait_ms), [live, reader, fire] {
    live->Leave(reader);
    fire();
  });
}

void PeerServer::Blob(const HttpRequest& request, const Digest& digest,
                      HttpServer::Responder respond) {
  if (!ports_.gate.may_share(*request.peer, digest)) return respond(Nothing(digest));
  auto live = ports_.fetcher.Find(digest);
  if (!live) return respond(Nothing(digest));
  const Geometry& geometry = live->geometry();
  if (geometry.blob() == Bytes(0)) return respond(Refuse(416, "the blob is empty"));
  const auto range = ParseExactRange(FindHeader(request.headers, "range"));
  if (!range) return respond(Refuse(400, "ask for one range, \"bytes=a-b\""));
  const auto options = ParseOptions(FindHeader(request.headers, "shoal-or"), geometry.count());
  if (!options) return respond(Refuse(400, "Shoal-Or must be a list of at most 64 pieces"));
  const auto question = QuestionOf(request);
  if (!question) return respond(Refuse(400, kNoQuestion));
  if (range->end > geometry.blob()) return respond(Refuse(416, "these pieces are not here"));

  const PieceIndex first = geometry.At(range->begin);
  const bool is_piece = range->begin == geometry.OffsetOf(first) &&
                        range->end == range->begin + geometry.LengthOf(first);
  if (!is_piece) {
    // Another cut than ours, or a part: sent as asked, and not weighed against others.
    if (!live->Covers(range->begin, range->end)) {
      return respond(Refuse(416, "these pieces are not here"));
    }
    return SendRange(*request.peer, live, range->begin, range->end, {}, {}, respond);
  }
  std::vector<PieceIndex> wanted;
  if (live->Has(first)) wanted.push_back(first);
  for (const PieceIndex piece : *options) {
    if (piece != first && live->Has(piece)) wanted.push_back(piece);
  }
  if (wanted.empty()) return respond(Refuse(416, "these pieces are not here"));
  // News travel with the pieces where they are short: the asker need not come for them.
  HttpHeaders news;
  if (question->known > 0) {
    const PieceMap have = live->have();
    std::string map = have.count() > question->known ? MapFor(*live, have, *question) : "";
    if (!map.empty() && map.size() <= kNewsBytesMax) news.emplace_back("Shoal-Map", std::move(map));
  }
  ports_.loop.Post([self = shared_from_this(), peer = *request.peer, live = std::move(live),
                    wanted = std::move(wanted), news = std::move(news),
                    respond = std::move(respond)]() mutable {
    self->Give(peer, live, wanted, std::move(news), respond);
  });
}

void PeerServer::Give(const PeerId& peer, const std::shared_ptr<LiveBlob>& live,
                      const std::vector<PieceIndex>& wanted, HttpHeaders news,
                      const HttpServer::Responder& respond) {
  const Geometry& geometry = live->geometry();
  const auto given = desk_.OnAsk(ports_.loop.Now(), peer, live->digest(), geometry, wanted, 1,
                                 ports_.fetcher.Firsthand(live->digest()));
  if (const auto* busy = std::get_if<UploadBusy>(&given)) {
    HttpReply reply = Refuse(503, "all slots are taken; ask again, or ask others");
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(busy->retry).count();
    reply.headers.emplace_back("Shoal-Busy-Ms", std::to_string(ms));
    std::ranges::move(news, std::back_inserter(reply.headers));
    std::string others;
    for (const PeerId& other : busy->others) {
      if (!ports_.gate.in_one_room(peer, other)) continue;
      others += (others.empty() ? "" : ",") + other.Hex();
    }
    if (!others.empty()) reply.headers.emplace_back("Shoal-Try", others);
    return respond(std::move(reply));
  }
  const auto& grant = std::get<UploadGrant>(given);
  const PieceIndex end = grant.first + grant.count;
  const Bytes begin = geometry.OffsetOf(grant.first);
  SendRange(
      peer, live, begin, std::min(geometry.blob(), geometry.piece() * end.value), std::move(news),
      [self = shared_from_this(), id = grant.id](Bytes sent) {
        if (id == 0) return;
        self->ports_.loop.Post(
            [self, id, sent] { self->desk_.OnSent(self->ports_.loop.Now(), id, sent); });
      },
      respond);
}

void PeerServer::SendRange(const PeerId& peer, const std::shared_ptr<LiveBlob>& live, Bytes begin,
                           Bytes end, HttpHeaders news, std::function<void(Bytes)> sent,
                           const HttpServer::Responder& respond) {
  HttpReply reply;
  reply.status = 206;
  reply.headers = {{"Content-Type", "application/octet-stream"},
                   {"Content-Range", "bytes " + std::to_string(begin.count()) + "-" +
                                         std::to_string(end.count() - 1) + "/" +
                                         std::to_string(live->geometry().blob().count())}};
  std::ranges::move(news, std::back_inserter(reply.headers));
  reply.body.push_back({"", live->file(), begin, end});
  reply.done = [&counters = ports_.counters, peer, sent = std::move(sent)](Bytes count,
                                                                           bool /*whole*/) {
    counters.AddOut(peer, count.count());
    if (sent) sent(count);
  };
  respond(std::move(reply));
}

}  // namespace shoal::fetch
