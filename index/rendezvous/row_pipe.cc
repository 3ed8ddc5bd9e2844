#include "index/rendezvous/row_pipe.h"

#include <utility>

namespace shoal::index {

bool RowPipe::Put(ReadRows rows) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stopped_ || waiting_.size() < kWaiting; });
  if (stopped_) return false;
  waiting_.push_back(std::move(rows));
  wake_.notify_one();
  return true;
}

void RowPipe::End(Status status) {
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  status_ = std::move(status);
  wake_.notify_one();
}

bool RowPipe::Take(ReadRows& rows) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
  if (waiting_.empty()) return false;
  rows = std::move(waiting_.front());
  waiting_.pop_front();
  wake_.notify_one();
  return true;
}

Status RowPipe::status() {
  const std::scoped_lock lock(mutex_);
  return status_;
}

void RowPipe::Stop() {
  const std::scoped_lock lock(mutex_);
  stopped_ = true;
  wake_.notify_one();
}

}  // namespace shoal::index
