// DialBack: tells a peer whether we can dial it (docs/RELAY.md, "Can I be dialled?").
//
// Limits: the first kDialledMax endpoints of the asker's own record; one question of a peer at a
// time and kDialBackPace apart; kDialBacksMax at once. So nobody makes us dial more than it could
// by its record anyway, which its room's members dial as well.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/executor.h"
#include "fetch/transport/http_server.h"
#include "fetch/transport/peer_client.h"

namespace shoal::fetch {

inline constexpr std::size_t kDialledMax = 4;
inline constexpr Duration kDialBackPace = std::chrono::seconds(10);
inline constexpr int kDialBacksMax = 4;

class DialBack : public std::enable_shared_from_this<DialBack> {
 public:
  DialBack(Loop& loop, PeerClient& client) : loop_(loop), client_(client) {}

  // record  the asker's own. Any thread.
  void Answer(const index::SignedRecord& record, HttpServer::Responder respond);

 private:
  struct Asker {
    Time next;  // before, it is refused
    bool under_way = false;
  };

  void Next(const index::SignedRecord& record, std::size_t endpoint,
            const HttpServer::Responder& respond);
  void End(const PeerId& peer);

  Loop& loop_;
  PeerClient& client_;
  std::map<PeerId, Asker> askers_;  // on the loop: of the last kDialBackPace
  int under_way_ = 0;
};

}  // namespace shoal::fetch
