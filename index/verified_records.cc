#include "index/verified_records.h"

namespace shoal::index {

Result<RecordPtr> ReadAnew(const Json& envelope) {
  auto record = SignedRecord::Parse(envelope.serialize());
  if (!record) return record.error();
  return std::make_shared<const SignedRecord>(*std::move(record));
}

RecordPtr VerifiedRecords::Find(const Json& envelope) const {
  const auto payload = GetString(envelope, "payload");
  const auto key = GetString(envelope, "key");
  const auto signature = GetString(envelope, "signature");
  if (!payload || !key || !signature) return nullptr;
  const auto it = records_.find(*key);
  if (it == records_.end()) return nullptr;
  // As SignedRecord writes it.
  const std::string text = R"({"payload":")" + *payload + R"(","key":")" + *key +
                           R"(","signature":")" + *signature + R"("})";
  return it->second.record->envelope() == text ? it->second.record : nullptr;
}

void VerifiedRecords::Keep(const RecordPtr& record) {
  const std::string key = ToBase64Url(record->record().key.bytes);
  if (const auto it = records_.find(key); it != records_.end()) {
    order_.erase(it->second.place);
    records_.erase(it);
  }
  if (records_max_ == 0) return;
  if (records_.size() == records_max_) {
    records_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(key);
  records_.emplace(key, Kept{record, std::prev(order_.end())});
}

}  // namespace shoal::index
