#include "agent/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/index/adapters/temp_dir.h"

namespace shoal::agent {
namespace {

constexpr Bytes kMap{1 << 20};

// A database with one row, as another version may have left it.
void Leave(const std::string& path, const std::string& table, const std::string& key,
           const std::string& value) {
  auto env = index::LmdbEnv::Open(path, kMap);
  ASSERT_TRUE(env.ok());
  const auto dbi = (*env)->Table(table);
  ASSERT_TRUE(dbi.ok());
  ASSERT_TRUE((*env)->Write([&](index::LmdbTxn& txn) { return txn.Put(*dbi, key, value); }).ok());
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
  ASSERT_NO_FATAL_FAILURE(Leave(path, "held-tags", "reg.test/app:v1", "x"));
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
  ASSERT_NO_FATAL_FAILURE(Leave(path, "version", "tables", "2"));
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
