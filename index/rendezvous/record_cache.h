// RecordCache: VerifiedRecords for the threads of HTTP servers and clients.
#pragma once

#include <mutex>

#include "index/verified_records.h"

namespace shoal::index {

// Verification itself runs outside the lock.
class RecordCache {
 public:
  explicit RecordCache(std::size_t records_max) : records_(records_max) {}

  Result<RecordPtr> Read(const Json& envelope) {
    {
      const std::scoped_lock lock(mutex_);
      if (auto found = records_.Find(envelope)) return found;
    }
    auto record = ReadAnew(envelope);
    if (record) {
      const std::scoped_lock lock(mutex_);
      records_.Keep(*record);
    }
    return record;
  }
  // Valid as long as this is.
  ReadRecord Reader() {
    return [this](const Json& envelope) { return Read(envelope); };
  }

 private:
  std::mutex mutex_;
  VerifiedRecords records_;
};

}  // namespace shoal::index
