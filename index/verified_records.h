// VerifiedRecords: records whose signature was checked, so that an unchanged one is not checked
// twice: a verification costs 0.1 ms, and a peer shows the same record for minutes.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/json.h"
#include "base/result.h"
#include "index/record.h"

namespace shoal::index {

using RecordPtr = std::shared_ptr<const SignedRecord>;  // immutable; owners: all who use it

// Reads the envelope in a JSON member. Errors: those of SignedRecord::Parse.
using ReadRecord = std::function<Result<RecordPtr>(const Json& envelope)>;
// Verifies each time.
Result<RecordPtr> ReadAnew(const Json& envelope);

class VerifiedRecords {
 public:
  // records_max  about 2 KiB each; the oldest makes room.
  explicit VerifiedRecords(std::size_t records_max) : records_max_(records_max) {}

  // nullptr when this very envelope was not kept, or is none.
  [[nodiscard]] RecordPtr Find(const Json& envelope) const;
  // In place of an earlier one of the same peer.
  void Keep(const RecordPtr& record);

  [[nodiscard]] std::size_t size() const { return records_.size(); }

 private:
  struct Kept {
    RecordPtr record;
    std::list<std::string>::iterator place;
  };

  std::size_t records_max_;
  std::unordered_map<std::string, Kept> records_;  // by the key as base64url
  std::list<std::string> order_;                   // the one kept longest first
};

}  // namespace shoal::index
