// EventHub: what happens here, for those who listen to GET /v1/events. On the loop.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "agent/admin_server.h"
#include "base/executor.h"
#include "base/json.h"

namespace shoal::agent {

class EventHub {
 public:
  static constexpr std::size_t kListenersMax = 32;
  // So that a proxy between does not take a quiet stream for dead, and that we notice one that is.
  static constexpr Duration kHeartbeat = std::chrono::seconds(15);

  explicit EventHub(Loop& loop) : loop_(loop) {}

  // A server-sent event (HTML standard, section 9.2): `event: KIND`, and `data:` with the JSON.
  void Tell(std::string_view kind, const Json& data);
  // Errors: kExhausted over kListenersMax.
  Result<std::shared_ptr<AdminStream>> Listen();
  [[nodiscard]] bool heard() const { return !listeners_.empty(); }
  // Ends all streams, for good.
  void Stop();

 private:
  void Write(const std::string& text);
  void Beat();

  Loop& loop_;
  std::vector<std::shared_ptr<AdminStream>> listeners_;  // owners: this, and the answers
  bool beating_ = false;
  bool stopped_ = false;
};

}  // namespace shoal::agent
