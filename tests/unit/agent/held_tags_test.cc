#include "agent/held_tags.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/numbered.h"

namespace shoal::agent {
namespace {

class HeldTagsTest : public ::testing::Test {
 protected:
  HeldTagsTest() { Reopen(); }
  void Reopen() {
    table_.reset();
    env_.reset();
    env_ = index::LmdbEnv::Open(folder_.path(), Bytes(16 << 20)).value();
    table_ = std::make_unique<HeldTags>(HeldTags::Open(*env_).value());
  }
  using Tags = std::map<std::string, Digest>;
  [[nodiscard]] Tags All() const {
    Tags tags;
    table_->ForEach([&](const std::string& name, const Digest& digest) { tags[name] = digest; });
    return tags;
  }

  index::TempDir folder_;
  std::unique_ptr<index::LmdbEnv> env_;
  std::unique_ptr<HeldTags> table_;
};

TEST_F(HeldTagsTest, KeepsWhatTagsMeanOverARestart) {
  ASSERT_TRUE(table_->Set("reg.test/a:1", DigestNo(1)).ok());
  ASSERT_TRUE(table_->Set("reg.test/b:1", DigestNo(2)).ok());
  ASSERT_TRUE(table_->Set("reg.test/b:1", DigestNo(3)).ok());
  ASSERT_TRUE(table_->Set("reg.test/c:1", DigestNo(4)).ok());
  ASSERT_TRUE(table_->Remove("reg.test/c:1").ok());
  ASSERT_TRUE(table_->Remove("reg.test/never:1").ok());
  Reopen();
  EXPECT_EQ(All(), (Tags{{"reg.test/a:1", DigestNo(1)}, {"reg.test/b:1", DigestNo(3)}}));
}

TEST_F(HeldTagsTest, LeavesOutWhatIsNoNameAndRowsThatCannotBeRead) {
  ASSERT_TRUE(table_->Set(std::string(600, 'a'), DigestNo(1)).ok());
  ASSERT_TRUE(table_->Remove(std::string(600, 'a')).ok());
  const index::Dbi rows = env_->Table("held-tags").value();
  ASSERT_TRUE(
      env_->Write([&](index::LmdbTxn& txn) { return txn.Put(rows, "bad:1", "short"); }).ok());
  EXPECT_EQ(All(), Tags{});
}

}  // namespace
}  // namespace shoal::agent
