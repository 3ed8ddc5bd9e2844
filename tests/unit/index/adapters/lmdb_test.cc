#include <fstream>
#include <thread>

#include "index/lmdb/catalog.h"

#include <gmock/gmock.h>
#include "index/lmdb/env.h"
#include "tests/contract/catalog_contract.h"
#include "tests/unit/index/adapters/temp_dir.h"

namespace shoal::index {
namespace {

class LmdbMaker {
 public:
  LmdbMaker()
      : env_(LmdbEnv::Open(dir_.path(), Bytes(64 << 20), LmdbSync::kNever).value()),
        catalog_(LmdbCatalog::Open(*env_, ContractSelf(), kContractKeysMax).value()) {}
  Catalog& catalog() { return *catalog_; }

 private:
  TempDir dir_;
  std::unique_ptr<LmdbEnv> env_;
  std::unique_ptr<LmdbCatalog> catalog_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Lmdb, CatalogContract, LmdbMaker);

std::string Value(LmdbEnv& env, Dbi table, std::string_view key) {
  std::string out = "<none>";
  env.Read([&](const LmdbTxn& txn) {
    if (const auto value = txn.Get(table, key)) out = *value;
  });
  return out;
}

TEST(LmdbEnvTest, KeepsWhatWasCommittedOverReopening) {
  const TempDir dir;
  {
    auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
    const auto table = env->Table("t").value();
    ASSERT_TRUE(env->Write([&](LmdbTxn& txn) { return txn.Put(table, "k", "v"); }).ok());
  }
  auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
  EXPECT_EQ(Value(*env, env->Table("t").value(), "k"), "v");
}

TEST(LmdbEnvTest, RollsBackWhenTheWorkFails) {
  const TempDir dir;
  auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
  const auto table = env->Table("t").value();
  const auto status = env->Write([&](LmdbTxn& txn) -> Status {
    EXPECT_TRUE(txn.Put(table, "k", "v").ok());
    return Error{Code::kCancelled, "changed my mind"};
  });
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kCancelled);
  EXPECT_EQ(Value(*env, table, "k"), "<none>");
}

TEST(LmdbEnvTest, WalksInOrderFromAKeyUntilToldToStop) {
  const TempDir dir;
  auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
  const auto table = env->Table("t").value();
  ASSERT_TRUE(env->Write([&](LmdbTxn& txn) -> Status {
                   for (const char* key : {"d", "a", "c", "b"}) {
                     if (auto put = txn.Put(table, key, key); !put) return put;
                   }
                   return txn.Delete(table, "absent");
                 })
                  .ok());
  std::string seen;
  const auto visit = [&](std::string_view key, std::string_view) {
    seen += key;
    return key != "c";
  };
  env->Read([&](const LmdbTxn& txn) {
    txn.Walk(table, "b", visit);
    txn.Walk(table, "", visit);
    txn.Walk(table, "e", visit);
  });
  EXPECT_EQ(seen, "bcabc");
  ASSERT_TRUE(env->Write([&](LmdbTxn& txn) { return txn.Clear(table); }).ok());
  EXPECT_EQ(Value(*env, table, "a"), "<none>");
}

TEST(LmdbEnvTest, RefusesAKeyThatIsTooLong) {
  const TempDir dir;
  auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
  const auto table = env->Table("t").value();
  const auto put =
      env->Write([&](LmdbTxn& txn) { return txn.Put(table, std::string(512, 'k'), "v"); });
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code, Code::kInvalid);
}

TEST(LmdbEnvTest, SaysWhatToDoWithADamagedFile) {
  const TempDir dir;
  std::ofstream(dir / "data.mdb") << std::string(8192, 'x');
  const auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20));
  ASSERT_FALSE(env.ok());
  EXPECT_EQ(env.error().code, Code::kCorrupt);
  EXPECT_THAT(env.error().text, testing::HasSubstr("remove"));
}

TEST(LmdbEnvTest, WithoutSyncsBeginsEmptyAfterABoot) {
  const TempDir dir;
  const auto open = [&] { return LmdbEnv::Open(dir.path(), Bytes(1 << 20), LmdbSync::kNever); };
  {
    auto env = open().value();
    const auto table = env->Table("t").value();
    ASSERT_TRUE(env->Write([&](LmdbTxn& txn) { return txn.Put(table, "k", "v"); }).ok());
  }
  {
    auto env = open().value();
    EXPECT_EQ(Value(*env, env->Table("t").value(), "k"), "v");
  }
  std::ofstream(dir / "boot") << "another-boot\n";
  auto env = open().value();
  EXPECT_EQ(Value(*env, env->Table("t").value(), "k"), "<none>");
}

TEST(LmdbEnvTest, ManyThreadsReadWhileOneWrites) {
  const TempDir dir;
  auto env = LmdbEnv::Open(dir.path(), Bytes(16 << 20), LmdbSync::kNever).value();
  const auto table = env->Table("t").value();
  ASSERT_TRUE(env->Write([&](LmdbTxn& txn) { return txn.Put(table, "k", "0"); }).ok());
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      for (int n = 0; n < 300; ++n) EXPECT_NE(Value(*env, table, "k"), "<none>");
    });
  }
  for (int n = 0; n < 100; ++n) {
    EXPECT_TRUE(
        env->Write([&](LmdbTxn& txn) { return txn.Put(table, "k", std::to_string(n)); }).ok());
  }
  for (auto& reader : readers) reader.join();
}

TEST(LmdbCatalogTest, KnowsTheSameAfterReopening) {
  const TempDir dir;
  {
    auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
    auto catalog = LmdbCatalog::Open(*env, ContractSelf()).value();
    ASSERT_TRUE(catalog->Apply(PeerNo(1), PageOf(2, {HasBlob(1), HasImage("r/a:1", 1)})).ok());
  }
  auto env = LmdbEnv::Open(dir.path(), Bytes(1 << 20)).value();
  auto catalog = LmdbCatalog::Open(*env, ContractSelf()).value();
  EXPECT_EQ(catalog->HoldersOf(DigestNo(1)).size(), 1U);
  EXPECT_EQ(catalog->ImagesNamed("r/a:1").size(), 1U);
  EXPECT_EQ(catalog->CursorOf(PeerNo(1)).cursor, 2U);
}

TEST(LmdbCatalogTest, IsAsBeforeWhenTheMapIsFull) {
  const TempDir dir;
  auto env = LmdbEnv::Open(dir.path(), Bytes(256 << 10)).value();
  auto catalog = LmdbCatalog::Open(*env, ContractSelf()).value();
  ASSERT_TRUE(catalog->Apply(PeerNo(1), PageOf(1, {HasBlob(1)})).ok());
  Rng rng(1);
  KeysPage page = PageOf(2, {});
  for (int i = 0; i < 2000; ++i) {
    BlobHolding blob{{}, Bytes(i), true};
    for (auto& b : blob.digest.bytes) b = static_cast<std::byte>(rng.Below(256));
    page.changes.push_back({blob, false});
  }
  Status status = catalog->Apply(PeerNo(2), page);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kExhausted) << status.error().text;
  EXPECT_EQ(catalog->BlobCountOf(PeerNo(2)), 0U);
  EXPECT_EQ(catalog->CursorOf(PeerNo(2)).cursor, 0U);
  EXPECT_EQ(catalog->HoldersOf(DigestNo(1)).size(), 1U);
  EXPECT_TRUE(catalog->Apply(PeerNo(1), PageOf(2, {HasBlob(2)})).ok());
}

}  // namespace
}  // namespace shoal::index
