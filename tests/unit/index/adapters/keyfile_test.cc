#include "index/keyfile/keyfile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <thread>

#include "index/keyfile/pin_file.h"
#include "tests/unit/index/adapters/temp_dir.h"

namespace shoal::index {
namespace {

using testing::HasSubstr;

std::string Contents(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t FilesIn(const TempDir& dir) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(dir.path()), {}));
}

PeerId IdNo(int n) {
  PeerId id;
  id.bytes[0] = static_cast<std::byte>(n);
  return id;
}

TEST(KeyFileTest, MakesAKeyOnceAndReadsItFromThenOn) {
  const TempDir dir;
  const auto made = LoadOrMakeKey(dir / "key");
  ASSERT_TRUE(made.ok()) << made.error().text;
  struct stat info {};
  ASSERT_EQ(::stat((dir / "key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  const auto before = Contents(dir / "key");
  const auto read = LoadOrMakeKey(dir / "key");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->id(), made->id());
  EXPECT_EQ(Contents(dir / "key"), before);
  EXPECT_EQ(FilesIn(dir), 1U);
  EXPECT_NE(LoadOrMakeKey(dir / "other")->id(), made->id());
}

TEST(KeyFileTest, RefusesAKeyThatOthersCanRead) {
  const TempDir dir;
  ASSERT_TRUE(LoadOrMakeKey(dir / "key").ok());
  for (const unsigned mode : {0640U, 0604U, 0620U, 0611U}) {
    ASSERT_EQ(::chmod((dir / "key").c_str(), mode), 0);
    const auto key = LoadOrMakeKey(dir / "key");
    ASSERT_FALSE(key.ok());
    EXPECT_EQ(key.error().code, Code::kDenied);
    EXPECT_THAT(key.error().text, HasSubstr("chmod 600 " + (dir / "key")));
  }
}

TEST(KeyFileTest, NeverReplacesADamagedKey) {
  const TempDir dir;
  for (const std::string& text :
       {std::string(), std::string("short\n"), std::string(64, 'a'), std::string(65, 'a'),
        std::string(64, 'A') + "\n", std::string(64, 'a') + "\n\n", std::string(10'000, 'a')}) {
    const auto path = dir / "key";
    std::ofstream(path, std::ios::trunc) << text;
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    const auto key = LoadOrMakeKey(path);
    ASSERT_FALSE(key.ok());
    EXPECT_EQ(key.error().code, Code::kCorrupt);
    EXPECT_THAT(key.error().text, HasSubstr("restore it"));
    EXPECT_EQ(Contents(path), text);
  }
}

TEST(KeyFileTest, RefusesWhatIsNoFile) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "key");
  EXPECT_EQ(LoadOrMakeKey(dir / "key").error().code, Code::kInvalid);
  EXPECT_EQ(LoadOrMakeKey(dir / "absent/key").error().code, Code::kNotFound);
  ASSERT_TRUE(LoadOrMakeKey(dir / "real").ok());
  ASSERT_EQ(::symlink("real", (dir / "link").c_str()), 0);
  EXPECT_FALSE(LoadOrMakeKey(dir / "link").ok());
}

TEST(KeyFileTest, ManyThatStartAtOnceEndWithOneKey) {
  const TempDir dir;
  std::vector<PeerId> ids(8);
  std::vector<std::thread> threads;
  for (auto& id : ids) {
    threads.emplace_back([&dir, &id] { id = LoadOrMakeKey(dir / "key").value().id(); });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::set<PeerId>(ids.begin(), ids.end()).size(), 1U);
  EXPECT_EQ(FilesIn(dir), 1U);
}

TEST(PinFileTest, RemembersOverRestarts) {
  const TempDir dir;
  {
    auto pins = PinFile::Open(dir / "pins").value();
    EXPECT_EQ(pins->Find("https://a:1"), std::nullopt);
    ASSERT_TRUE(pins->Remember("https://a:1", IdNo(1)).ok());
    ASSERT_TRUE(pins->Remember("https://b:1", IdNo(2)).ok());
    ASSERT_TRUE(pins->Remember("https://a:1", IdNo(1)).ok());
  }
  auto pins = PinFile::Open(dir / "pins").value();
  EXPECT_EQ(pins->Find("https://a:1"), IdNo(1));
  EXPECT_EQ(pins->Find("https://b:1"), IdNo(2));
  EXPECT_EQ(FilesIn(dir), 1U);
}

TEST(PinFileTest, RefusesAnotherIdentity) {
  const TempDir dir;
  auto pins = PinFile::Open(dir / "pins").value();
  ASSERT_TRUE(pins->Remember("https://a:1", IdNo(1)).ok());
  const auto refused = pins->Remember("https://a:1", IdNo(2));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kDenied);
  EXPECT_THAT(refused.error().text, HasSubstr(dir / "pins"));
  EXPECT_EQ(pins->Find("https://a:1"), IdNo(1));
}

TEST(PinFileTest, NamesTheLineThatIsWrong) {
  const TempDir dir;
  for (const auto& bad : {std::string("https://a:1"), std::string("https://a:1 abc"),
                          " " + IdNo(1).Hex(), std::string("x")}) {
    std::ofstream(dir / "pins", std::ios::trunc) << "https://ok:1 " << IdNo(1).Hex() << "\n"
                                                 << bad << "\n";
    const auto pins = PinFile::Open(dir / "pins");
    ASSERT_FALSE(pins.ok()) << bad;
    EXPECT_EQ(pins.error().code, Code::kCorrupt);
    EXPECT_THAT(pins.error().text, HasSubstr("line 2"));
  }
}

}  // namespace
}  // namespace shoal::index
