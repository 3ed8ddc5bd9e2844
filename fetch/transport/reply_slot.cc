#include "fetch/transport/reply_slot.h"

#include <utility>

#include "fetch/transport/http_head.h"

namespace shoal::fetch {
namespace {

// Dies with the last copy of a responder.
class LastWord {
 public:
  explicit LastWord(std::shared_ptr<ReplySlot> slot) : slot_(std::move(slot)) {}
  ~LastWord() {
    if (slot_->answered()) return;
    slot_->Answer(ErrorReply(500, "the request was dropped without an answer"));
  }
  LastWord(const LastWord&) = delete;
  LastWord& operator=(const LastWord&) = delete;

  void Say(HttpReply reply) const { slot_->Answer(std::move(reply)); }

 private:
  std::shared_ptr<ReplySlot> slot_;
};

}  // namespace

void Mailbox::Send(std::function<void()> work, bool anyway) {
  {
    const std::lock_guard lock(mutex_);
    if (post_) {
      post_(std::move(work));
      return;
    }
  }
  if (anyway) work();
}

void Mailbox::Close() {
  const std::lock_guard lock(mutex_);
  post_ = nullptr;
}

HttpServer::Responder ReplySlot::MakeResponder() {
  return [last_word = std::make_shared<LastWord>(shared_from_this())](HttpReply reply) {
    last_word->Say(std::move(reply));
  };
}

bool ReplySlot::answered() {
  const std::lock_guard lock(mutex_);
  return answered_;
}

std::optional<HttpReply> ReplySlot::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(reply_, std::nullopt);
}

void ReplySlot::Abandon() {
  std::optional<HttpReply> reply;
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    reply = std::exchange(reply_, std::nullopt);
  }
  if (reply) TellUnsent(std::move(*reply));
}

void ReplySlot::Answer(HttpReply reply) {
  {
    const std::lock_guard lock(mutex_);
    if (answered_) return;
    answered_ = true;
    if (!abandoned_) {
      reply_ = std::move(reply);
      mailbox_->Send(on_answered_);
      return;
    }
  }
  TellUnsent(std::move(reply));
}

void ReplySlot::TellUnsent(HttpReply reply) {
  if (!reply.done) return;
  mailbox_->Send([done = std::move(reply.done)] { done(Bytes(0), false); }, true);
}

}  // namespace shoal::fetch
