#include "fetch/containerd/blob_writer.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

namespace shoal::fetch {

namespace {

namespace content_api = containerd::services::content::v1;
using WriteStream =
    grpc::ClientReaderWriter<content_api::WriteContentRequest, content_api::WriteContentResponse>;

// 1 MiB messages were fastest: 254 to 590 MB/s a stream, depending on containerd's version.
constexpr Bytes kMessageBytes{1 << 20};
// Messages sent ahead of containerd's answers, so that we read while it writes.
constexpr int kAheadMax = 2;
// A write that is broken off holds its lock until containerd notices, which is soon.
constexpr int kTriesMax = 20;
constexpr Duration kLockedWait = std::chrono::milliseconds(100);

// A disk that takes less than 1 MB/s is not working.
Duration WriteTimeout(Bytes size) {
  return std::chrono::seconds(60) + std::chrono::microseconds(size.count());
}

// One Write stream: at most kAheadMax answers are owed.
class Upload {
 public:
  Upload(Session& session, const std::string& lease, const IngestBlob& blob)
      : call_(session.calls(), session.name_space(), WriteTimeout(blob.size)) {
    call_.context()->AddMetadata("containerd-lease", lease);
    stream_ = session.content().Write(call_.context());
  }

  // Sends, and waits for the answers owed beyond `ahead`. Returns false when the stream is over.
  bool Send(const content_api::WriteContentRequest& request, int ahead) {
    if (!stream_->Write(request)) return false;
    ++owed_;
    while (owed_ > ahead) {
      if (!stream_->Read(&answer_)) return false;
      --owed_;
    }
    return true;
  }

  [[nodiscard]] const content_api::WriteContentResponse& answer() const { return answer_; }

  // The stream's fate. Finish() would wait for ever with answers unread.
  grpc::Status Finish() {
    stream_->WritesDone();
    while (stream_->Read(&answer_)) {
    }
    return stream_->Finish();
  }
  void Cancel() { call_.context()->TryCancel(); }

 private:
  Call call_;
  std::unique_ptr<WriteStream> stream_;
  content_api::WriteContentResponse answer_;
  int owed_ = 0;
};

// Sends the bytes from `offset` to the end. Returns false when the stream is over.
Result<bool> SendBytes(Upload& upload, const IngestBlob& blob, Bytes offset) {
  content_api::WriteContentRequest request;
  request.set_action(content_api::WRITE);
  while (offset < blob.size) {
    const Bytes count = std::min(kMessageBytes, blob.size - offset);
    std::string& data = *request.mutable_data();
    data.resize(static_cast<std::size_t>(count.count()));
    const Status read = blob.file->ReadAt(offset, std::as_writable_bytes(std::span(data)));
    if (!read) return read.error();
    request.set_offset(offset.count());
    if (!upload.Send(request, kAheadMax)) return false;
    offset += count;
  }
  return true;
}

content_api::WriteContentRequest CommitRequest(const IngestBlob& blob) {
  content_api::WriteContentRequest request;
  request.set_action(content_api::COMMIT);
  request.set_offset(blob.size.count());
  request.set_total(blob.size.count());
  request.set_expected(ToString(blob.digest));
  for (const auto& [key, value] : blob.labels) (*request.mutable_labels())[key] = value;
  return request;
}

std::string What(const IngestBlob& blob) { return "writing " + ToString(blob.digest); }

}  // namespace

BlobWriter::BlobWriter(Session& session, std::string lease)
    : session_(session), lease_(std::move(lease)) {}

Status BlobWriter::Put(const IngestBlob& blob) {
  const Result<Bytes> size = blob.file->Size();
  if (!size) return size.error().In(What(blob));
  if (*size != blob.size) {
    return Error{Code::kCorrupt, What(blob) + ": the file has " + std::to_string(size->count()) +
                                     " bytes and not " + std::to_string(blob.size.count())};
  }
  const std::string ref = "shoal-" + ToString(blob.digest);
  bool spoiled = false;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const Result<Outcome> outcome = TryWrite(blob, ref);
    if (!outcome) return outcome.error();
    switch (*outcome) {
      case Outcome::kDone:
        return Ok();
      case Outcome::kExists:
        return UpdateLabels(blob);
      case Outcome::kSpoiled:
        // What an earlier write left may be at fault: once more, from the start.
        Abort(ref);
        if (spoiled) {
          return Error{Code::kCorrupt, What(blob) + ": its bytes are of another digest"};
        }
        spoiled = true;
        break;
      case Outcome::kLocked:
        if (!session_.calls().Wait(kLockedWait)) {
          return Error{Code::kCancelled, What(blob) + ": shoal is stopping"};
        }
        break;
    }
  }
  return Error{Code::kRetryLater, What(blob) + ": another writer holds it"};
}

Result<BlobWriter::Outcome> BlobWriter::TryWrite(const IngestBlob& blob, const std::string& ref) {
  Upload upload(session_, lease_, blob);
  content_api::WriteContentRequest hello;
  hello.set_action(content_api::STAT);
  hello.set_ref(ref);
  hello.set_total(blob.size.count());
  hello.set_expected(ToString(blob.digest));
  bool open = upload.Send(hello, 0);
  if (open) {
    const Bytes offset(upload.answer().offset());
    if (offset < Bytes(0) || offset > blob.size) {
      upload.Cancel();
      (void)upload.Finish();
      return Outcome::kSpoiled;
    }
    const Result<bool> sent = SendBytes(upload, blob, offset);
    if (!sent) {
      upload.Cancel();
      (void)upload.Finish();
      return sent.error().In(What(blob));
    }
    open = *sent && upload.Send(CommitRequest(blob), 0);
  }
  const grpc::Status status = upload.Finish();
  if (status.ok()) {
    if (open) return Outcome::kDone;
    return Error{Code::kRetryLater, "containerd: " + What(blob) + ": it broke off"};
  }
  switch (status.error_code()) {
    case grpc::StatusCode::ALREADY_EXISTS:
      return Outcome::kExists;
    case grpc::StatusCode::FAILED_PRECONDITION:  // of another digest or size at the commit
    case grpc::StatusCode::OUT_OF_RANGE:         // what is left of a write changed under us
      return Outcome::kSpoiled;
    case grpc::StatusCode::UNAVAILABLE:
      if (status.error_message().find("locked") != std::string::npos) return Outcome::kLocked;
      return ToError(status, What(blob));
    default:
      return ToError(status, What(blob));
  }
}

Status BlobWriter::UpdateLabels(const IngestBlob& blob) {
  if (blob.labels.empty()) return Ok();
  content_api::UpdateRequest request;
  request.mutable_info()->set_digest(ToString(blob.digest));
  for (const auto& [key, value] : blob.labels) {
    (*request.mutable_info()->mutable_labels())[key] = value;
    request.mutable_update_mask()->add_paths("labels." + key);
  }
  Call call(session_.calls(), session_.name_space(), kUnaryTimeout);
  content_api::UpdateResponse response;
  const grpc::Status status = session_.content().Update(call.context(), request, &response);
  if (!status.ok()) return ToError(status, "labelling " + ToString(blob.digest));
  return Ok();
}

void BlobWriter::Abort(const std::string& ref) {
  content_api::AbortRequest request;
  request.set_ref(ref);
  Call call(session_.calls(), session_.name_space(), kUnaryTimeout);
  google::protobuf::Empty response;
  (void)session_.content().Abort(call.context(), request, &response);  // NOT_FOUND is as good
}

}  // namespace shoal::fetch
