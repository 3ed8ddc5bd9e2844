// RowPipe: rows of an index server's database, on their way from the thread that reads them to the
// one that loads them.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "index/registrations.h"

namespace shoal::index {

using ReadRows = std::vector<Registrations::ReadRow>;

class RowPipe {
 public:
  // Rows that go together: 50 KiB, and so still in the cache when they are taken.
  static constexpr std::size_t kRowsTogether = 512;
  // Lots that wait. More would only take memory: the slower of the two sets the pace.
  static constexpr std::size_t kWaiting = 4;

  // --- of the thread that reads ---
  // Waits for room. Returns whether to go on.
  bool Put(ReadRows rows);
  // No more will come, because of `status`.
  void End(Status status);

  // --- of the thread that loads ---
  // Waits. Returns whether there are rows; else the pipe has ended.
  bool Take(ReadRows& rows);
  // Why it ended, after Take has said so.
  [[nodiscard]] Status status();
  // Put says no from here on.
  void Stop();

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<ReadRows> waiting_;
  bool ended_ = false;
  bool stopped_ = false;
  Status status_ = Ok();
};

}  // namespace shoal::index
