// ReplySlot: where a handler, on any thread and at any time, leaves the answer to one request.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "fetch/transport/http_server.h"

namespace shoal::fetch {

// Posts to a loop thread for as long as there is one. Shared by the loop and by whoever may outlive
// it: handlers' responders, gates' wakes.
class Mailbox {
 public:
  using Post = std::function<void(std::function<void()>)>;
  explicit Mailbox(Post post) : post_(std::move(post)) {}

  // Runs `work` on the loop thread; when that has ended, at once on this one if `anyway`.
  void Send(std::function<void()> work, bool anyway = false);
  // Nothing is posted once this has returned.
  void Close();

 private:
  std::mutex mutex_;
  Post post_;  // null once closed
};

// Two owners: the session that waits, and the responder that the handler holds.
class ReplySlot : public std::enable_shared_from_this<ReplySlot> {
 public:
  // on_answered  called on the loop thread when Take has something.
  ReplySlot(std::shared_ptr<Mailbox> mailbox, std::function<void()> on_answered)
      : mailbox_(std::move(mailbox)), on_answered_(std::move(on_answered)) {}

  // Answers 500 if every copy is dropped without a call.
  HttpServer::Responder MakeResponder();
  // Any thread; only the first call counts.
  void Answer(HttpReply reply);
  [[nodiscard]] bool answered();

  std::optional<HttpReply> Take();
  // Nobody waits any more: an answer, now or later, is told that nothing was sent.
  void Abandon();

 private:
  void TellUnsent(HttpReply reply);

  std::shared_ptr<Mailbox> mailbox_;
  std::function<void()> on_answered_;
  std::mutex mutex_;
  bool answered_ = false;
  bool abandoned_ = false;
  std::optional<HttpReply> reply_;
};

}  // namespace shoal::fetch
