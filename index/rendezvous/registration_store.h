// RegistrationStore: the rows of an index server on disk.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "index/cookie.h"
#include "index/lmdb/env.h"
#include "index/registration_rows.h"
#include "index/registrations.h"

namespace shoal::index {

// One thread commits. What arrives while it waits for the disk is one commit: a group. An answer
// that waits for its group is true after kill -9 and after a power loss.
//
// When a group does not fit (map or disk full), its parts are committed one by one, so that what
// takes rows away gets through, and makes room.
class RegistrationStore {
 public:
  // Parts that wait. More are refused: the disk is too slow for what is asked.
  static constexpr std::size_t kWaiting = 10'000;
  // Rows of one commit. LMDB bounds a transaction's pages at 131,072.
  static constexpr std::size_t kRowsAtOnce = 20'000;

  struct Options {
    std::string dir;                        // made when absent
    Bytes map_max{std::int64_t{16} << 30};  // address space; grown to only as needed
    CookieSecret fresh_secret{};            // kept when there is none yet
    std::uint64_t fresh_epoch = 1;          // likewise; above that of any log before
  };
  // A directory of an older version is emptied: agents register anew by themselves.
  //
  // Errors  those of LmdbEnv; kUnsupported for a directory of a later version.
  static Result<std::unique_ptr<RegistrationStore>> Open(const Options& options);
  // Commits what waits.
  ~RegistrationStore();

  [[nodiscard]] const CookieSecret& secret() const { return secret_; }
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }

  // Gives every row in the order of keys, before anything is appended: `read` takes them on a
  // thread of its own, while `load` has those that were read before, many at once. Rows that `load`
  // calls useless are removed. Errors: those of the two.
  struct Loading {
    std::function<void(std::size_t rows)> expect;  // at first
    std::function<Result<Registrations::ReadRow>(std::string_view key, std::string_view value)>
        read;
    std::function<Status(std::span<const Registrations::ReadRow> rows,
                         std::vector<std::string_view>& useless)>
        load;
  };
  Status Load(const Loading& loading);

  // `done`, which may be empty, is called on the store's thread: kExhausted when the map or the
  // disk is full. In the order of the calls.
  void Append(std::vector<Row> rows, std::function<void(const Status&)> done);

 private:
  struct Part {
    std::vector<Row> rows;
    std::function<void(const Status&)> done;
  };

  RegistrationStore() = default;
  Status Prepare(const CookieSecret& fresh_secret, std::uint64_t fresh_epoch);
  void Run();
  void Commit(const std::vector<Part>& parts);
  Status Write(const std::vector<Part>& parts, std::size_t begin, std::size_t end);

  std::unique_ptr<LmdbEnv> env_;
  Dbi table_ = 0;
  CookieSecret secret_{};
  std::uint64_t epoch_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Part> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace shoal::index
