#include "fetch/transport/peer_client.h"

#include <utility>

#include "base/json.h"
#include "fetch/transport/zstd_codec.h"
#include "index/room_messages.h"
#include "index/swarm_messages.h"

namespace shoal::fetch {
namespace {

constexpr std::size_t kPeersBytesMax = 512 << 10;
constexpr std::size_t kPeersMax = 100;
constexpr std::size_t kSmallAnswerBytesMax = 1024;
constexpr Duration kAnswerTime = std::chrono::seconds(5);
// Whoever asks a swarm waits far shorter, and does not ask again meanwhile; a later answer still
// names members.
constexpr Duration kSwarmTime = std::chrono::seconds(2);

}  // namespace

HttpCall PeerClient::CallOf(std::optional<PeerId> peer, const index::Endpoint& endpoint,
                            const std::string& path) {
  HttpCall call;
  call.url = PeerUrl(peer, endpoint, path);
  call.headers = {{"Accept-Encoding", "zstd"}};
  call.peer = HttpCall::ToPeer{endpoint, peer};
  call.connect_timeout = std::chrono::seconds(2);
  call.stall_timeout = kAnswerTime;
  call.total_timeout = kAnswerTime * 4;
  return call;
}

void PeerClient::Get(std::optional<PeerId> peer, const index::Endpoint& endpoint,
                     const std::string& path, std::size_t max_bytes,
                     std::function<void(Result<std::string>)> done) {
  Ask(CallOf(peer, endpoint, path), max_bytes, std::move(done));
}

void PeerClient::Ask(HttpCall call, std::size_t max_bytes,
                     std::function<void(Result<std::string>)> done) {
  client_.Get(std::move(call), max_bytes, [max_bytes, done = std::move(done)](auto answer) {
    if (!answer) return done(answer.error());
    if (answer->head.status != 200) {
      const auto code = answer->head.status == 403 ? Code::kDenied : Code::kRetryLater;
      return done(Error{code, "the peer answered " + std::to_string(answer->head.status)});
    }
    done(DecodeBody(answer->head, std::move(answer->body), max_bytes));
  });
}

void PeerClient::FetchRecord(const index::Endpoint& endpoint, const std::string& own,
                             std::function<void(Result<index::SignedRecord>)> done,
                             std::optional<PeerId> peer) {
  HttpCall call = CallOf(peer, endpoint, "/p2p/v1/record");
  call.headers.emplace_back("Shoal-Record", own);
  Ask(std::move(call), index::kRecordBytesMax, [done = std::move(done)](Result<std::string> body) {
    if (!body) return done(body.error());
    done(index::SignedRecord::Parse(*body));
  });
}

void PeerClient::FetchNames(const PeerId& peer, const index::Endpoint& endpoint, bool whole,
                            std::function<void(Result<std::vector<index::PeerName>>)> done) {
  Get(peer, endpoint, whole ? "/p2p/v1/peers/names" : "/p2p/v1/peers/names?fresh=1",
      index::kPeerNamesBytesMax, [done = std::move(done)](Result<std::string> body) {
        if (!body) return done(body.error());
        auto object = ParseJson(*body, index::kPeerNamesBytesMax);
        if (!object) return done(object.error());
        auto text = GetString(*object, "names", index::kPeerNamesBytesMax);
        if (!text) return done(text.error());
        done(index::DecodeNames(*text, index::kPeerNamesMax));
      });
}

void PeerClient::FetchPeers(const PeerId& peer, const index::Endpoint& endpoint,
                            const std::vector<index::PeerName>& names,
                            std::function<void(Result<std::vector<index::SignedRecord>>)> done) {
  Get(peer, endpoint, "/p2p/v1/peers?names=" + index::EncodeNames(names), kPeersBytesMax,
      [done = std::move(done)](Result<std::string> body) {
        if (!body) return done(body.error());
        auto object = ParseJson(*body, kPeersBytesMax);
        if (!object) return done(object.error());
        auto list = GetArray(*object, "records", kPeersMax);
        if (!list) return done(list.error());
        std::vector<index::SignedRecord> records;
        for (const auto& item : list->as_array()) {
          auto record = index::SignedRecord::Parse(item.serialize());
          if (!record) return done(record.error());
          records.push_back(std::move(*record));
        }
        done(std::move(records));
      });
}

void PeerClient::FetchKeys(const PeerId& peer, const index::Endpoint& endpoint, std::uint64_t epoch,
                           std::uint64_t after, std::function<void(Result<index::KeysPage>)> done) {
  const std::string path = "/p2p/v1/keys?epoch=" + std::to_string(epoch) +
                           "&after=" + std::to_string(after) +
                           "&limit=" + std::to_string(index::kKeysPageMax);
  Get(peer, endpoint, path, index::kKeysPageBytesMax,
      [done = std::move(done)](Result<std::string> body) {
        if (!body) return done(body.error());
        done(index::DecodeKeysPage(*body));
      });
}

void PeerClient::Meet(const PeerId& peer, const index::Endpoint& endpoint,
                      const index::RoomId& room, std::string question,
                      std::function<void(Result<std::string>)> done) {
  HttpCall call = Post(peer, endpoint, "/p2p/v1/rooms/" + room.Hex(), std::move(question));
  Ask(std::move(call), index::kMeetingAnswerBytesMax, std::move(done));
}

HttpCall PeerClient::Post(const PeerId& peer, const index::Endpoint& endpoint,
                          const std::string& path, std::string body) {
  HttpCall call;
  call.method = "POST";
  call.url = PeerUrl(peer, endpoint, path);
  call.headers = {{"Accept-Encoding", "zstd"}};
  call.body = std::move(body);
  call.peer = HttpCall::ToPeer{endpoint, peer};
  call.connect_timeout = std::chrono::seconds(2);
  call.stall_timeout = kAnswerTime;
  call.total_timeout = kAnswerTime * 4;
  return call;
}

void PeerClient::SendFeed(const PeerId& peer, const index::Endpoint& endpoint,
                          const std::string& room, const index::FeedFrame& frame,
                          std::function<void(Result<index::FeedFrame>)> done) {
  Ask(Post(peer, endpoint, "/p2p/v1/feed/" + room, index::EncodeFeedFrame(frame)),
      index::kFeedFrameBytesMax, [done = std::move(done)](Result<std::string> body) {
        if (!body) return done(body.error());
        done(index::DecodeFeedFrame(*body));
      });
}

void PeerClient::AnswerFeed(const PeerId& peer, const index::Endpoint& endpoint,
                            const std::string& room, std::uint64_t sequence, std::string body,
                            std::function<void(Status)> done) {
  Ask(Post(peer, endpoint, "/p2p/v1/feed/" + room + "/" + std::to_string(sequence),
           std::move(body)),
      kSmallAnswerBytesMax, [done = std::move(done)](const Result<std::string>& answer) {
        done(answer ? Ok() : Status(answer.error()));
      });
}

void PeerClient::AskSwarm(const PeerId& peer, const index::Endpoint& endpoint,
                          const std::string& room, const index::SwarmAsk& ask,
                          std::function<void(Result<index::SwarmAnswer>)> done) {
  std::string path = "/p2p/v1/blobs/" + ToString(ask.digest) +
                     "/swarm?progress=" + std::to_string(ask.progress) + "&room=" + room;
  if (ask.wants_lead) path += "&lead=1";
  if (ask.whole) path += "&whole=1";
  if (ask.leaving) path += "&leaving=1";
  if (ask.waiting) path += "&waiting=1";
  if (ask.misses_lead) path += "&missed=1";
  if (ask.slots) {
    path += "&slots=" + std::to_string(ask.slots->want) +
            "&held=" + std::to_string(ask.slots->held) + "&of=" + std::to_string(ask.slots->most);
  }
  HttpCall call;
  call.method = "POST";
  call.url = PeerUrl(peer, endpoint, path);
  call.peer = HttpCall::ToPeer{endpoint, peer};
  call.connect_timeout = call.stall_timeout = kSwarmTime;
  client_.Get(std::move(call), index::kSwarmAnswerBytesMax, [done = std::move(done)](auto answer) {
    if (!answer) return done(answer.error());
    if (answer->head.status != 200) {
      return done(
          Error{Code::kRetryLater, "the peer answered " + std::to_string(answer->head.status)});
    }
    done(index::DecodeSwarmAnswer(answer->body));
  });
}

}  // namespace shoal::fetch
