#include "registry-proxy/http/tag_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "tests/unit/index/adapters/temp_dir.h"

namespace shoal::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TagEntry EntryOf(const std::string& name, int digest, int checked_s) {
  TagEntry entry;
  entry.name = name;
  entry.digest.bytes[0] = static_cast<std::byte>(digest);
  entry.media_type = "application/vnd.oci.image.manifest.v1+json";
  entry.size = Bytes(1234);
  entry.checked_at = WallTime(std::chrono::seconds(checked_s));
  return entry;
}

class TagTableTest : public ::testing::Test {
 protected:
  TagTableTest() { Reopen(); }
  void Reopen() {
    table_.reset();
    env_.reset();
    env_ = index::LmdbEnv::Open(folder_.path(), Bytes(16 << 20)).value();
    table_ = std::make_unique<TagTable>(TagTable::Open(*env_).value());
  }

  index::TempDir folder_;
  std::unique_ptr<index::LmdbEnv> env_;
  std::unique_ptr<TagTable> table_;
};

TEST_F(TagTableTest, KeepsTagsOverARestartTheLastLookedUpFirst) {
  const TagEntry old = EntryOf("reg.test/a:v1", 1, 100);
  const TagEntry fresh = EntryOf("reg.test/b:v1", 2, 300);
  ASSERT_TRUE(table_->Save(old).ok());
  ASSERT_TRUE(table_->Save(fresh).ok());
  Reopen();
  EXPECT_THAT(table_->Load(10), ElementsAre(fresh, old));
}

TEST_F(TagTableTest, RemovesWhatTheCacheWouldNotHold) {
  for (int i = 1; i <= 4; ++i) {
    ASSERT_TRUE(table_->Save(EntryOf("reg.test/a:v" + std::to_string(i), i, i * 100)).ok());
  }
  EXPECT_EQ(table_->Load(2).size(), 2U);
  EXPECT_THAT(table_->Load(10),
              ElementsAre(EntryOf("reg.test/a:v4", 4, 400), EntryOf("reg.test/a:v3", 3, 300)));
}

TEST_F(TagTableTest, ALaterAnswerReplacesAnEarlierOne) {
  ASSERT_TRUE(table_->Save(EntryOf("reg.test/a:v1", 1, 100)).ok());
  const TagEntry later = EntryOf("reg.test/a:v1", 2, 200);
  ASSERT_TRUE(table_->Save(later).ok());
  EXPECT_THAT(table_->Load(10), ElementsAre(later));
}

TEST_F(TagTableTest, ATagThatWasDeletedStaysForgottenOverARestart) {
  const TagEntry kept = EntryOf("reg.test/b:v1", 2, 300);
  ASSERT_TRUE(table_->Save(EntryOf("reg.test/a:v1", 1, 100)).ok());
  ASSERT_TRUE(table_->Save(kept).ok());
  ASSERT_TRUE(table_->Remove("reg.test/a:v1").ok());
  EXPECT_TRUE(table_->Remove("reg.test/never:v1").ok());
  EXPECT_TRUE(table_->Remove(std::string(600, 'a')).ok());
  Reopen();
  EXPECT_THAT(table_->Load(10), ElementsAre(kept));
}

TEST_F(TagTableTest, LeavesOutRowsThatCannotBeRead) {
  const TagEntry good = EntryOf("reg.test/good:v1", 1, 100);
  ASSERT_TRUE(table_->Save(good).ok());
  const index::Dbi rows = env_->Table("tags").value();
  const std::string digest = ToString(good.digest);
  ASSERT_TRUE(
      env_->Write([&](index::LmdbTxn& txn) -> Status {
            int n = 0;
            for (const std::string& row :
                 {std::string("no json"), std::string("{}"), std::string(5000, ' '),
                  R"({"digest":"sha256:1","type":"t","size":1,"checked_ms":1})" + std::string(),
                  R"({"digest":")" + digest + R"(","type":7,"size":1,"checked_ms":1})",
                  R"({"digest":")" + digest + R"(","type":"t","size":-2,"checked_ms":1})",
                  R"({"digest":")" + digest + R"(","type":"t","size":1})"}) {
              auto put = txn.Put(rows, "bad" + std::to_string(++n), row);
              if (!put) return put;
            }
            return Ok();
          })
          .ok());
  Reopen();
  EXPECT_THAT(table_->Load(10), ElementsAre(good));
}

TEST_F(TagTableTest, DoesNotKeepNamesThatAreTooLongForAKey) {
  EXPECT_TRUE(table_->Save(EntryOf(std::string(600, 'a'), 1, 100)).ok());
  EXPECT_THAT(table_->Load(10), IsEmpty());
}

}  // namespace
}  // namespace shoal::proxy
