#include "registry-proxy/upstream/replies.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace shoal::proxy {
namespace {

struct ContentRange {
  Bytes begin;
  Bytes end;
  Bytes size;
};

// "bytes 0-99/1000". Source: RFC 9110, section 14.4.
std::optional<ContentRange> ParseContentRange(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const auto dash = text.find('-');
  const auto slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) {
    return std::nullopt;
  }
  const auto first = ParseCount(text.substr(0, dash));
  const auto last = ParseCount(text.substr(dash + 1, slash - dash - 1));
  const auto size = ParseCount(text.substr(slash + 1));
  if (!first || !last || !size || *first > *last || *last >= *size) return std::nullopt;
  return ContentRange{Bytes(*first), Bytes(*last + 1), Bytes(*size)};
}

}  // namespace

std::optional<std::int64_t> ParseCount(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 ||
      value > (std::int64_t{1} << 62)) {
    return std::nullopt;
  }
  return value;
}

BlobReply::BlobReply(Bytes offset, Bytes end, bool exact, std::shared_ptr<fetch::ByteSink> sink)
    : offset_(offset), end_(end), exact_(exact), sink_(std::move(sink)) {}

bool BlobReply::Refuse(Code code, const fetch::HttpHead& head, std::string_view why) {
  refused_ = Error{code, head.url + ": " + std::string(why)};
  return false;
}

bool BlobReply::OnHead(const fetch::HttpHead& head) {
  Bytes size;
  if (head.status == 206) {
    const auto range = ParseContentRange(fetch::FindHeader(head.headers, "Content-Range"));
    if (!range || range->begin != offset_) {
      return Refuse(Code::kRetryLater, head, "the upstream sends another range than was asked for");
    }
    size = range->size;
    position_ = offset_;
  } else if (head.status == 200 && exact_) {
    return Refuse(Code::kUnsupported, head, "the upstream does not send ranges");
  } else if (head.status == 200) {
    const auto length = ParseCount(fetch::FindHeader(head.headers, "Content-Length"));
    if (!length) {
      return Refuse(Code::kInvalid, head,
                    "the upstream does not say how long the blob is; a proxy before it may be "
                    "taking Content-Length away");
    }
    size = Bytes(*length);
    position_ = Bytes(0);
  } else {
    return Refuse(Code::kInvalid, head,
                  "the upstream answers a GET with " + std::to_string(head.status));
  }
  if (offset_ > size) return Refuse(Code::kInvalid, head, "the blob is shorter than was expected");
  if (end_ < Bytes(0) || end_ > size) end_ = size;
  if (!sink_->OnStart(size, offset_)) {
    stopped_ = true;
    return false;
  }
  enough_ = offset_ >= end_;
  // With nothing left to come the end of the answer is waited for, which keeps the connection.
  return true;
}

bool BlobReply::OnBytes(ByteSpan bytes) {
  const Bytes begin = position_;
  const Bytes end = begin + Bytes(static_cast<std::int64_t>(bytes.size()));
  position_ = end;
  const Bytes from = std::max(begin, offset_);
  const Bytes to = std::min(end, end_);
  if (from < to) {
    const auto skip = static_cast<std::size_t>((from - begin).count());
    const auto count = static_cast<std::size_t>((to - from).count());
    if (!sink_->OnBytes(bytes.subspan(skip, count))) {
      stopped_ = true;
      return false;
    }
    offset_ = to;
  }
  enough_ = offset_ >= end_;
  return !(enough_ && end > end_);  // what follows is not for us
}

void BlobReply::OnDone(Status status) {
  if (refused_) return sink_->OnDone(*refused_);
  if (stopped_) return sink_->OnDone(Error{Code::kCancelled, "the transfer is no longer wanted"});
  if (enough_) return sink_->OnDone(Ok());
  if (!status) return sink_->OnDone(std::move(status));
  sink_->OnDone(Error{Code::kRetryLater, "the upstream sent less of the blob than was asked for"});
}

DocumentReply::DocumentReply(std::size_t max_bytes,
                             std::function<void(Result<DocumentAnswer>)> done)
    : max_bytes_(max_bytes), done_(std::move(done)) {}

bool DocumentReply::OnHead(const fetch::HttpHead& head) {
  answer_.head = head;
  return true;
}

bool DocumentReply::OnBytes(ByteSpan bytes) {
  too_long_ = bytes.size() > max_bytes_ - answer_.body.size();
  if (!too_long_) answer_.body.append(AsText(bytes));
  return !too_long_;
}

void DocumentReply::OnDone(Status status) {
  if (too_long_) {
    return done_(Error{Code::kExhausted, answer_.head.url + ": the answer is over " +
                                             std::to_string(max_bytes_) + " bytes"});
  }
  if (!status) return done_(status.error());
  done_(std::move(answer_));
}

}  // namespace shoal::proxy
