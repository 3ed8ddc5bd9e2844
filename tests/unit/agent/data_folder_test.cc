#include "agent/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/index/adapters/temp_dir.h"

namespace shoal::agent {
namespace {

constexpr Bytes kMap{1 << 20};

Status Put(index::LmdbEnv& env, const std::string& table, const std::string& key,
           const std::string& value) {
  auto dbi = env.Table(table);
  if (!dbi) return dbi.error();
  return env.Write([&](index::LmdbTxn& txn) { return txn.Put(*dbi, key, value); });
}
std::string Find(index::LmdbEnv& env, const std::string& table, const std::string& key) {
  std::string out;
  const auto dbi = env.Table(table);
  env.Read([&](const index::LmdbTxn& txn) { out = txn.Get(*dbi, key).value_or(""); });
  return out;
}

TEST(DatabaseTest, OneOfBeforeThereWereVersionsIsUsedAsItIs) {
  const index::TempDir dir;
  const std::string path = dir / "db";
  {
    auto env = index::LmdbEnv::Open(path, kMap);
    ASSERT_TRUE(env.ok());
    ASSERT_TRUE(Put(**env, "held-tags", "reg.test/app:v1", "x").ok());
  }
  for (int time = 0; time < 2; ++time) {
    auto env = OpenDatabase(path, kMap);
    ASSERT_TRUE(env.ok()) << env.error().text;
    EXPECT_EQ(Find(**env, "held-tags", "reg.test/app:v1"), "x");
    EXPECT_EQ(Find(**env, "version", "tables"), "1");
  }
}

TEST(DatabaseTest, OneOfALaterVersionIsLeftAlone) {
  const index::TempDir dir;
  const std::string path = dir / "db";
  {
    auto env = index::LmdbEnv::Open(path, kMap);
    ASSERT_TRUE(env.ok());
    ASSERT_TRUE(Put(**env, "version", "tables", "2").ok());
  }
  const auto opened = OpenDatabase(path, kMap);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::kUnsupported);
  EXPECT_THAT(opened.error().text, testing::HasSubstr(path + " was written by a later version"));
  auto env = index::LmdbEnv::Open(path, kMap);
  ASSERT_TRUE(env.ok());
  EXPECT_EQ(Find(**env, "version", "tables"), "2");
}

}  // namespace
}  // namespace shoal::agent
