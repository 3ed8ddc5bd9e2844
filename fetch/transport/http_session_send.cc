// How HttpSession sends an answer.
#include <algorithm>
#include <array>

#include "fetch/transport/data_loop.h"
#include "fetch/transport/http_head.h"
#include "fetch/transport/http_session.h"

namespace shoal::fetch {
namespace {

constexpr std::int64_t kTurnBytes = 8 << 20;  // of a file, before the thread's other connections
constexpr std::size_t kTextsMax = 16;         // in one call

}  // namespace

// Where we are in an answer. Leaves the gate and tells `done` when it dies, however that comes.
struct HttpSession::Sending {
  explicit Sending(HttpReply& r) : reply(r) {}
  ~Sending() {
    if (reader) reply.gate->Leave(*reader);
    if (reply.done) reply.done(sent, whole);
  }
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;

  HttpReply& reply;
  std::vector<std::string_view> texts;  // the head, and texts that follow one another
  Bytes head_left;                      // bytes of the head not yet sent: not body bytes
  bool file_follows = false;
  std::optional<int> reader;  // of the gate
  Bytes sent;
  bool whole = false;
};

HttpSession::Task<bool> HttpSession::Send(HttpReply& reply, bool head_only, bool keep_alive) {
  const std::string head = FormatHead(reply, loop_.date(), keep_alive);
  if (head_only || reply.status == 304 || reply.status == 204) reply.body.clear();
  Sending sending(reply);
  sending.head_left = Bytes(static_cast<std::int64_t>(head.size()));
  sending.texts.emplace_back(head);
  sending.whole = co_await SendBody(sending) && co_await Flush();
  co_return sending.whole;
}

HttpSession::Task<bool> HttpSession::SendBody(Sending& sending) {
  for (const BodyPart& part : sending.reply.body) {
    if (!part.file) {
      if (!part.text.empty()) sending.texts.emplace_back(part.text);
      continue;
    }
    if (part.begin == part.end) continue;
    ReadGate* gate = sending.reply.gate.get();
    sending.file_follows = gate == nullptr || gate->ReadableEnd(part.begin) > part.begin;
    if (!co_await SendTexts(sending) || !co_await SendFilePart(sending, part)) co_return false;
  }
  sending.file_follows = false;
  co_return co_await SendTexts(sending);
}

HttpSession::Task<bool> HttpSession::SendTexts(Sending& sending) {
  std::size_t first = 0;
  while (first < sending.texts.size()) {
    const std::size_t count = std::min(sending.texts.size() - first, kTextsMax);
    const bool more = sending.file_follows || first + count < sending.texts.size();
    const Io io = channel_->Write(std::span(sending.texts).subspan(first, count), more);
    if (io.want == Io::Want::kWrite || io.want == Io::Want::kRead) {
      if (!co_await WaitFor(io.want, Clock::now() + limits().send_stall)) co_return false;
      continue;
    }
    if (io.want != Io::Want::kNothing) co_return false;
    const Bytes of_head = std::min(sending.head_left, Bytes(static_cast<std::int64_t>(io.bytes)));
    sending.head_left -= of_head;
    sending.sent += Bytes(static_cast<std::int64_t>(io.bytes)) - of_head;
    for (std::size_t left = io.bytes; left > 0;) {
      const std::size_t step = std::min(left, sending.texts[first].size());
      sending.texts[first].remove_prefix(step);
      left -= step;
      if (sending.texts[first].empty()) ++first;
    }
  }
  sending.texts.clear();
  co_return true;
}

HttpSession::Task<bool> HttpSession::SendFilePart(Sending& sending, const BodyPart& part) {
  Bytes at = part.begin;
  Bytes readable = sending.reply.gate ? at : part.end;
  Bytes turn;
  while (at < part.end) {
    if (readable <= at) {
      readable = std::min(part.end, sending.reply.gate->ReadableEnd(at));
      if (readable <= at) {
        if (!co_await Flush() || !co_await WaitForGate(sending, at)) co_return false;
        continue;
      }
    }
    const Io io = channel_->SendFile(*part.file, at, readable);
    if (io.want == Io::Want::kFailed || io.want == Io::Want::kClosed) co_return false;
    at += Bytes(static_cast<std::int64_t>(io.bytes));
    turn += Bytes(static_cast<std::int64_t>(io.bytes));
    sending.sent += Bytes(static_cast<std::int64_t>(io.bytes));
    if (io.want == Io::Want::kNothing && turn < Bytes(kTurnBytes)) continue;
    turn = Bytes(0);
    const auto want = io.want == Io::Want::kNothing ? Io::Want::kWrite : io.want;
    if (!co_await WaitFor(want, Clock::now() + limits().send_stall)) co_return false;
  }
  co_return true;
}

// Waits until the byte at `offset` is readable. A wake may come without news: only bytes count
// against the stall.
HttpSession::Task<bool> HttpSession::WaitForGate(Sending& sending, Bytes offset) {
  ReadGate& gate = *sending.reply.gate;
  const auto deadline = Clock::now() + limits().gate_stall;
  if (!sending.reader) sending.reader = gate.Join();
  while (gate.ReadableEnd(offset) <= offset) {
    if (gate.Failure()) co_return false;
    woken_ = false;
    gate.Await(*sending.reader, offset, [mailbox = loop_.mailbox(), weak = weak_from_this()] {
      mailbox->Send([weak] {
        if (const auto self = weak.lock()) self->Wake();
      });
    });
    if (!co_await WaitForWake(deadline)) co_return false;
  }
  co_return true;
}

HttpSession::Task<bool> HttpSession::Flush() {
  while (true) {
    const Io io = channel_->Flush();
    if (io.want == Io::Want::kNothing) co_return true;
    if (io.want != Io::Want::kWrite) co_return false;
    if (!co_await WaitFor(io.want, Clock::now() + limits().send_stall)) co_return false;
  }
}

}  // namespace shoal::fetch
