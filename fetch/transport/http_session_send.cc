// How HttpSession sends an answer.
#include <algorithm>
#include <array>

#include "fetch/transport/data_loop.h"
#include "fetch/transport/http_head.h"
#include "fetch/transport/http_session.h"
#include "fetch/transport/rate_limiter.h"

namespace shoal::fetch {
namespace {

constexpr std::int64_t kTurnBytes = 8 << 20;  // of a file, before the thread's other connections
constexpr std::size_t kTextsMax = 16;         // in one call
// Texts of an answer up to this go out ahead of their turn: the others' pieces wait for them.
constexpr Bytes kUrgentMax{16 << 10};

Bytes SizeOf(std::string_view text) { return Bytes(static_cast<std::int64_t>(text.size())); }

}  // namespace

// Where we are in an answer. Leaves the gate and tells `done` when it dies, however that comes.
struct HttpSession::Sending {
  Sending(HttpReply& r, RateLimiter* limiter) : reply(r), rate(limiter) {}
  ~Sending() {
    ReturnAllowed();
    if (reader) reply.gate->Leave(*reader);
    if (reply.done) reply.done(sent, whole);
  }
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;

  void ReturnAllowed() {
    if (rate != nullptr && allowed > Bytes(0)) rate->Return(RateLimiter::Now(), allowed);
    allowed = Bytes(0);
  }
  // Bytes went out.
  void Use(Bytes bytes) {
    const Bytes covered = std::min(allowed, bytes);
    allowed -= covered;
    if (rate != nullptr && covered < bytes) rate->Account(RateLimiter::Now(), bytes - covered);
  }

  HttpReply& reply;
  RateLimiter* const rate;
  Bytes allowed;                        // booked, and not used yet
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
  Sending sending(reply, loop_.shared().options.rate);
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
  Bytes left;
  for (const auto text : sending.texts) left += SizeOf(text);
  const bool in_turn = sending.rate != nullptr && left > kUrgentMax;
  std::size_t first = 0;
  while (first < sending.texts.size()) {
    if (in_turn && !co_await AwaitTurn(sending, left)) co_return false;
    std::array<std::string_view, kTextsMax> parts;
    std::size_t count = 0;
    Bytes room = in_turn ? sending.allowed : left;
    while (count < kTextsMax && first + count < sending.texts.size() && room > Bytes(0)) {
      parts[count] = sending.texts[first + count].substr(0, static_cast<std::size_t>(room.count()));
      room -= SizeOf(parts[count++]);
    }
    const Bytes offered = (in_turn ? sending.allowed : left) - room;
    const bool more = sending.file_follows || offered < left;
    const Io io = channel_->Write(std::span(parts).first(count), more);
    if (io.want == Io::Want::kWrite || io.want == Io::Want::kRead) {
      sending.ReturnAllowed();
      if (!co_await WaitFor(io.want, Clock::now() + limits().send_stall)) co_return false;
      continue;
    }
    if (io.want != Io::Want::kNothing) co_return false;
    const Bytes of_head = std::min(sending.head_left, Bytes(static_cast<std::int64_t>(io.bytes)));
    sending.head_left -= of_head;
    const Bytes taken(static_cast<std::int64_t>(io.bytes));
    sending.sent += taken - of_head;
    sending.Use(taken);
    left -= taken;
    for (std::size_t rest = io.bytes; rest > 0;) {
      const std::size_t step = std::min(rest, sending.texts[first].size());
      sending.texts[first].remove_prefix(step);
      rest -= step;
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
    Bytes end = readable;
    if (sending.rate != nullptr) {
      if (!co_await AwaitTurn(sending, readable - at)) co_return false;
      end = at + std::min(readable - at, sending.allowed);
    }
    const Io io = channel_->SendFile(*part.file, at, end);
    if (io.want == Io::Want::kFailed || io.want == Io::Want::kClosed) co_return false;
    sending.Use(Bytes(static_cast<std::int64_t>(io.bytes)));
    at += Bytes(static_cast<std::int64_t>(io.bytes));
    turn += Bytes(static_cast<std::int64_t>(io.bytes));
    sending.sent += Bytes(static_cast<std::int64_t>(io.bytes));
    if (io.want == Io::Want::kNothing && turn < Bytes(kTurnBytes)) continue;
    turn = Bytes(0);
    if (io.want != Io::Want::kNothing) sending.ReturnAllowed();  // others need not wait with us
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

HttpSession::Task<bool> HttpSession::AwaitTurn(Sending& sending, Bytes wanted) {
  if (sending.allowed > Bytes(0)) co_return true;
  // What is sealed already must not wait with the rest; and whoever reads slowly books nothing.
  if (!co_await Flush()) co_return false;
  sending.allowed = std::min(wanted, sending.rate->slice());
  const Time at = sending.rate->Book(RateLimiter::Now(), sending.allowed);
  co_return co_await SleepUntil(Clock::time_point(at.time_since_epoch()));
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
