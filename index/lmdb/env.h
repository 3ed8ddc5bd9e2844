// LmdbEnv: one LMDB environment on disk, shared by the catalog, the store and the tag cache.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

struct MDB_txn;
struct MDB_env;

namespace shoal::index {

using Dbi = unsigned int;

// One write or read transaction's view. Keys are at most 511 bytes.
class LmdbTxn {
 public:
  // Valid until the next write or the end of the transaction.
  [[nodiscard]] std::optional<std::string_view> Get(Dbi dbi, std::string_view key) const;
  Status Put(Dbi dbi, std::string_view key, std::string_view value);
  // Ok too when it was not there.
  Status Delete(Dbi dbi, std::string_view key);
  // Visits keys at or after `from` in order until `visit` returns false.
  void Walk(Dbi dbi, std::string_view from,
            const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
  Status Clear(Dbi dbi);
  [[nodiscard]] std::size_t Count(Dbi dbi) const;

 private:
  friend class LmdbEnv;
  explicit LmdbTxn(MDB_txn* txn) : txn_(txn) {}
  MDB_txn* txn_;
};

// What a commit waits for. Either way it survives kill -9.
enum class LmdbSync {
  kEachCommit,  // the disk: survives a power loss; callers group their commits
  kNever,       // nothing: for what can be learnt again; it starts empty after each boot
};

class LmdbEnv {
 public:
  // Opens or makes `dir`/data.mdb, and `dir` (0700 is its maker's business). A directory may be
  // open only once in a process.
  //
  // map_max  address space, not memory or disk.
  // Errors   kDenied, kCorrupt (names what to do), kExhausted.
  static Result<std::unique_ptr<LmdbEnv>> Open(const std::string& dir, Bytes map_max,
                                               LmdbSync sync = LmdbSync::kEachCommit);
  ~LmdbEnv();
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;

  // Opens or makes a named table. Before other threads use the environment.
  Result<Dbi> Table(const std::string& name);

  // Tells the kernel to bring the whole file into memory, where it is not there yet: a walk through
  // all of it would wait for each page.
  void WillReadAll() const;
  // Runs `work` in a write transaction: committed when it returns ok, else rolled back.
  // Errors  those of `work`; kExhausted when the map or disk is full.
  Status Write(const std::function<Status(LmdbTxn&)>& work);
  // Runs `work` on a snapshot. Any thread; never blocks on writers.
  void Read(const std::function<void(const LmdbTxn&)>& work) const;

 private:
  explicit LmdbEnv(MDB_env* env) : env_(env) {}
  MDB_env* env_;
};

}  // namespace shoal::index
