// Message: what one host says to another. Every message is a TCP segment train of a connection
// that exists: it arrives after the latency, or not at all.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "tests/sim/host.h"

namespace shoal::sim {

enum class MessageKind : std::uint8_t {
  kNone,
  kMapAsk,
  kMapAnswer,  // map, or else error
  kPieceAsk,
  kPieceHead,  // the answer begins: first
  kPieceBusy,
  kPieceCame,    // the last byte of a piece
  kPieceFailed,  // error; ends the request
  kCancel,       // the asker closed the connection
  kUpstreamAsk,
  kUpstreamHead,
  kUpstreamFailed,
  kSwarmAsk,
  kSwarmAnswer,
  kResolved,  // what the peer index said
};

// Which fetch a message belongs to, over the reuse of slots.
struct FetchRef {
  FetchId at = 0;
  std::uint32_t generation = 0;
};

struct Message {
  MessageKind kind = MessageKind::kNone;
  bool last = false;        // kPieceCame: and of the answer
  Version version = kTrue;  // kPieceCame: what the bytes are
  HostId from = kNoHost;
  HostId to = kNoHost;
  BlobId blob = 0;
  FetchRef fetch;  // the asker's
  fetch::RequestId request = 0;
  fetch::PieceIndex first;                 // kPieceCame: the piece
  std::int32_t count = 0;                  // kMapAsk: known
  std::int32_t known = 0;                  // kPieceAsk: pieces that are known; 0: no news wanted
  Duration wait{0};                        // before it is sent: handshakes, a registry's lookup
  Duration retry{0};                       // kPieceBusy
  const Cut* cut = nullptr;                // how the asker cuts the blob
  std::vector<fetch::PieceIndex> options;  // kPieceAsk: pieces that would do as well
  std::vector<HostId> hosts;               // others to try, holders
  std::shared_ptr<const fetch::HolderMap> map;  // of kPieceHead and kPieceBusy too: news
  std::optional<Error> error;
  std::unique_ptr<index::SwarmAsk> swarm_ask;
  std::unique_ptr<index::SwarmAnswer> swarm_answer;
};

}  // namespace shoal::sim
