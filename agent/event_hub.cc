#include "agent/event_hub.h"

#include <string>

namespace shoal::agent {

void EventHub::Tell(std::string_view kind, const Json& data) {
  if (!heard()) return;
  Write("event: " + std::string(kind) + "\ndata: " + data.serialize() + "\n\n");
}

Result<std::shared_ptr<AdminStream>> EventHub::Listen() {
  if (stopped_) return Error{Code::kRetryLater, "the agent is stopping"};
  if (listeners_.size() >= kListenersMax) {
    return Error{Code::kExhausted, "too many listen to events already; close one of them"};
  }
  auto stream = std::make_shared<AdminStream>();
  // Something at once, so that a client knows that it is heard.
  stream->Write(": events of shoal\n\n");
  listeners_.push_back(stream);
  if (!beating_) {
    beating_ = true;
    loop_.After(kHeartbeat, [this] { Beat(); });
  }
  return stream;
}

void EventHub::Beat() {
  Write(":\n\n");
  beating_ = heard();
  if (beating_) loop_.After(kHeartbeat, [this] { Beat(); });
}

void EventHub::Write(const std::string& text) {
  std::erase_if(listeners_, [&](const auto& listener) { return !listener->Write(text); });
}

void EventHub::Stop() {
  stopped_ = true;
  for (const auto& listener : listeners_) listener->Close();
  listeners_.clear();
}

}  // namespace shoal::agent
