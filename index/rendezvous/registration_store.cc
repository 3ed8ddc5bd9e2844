#include "index/rendezvous/registration_store.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <utility>

#include "base/encoding.h"
#include "index/rendezvous/row_pipe.h"

namespace shoal::index {
namespace {

constexpr std::string_view kVersionRow = "version";
constexpr std::string_view kSecretRow = "secret";
constexpr std::string_view kEpochRow = "epoch";
constexpr std::uint64_t kVersion = 2;

// The transaction is this thread's until it has ended.
void ReadAll(const LmdbTxn& txn, Dbi table, const RegistrationStore::Loading& loading,
             RowPipe& pipe) {
  Status status = Ok();
  ReadRows rows;
  rows.reserve(RowPipe::kRowsTogether);
  txn.Walk(table, "", [&](std::string_view key, std::string_view value) {
    auto row = loading.read(key, value);
    if (!row) {
      status = row.error();
      return false;
    }
    rows.push_back(*row);
    if (rows.size() < RowPipe::kRowsTogether) return true;
    if (!pipe.Put(std::exchange(rows, {}))) return false;
    rows.reserve(RowPipe::kRowsTogether);
    return true;
  });
  // What came before a row that cannot be read makes no difference.
  if (status.ok() && !rows.empty()) pipe.Put(std::move(rows));
  pipe.End(status);
}

}  // namespace

Result<std::unique_ptr<RegistrationStore>> RegistrationStore::Open(const Options& options) {
  auto env = LmdbEnv::Open(options.dir, options.map_max);
  if (!env) return env.error();
  std::unique_ptr<RegistrationStore> store(new RegistrationStore());
  store->env_ = *std::move(env);
  auto table = store->env_->Table("registrations");
  if (!table) return table.error();
  store->table_ = *table;
  if (auto prepared = store->Prepare(options.fresh_secret, options.fresh_epoch); !prepared) {
    return prepared.error().In("index server's database in " + options.dir);
  }
  store->thread_ = std::thread([raw = store.get()] { raw->Run(); });
  pthread_setname_np(store->thread_.native_handle(), "shoal-keep");
  return store;
}

Status RegistrationStore::Prepare(const CookieSecret& fresh_secret, std::uint64_t fresh_epoch) {
  return env_->Write([&](LmdbTxn& txn) -> Status {
    const auto version = txn.Get(table_, MetaKey(kVersionRow));
    const auto number = version ? ReadNumber(*version) : std::nullopt;
    if (number && *number > kVersion) {
      return Error{Code::kUnsupported,
                   "it was written by a later version of shoal; install that, "
                   "or remove the directory"};
    }
    if (number != kVersion) {
      if (auto cleared = txn.Clear(table_); !cleared) return cleared;
      if (auto put = txn.Put(table_, MetaKey(kVersionRow), NumberValue(kVersion)); !put) return put;
    }
    const auto epoch = txn.Get(table_, MetaKey(kEpochRow));
    epoch_ = (epoch ? ReadNumber(*epoch) : std::nullopt).value_or(0);
    if (epoch_ == 0) {
      epoch_ = fresh_epoch;
      if (auto put = txn.Put(table_, MetaKey(kEpochRow), NumberValue(epoch_)); !put) return put;
    }
    const auto secret = txn.Get(table_, MetaKey(kSecretRow));
    if (secret && secret->size() == secret_.size()) {
      std::memcpy(secret_.data(), secret->data(), secret_.size());
      return Ok();
    }
    secret_ = fresh_secret;
    return txn.Put(table_, MetaKey(kSecretRow), AsText(secret_));
  });
}

RegistrationStore::~RegistrationStore() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Status RegistrationStore::Load(const Loading& loading) {
  env_->WillReadAll();
  std::vector<std::string_view> useless;
  std::vector<std::vector<Row>> goes;
  Status status = Ok();
  env_->Read([&](const LmdbTxn& txn) {
    loading.expect(txn.Count(table_));
    RowPipe pipe;
    std::thread reader([&] { ReadAll(txn, table_, loading, pipe); });
    ReadRows rows;
    while (status.ok() && pipe.Take(rows)) status = loading.load(rows, useless);
    pipe.Stop();
    reader.join();
    if (status.ok()) status = pipe.status();
    // In parts: what agents register at once need not wait until all of them are gone.
    for (std::size_t i = 0; i < useless.size(); ++i) {
      if (i % kRowsAtOnce == 0) goes.emplace_back();
      goes.back().push_back({std::string(useless[i]), std::nullopt});
    }
  });
  if (!status) return status;
  for (auto& part : goes) Append(std::move(part), {});
  return Ok();
}

void RegistrationStore::Append(std::vector<Row> rows, std::function<void(const Status&)> done) {
  {
    const std::scoped_lock lock(mutex_);
    // Rows that are not kept would come to differ from what is in memory, but for a while only:
    // whoever is told so registers again, and expired rows are not loaded.
    if (waiting_.size() < kWaiting) {
      waiting_.push_back({std::move(rows), std::move(done)});
      wake_.notify_one();
      return;
    }
  }
  if (done) done(Error{Code::kExhausted, "the disk is too slow for what is asked of the server"});
}

void RegistrationStore::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    std::vector<Part> parts;
    std::size_t rows = 0;
    while (!waiting_.empty() && rows < kRowsAtOnce) {
      rows += waiting_.front().rows.size();
      parts.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    lock.unlock();
    Commit(parts);
    lock.lock();
  }
}

void RegistrationStore::Commit(const std::vector<Part>& parts) {
  const Status together = Write(parts, 0, parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Status status = together.ok() || parts.size() == 1 ? together : Write(parts, i, i + 1);
    if (!status) spdlog::warn("index server: not kept: {}", status.error().text);
    if (parts[i].done) parts[i].done(status);
  }
}

Status RegistrationStore::Write(const std::vector<Part>& parts, std::size_t begin,
                                std::size_t end) {
  return env_->Write([&](LmdbTxn& txn) -> Status {
    for (std::size_t i = begin; i < end; ++i) {
      for (const Row& row : parts[i].rows) {
        Status done =
            row.value ? txn.Put(table_, row.key, *row.value) : txn.Delete(table_, row.key);
        if (!done) return done;
      }
    }
    return Ok();
  });
}

}  // namespace shoal::index
