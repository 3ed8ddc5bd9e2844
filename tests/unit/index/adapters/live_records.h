// Records that are valid by the real clock, for adapters that read it.
#pragma once

#include "index/net/io_thread.h"
#include "tests/unit/index/records.h"

namespace shoal::index {

inline SignedRecord LiveRecord(const SigningKey& key, std::uint64_t sequence = 1,
                               Duration life = std::chrono::minutes(5)) {
  auto record = RecordOf(key, sequence);
  record.expires = WallNow() + life;
  return SignedRecord::Sign(record, key);
}

}  // namespace shoal::index
