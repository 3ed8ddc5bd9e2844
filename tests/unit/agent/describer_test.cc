#include "agent/describer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <mutex>

#include "tests/unit/numbered.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

const std::string kManifest = R"({"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:)" +
                              std::string(64, 'c') + R"(","size":30},"layers":[]})";
const std::string kConfig = R"({"os":"linux","architecture":"arm64"})";

// The loop stands for the pool too: what is posted runs in order.
class DescriberTest : public testing::Test {
 protected:
  void Put(char digest, const std::string& body) {
    const std::lock_guard lock(mutex_);
    here_[DigestAll(digest)] = body;
  }
  template <class Work>
  void OnLoop(const Work& work) {
    loop_.Ask([&] {
      work();
      return 0;
    });
    loop_.Advance(std::chrono::seconds(1));
    loop_.Settle();
  }
  std::optional<std::string> Read(const Digest& digest) {
    const std::lock_guard lock(mutex_);
    ++reads_;
    const auto it = here_.find(digest);
    return it == here_.end() ? std::nullopt : std::optional(it->second);
  }

  std::mutex mutex_;
  std::map<Digest, std::string> here_;
  std::map<Digest, std::string> platforms_;
  int reads_ = 0;
  test::TestLoop loop_;
  Describer describer_{{loop_, loop_,
                        [this](const Digest& digest, std::size_t) { return Read(digest); },
                        [this](const Digest& top, const proxy::ImageFacts& facts) {
                          platforms_[top] = facts.platforms;
                        }}};
};

TEST_F(DescriberTest, LooksAgainWhenADocumentComes) {
  Put('a', kManifest);
  OnLoop([&] { describer_.Want(DigestAll('a')); });
  EXPECT_TRUE(platforms_.empty());
  Put('c', kConfig);
  OnLoop([&] { describer_.OnBlob(Bytes(100)); });
  EXPECT_EQ(platforms_[DigestAll('a')], "linux/arm64");
}

TEST_F(DescriberTest, LooksOnceForWhatIsWantedOftenAndNotWhenALayerComes) {
  OnLoop([&] {
    for (int i = 0; i < 10; ++i) describer_.Want(DigestAll('a'));
  });
  EXPECT_EQ(reads_, 1);
  OnLoop([&] { describer_.OnBlob(Bytes(1 << 30)); });
  EXPECT_EQ(reads_, 1);
}

TEST_F(DescriberTest, ForgetsTheOldestBeyondItsMaximum) {
  OnLoop([&] {
    for (std::uint32_t n = 0; n < 10'050; ++n) {
      Digest digest;
      std::memcpy(digest.bytes.data(), &n, sizeof n);
      describer_.Want(digest);
    }
    describer_.Want(DigestAll('a'));
  });
  Put('a', kManifest);
  Put('c', kConfig);
  for (int i = 0; i < 200 && platforms_.empty(); ++i) {
    OnLoop([&] { describer_.OnBlob(Bytes(0)); });
  }
  EXPECT_EQ(platforms_.size(), 1U);
  // A round of all that are wanted, and no more.
  EXPECT_LE(reads_, 2 * 10'100);
}

}  // namespace
}  // namespace shoal::agent
