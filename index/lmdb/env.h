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

 private:
  friend class LmdbEnv;
  explicit LmdbTxn(MDB_txn* txn) : txn_(txn) {}
  MDB_txn* txn_;
};

class LmdbEnv {
 public:
  // Opens or makes `dir`/data.mdb. Writes survive kill -9; a power loss may lose the last second's
  // but never the order (MDB_NOMETASYNC | MDB_NOSYNC are off: commits are grouped by callers).
  //
  // map_max  address space, not memory or disk.
  // Errors   kDenied, kCorrupt (names what to do), kExhausted.
  static Result<std::unique_ptr<LmdbEnv>> Open(const std::string& dir, Bytes map_max);
  ~LmdbEnv();

  // Opens or makes a named table. Before other threads use the environment.
  Result<Dbi> Table(const std::string& name);

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
