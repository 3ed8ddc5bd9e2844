#include "index/lmdb/env.h"

#include <fcntl.h>
#include <lmdb.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/check.h"

namespace shoal::index {
namespace {

constexpr MDB_dbi kTablesMax = 32;
constexpr unsigned kReadersMax = 126;  // LMDB's own default; one a read under way

MDB_val ToVal(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }
std::string_view ToView(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

Error Explain(int rc, const std::string& what) {
  const std::string text = what + ": " + mdb_strerror(rc);
  switch (rc) {
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case ENOMEM:
      return {Code::kExhausted, text};
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
      return {Code::kCorrupt, text + "; stop the agent, remove this directory and start it again"};
    case EACCES:
    case EPERM:
    case EROFS:
      return {Code::kDenied, text + "; the agent's user must be able to write there"};
    case MDB_BAD_VALSIZE:
      return {Code::kInvalid, text};
    default:
      return {Code::kRetryLater, text};
  }
}

// Without syncs only the kernel's memory has what was written last, and a crash of the machine may
// leave half of it on disk. So what was written before this boot is not looked at.
Status DropFromEarlierBoot(const std::filesystem::path& dir) {
  std::string now;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> now;
  std::string then;
  std::ifstream(dir / "boot") >> then;
  if (!now.empty() && now == then) return Ok();
  std::error_code error;
  std::filesystem::remove(dir / "data.mdb", error);
  std::filesystem::remove(dir / "lock.mdb", error);
  std::ofstream out(dir / "boot", std::ios::trunc);
  out << now << '\n';
  if (!out.flush()) {
    return Error{Code::kDenied, "cannot write " + (dir / "boot").string() +
                                    "; the agent's user must be able to write there"};
  }
  return Ok();
}

struct EndTxn {
  void operator()(MDB_txn* txn) const { mdb_txn_abort(txn); }
};
using TxnPtr = std::unique_ptr<MDB_txn, EndTxn>;

struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};

}  // namespace

std::optional<std::string_view> LmdbTxn::Get(Dbi dbi, std::string_view key) const {
  MDB_val k = ToVal(key);
  MDB_val v{};
  if (mdb_get(txn_, dbi, &k, &v) != 0) return std::nullopt;
  return ToView(v);
}

Status LmdbTxn::Put(Dbi dbi, std::string_view key, std::string_view value) {
  MDB_val k = ToVal(key);
  MDB_val v = ToVal(value);
  if (const int rc = mdb_put(txn_, dbi, &k, &v, 0); rc != 0) return Explain(rc, "write to LMDB");
  return Ok();
}

Status LmdbTxn::Delete(Dbi dbi, std::string_view key) {
  MDB_val k = ToVal(key);
  const int rc = mdb_del(txn_, dbi, &k, nullptr);
  if (rc != 0 && rc != MDB_NOTFOUND) return Explain(rc, "delete from LMDB");
  return Ok();
}

void LmdbTxn::Walk(
    Dbi dbi, std::string_view from,
    const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
  MDB_cursor* raw = nullptr;
  if (mdb_cursor_open(txn_, dbi, &raw) != 0) return;
  const std::unique_ptr<MDB_cursor, CloseCursor> cursor(raw);
  MDB_val k = ToVal(from);
  MDB_val v{};
  // LMDB refuses to seek an empty key.
  int rc = mdb_cursor_get(raw, &k, &v, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  while (rc == 0 && visit(ToView(k), ToView(v))) {
    rc = mdb_cursor_get(raw, &k, &v, MDB_NEXT);
  }
}

Status LmdbTxn::Clear(Dbi dbi) {
  if (const int rc = mdb_drop(txn_, dbi, 0); rc != 0) return Explain(rc, "clear an LMDB table");
  return Ok();
}

std::size_t LmdbTxn::Count(Dbi dbi) const {
  MDB_stat stat{};
  return mdb_stat(txn_, dbi, &stat) == 0 ? stat.ms_entries : 0;
}

void LmdbEnv::WillReadAll() const {
  int file = -1;
  if (mdb_env_get_fd(env_, &file) == 0) posix_fadvise(file, 0, 0, POSIX_FADV_WILLNEED);
}

Result<std::unique_ptr<LmdbEnv>> LmdbEnv::Open(const std::string& dir, Bytes map_max,
                                               LmdbSync sync) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return Explain(error.value(), "make directory " + dir);
  if (sync == LmdbSync::kNever) {
    if (auto fresh = DropFromEarlierBoot(dir); !fresh) return fresh.error();
  }
  MDB_env* raw = nullptr;
  if (const int rc = mdb_env_create(&raw); rc != 0) return Explain(rc, "open LMDB in " + dir);
  std::unique_ptr<LmdbEnv> env(new LmdbEnv(raw));
  mdb_env_set_maxdbs(raw, kTablesMax);
  mdb_env_set_maxreaders(raw, kReadersMax);
  mdb_env_set_mapsize(raw, static_cast<std::size_t>(map_max.count()));
  // NOTLS: a reader slot belongs to its transaction, not to a thread, so pools may read.
  // NORDAHEAD: entries are read at random places.
  unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
  if (sync == LmdbSync::kNever) flags |= MDB_NOSYNC;
  if (const int rc = mdb_env_open(raw, dir.c_str(), flags, 0600); rc != 0) {
    return Explain(rc, "open LMDB in " + dir);
  }
  int dead = 0;
  mdb_reader_check(raw, &dead);  // slots of processes that were killed
  return env;
}

LmdbEnv::~LmdbEnv() { mdb_env_close(env_); }

Result<Dbi> LmdbEnv::Table(const std::string& name) {
  Dbi dbi = 0;
  MDB_txn* raw = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, 0, &raw); rc != 0) {
    return Explain(rc, "open LMDB table " + name);
  }
  TxnPtr txn(raw);
  if (const int rc = mdb_dbi_open(raw, name.c_str(), MDB_CREATE, &dbi); rc != 0) {
    return Explain(rc, "open LMDB table " + name);
  }
  if (const int rc = mdb_txn_commit(txn.release()); rc != 0) {
    return Explain(rc, "open LMDB table " + name);
  }
  return dbi;
}

Status LmdbEnv::Write(const std::function<Status(LmdbTxn&)>& work) {
  MDB_txn* raw = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, 0, &raw); rc != 0) {
    return Explain(rc, "begin an LMDB write");
  }
  TxnPtr txn(raw);
  LmdbTxn view(raw);
  if (auto status = work(view); !status) return status;
  if (const int rc = mdb_txn_commit(txn.release()); rc != 0) {
    return Explain(rc, "commit an LMDB write");
  }
  return Ok();
}

void LmdbEnv::Read(const std::function<void(const LmdbTxn&)>& work) const {
  MDB_txn* raw = nullptr;
  // More readers at once than slots, or no memory: a bug, since reads are short and threads few.
  SHOAL_CHECK(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &raw) == 0);
  const TxnPtr txn(raw);
  const LmdbTxn view(raw);
  work(view);
}

}  // namespace shoal::index
