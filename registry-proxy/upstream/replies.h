// What becomes of a registry's successful answer: a blob's bytes for fetch/, or a small document.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "fetch/transport/http_client.h"
#include "fetch/upstream_port.h"

namespace shoal::proxy {

// Passes [offset, end) of a blob on, whether the registry honours ranges or not.
class BlobReply : public fetch::HttpSink {
 public:
  // end    Bytes(-1): to the end of the blob.
  // exact  an answer that is no range fails with kUnsupported.
  BlobReply(Bytes offset, Bytes end, bool exact, std::shared_ptr<fetch::ByteSink> sink);

  void OnTurn() override { sink_->OnTurn(); }
  bool OnHead(const fetch::HttpHead& head) override;
  bool OnBytes(ByteSpan bytes) override;
  void OnDone(Status status) override;

 private:
  bool Refuse(Code code, const fetch::HttpHead& head, std::string_view why);

  Bytes offset_;
  Bytes end_;
  bool exact_;
  std::shared_ptr<fetch::ByteSink> sink_;  // owners: the asker and this reply
  Bytes position_;                         // of the next byte from the registry
  std::optional<Error> refused_;
  bool stopped_ = false;  // by the sink
  bool enough_ = false;   // all that was asked for is here
};

// A body of at most kManifestBytesMax, collected.
struct DocumentAnswer {
  fetch::HttpHead head;
  std::string body;
};

class DocumentReply : public fetch::HttpSink {
 public:
  DocumentReply(std::size_t max_bytes, std::function<void(Result<DocumentAnswer>)> done);

  bool OnHead(const fetch::HttpHead& head) override;
  bool OnBytes(ByteSpan bytes) override;
  void OnDone(Status status) override;

 private:
  std::size_t max_bytes_;
  std::function<void(Result<DocumentAnswer>)> done_;
  DocumentAnswer answer_;
  bool too_long_ = false;
};

// A decimal number that fills `text`, 0 to 2^62. nullopt for anything else.
std::optional<std::int64_t> ParseCount(std::string_view text);

}  // namespace shoal::proxy
