// What containerd holds becomes inventory, whatever happens to containerd.
#include "fetch/containerd/containerd.h"

#include <algorithm>
#include <chrono>

#include "containerd_rig.h"

#ifdef __SANITIZE_THREAD__
// Debian's gRPC is not built with ThreadSanitizer: its locks are invisible to it, so that whatever
// passes through it from one thread to another would look like a race.
extern "C" const char* __tsan_default_options() {  // NOLINT: the sanitizer's name
  return "ignore_noninstrumented_modules=1";
}
#endif

namespace shoal::fetch {
namespace {

bool HasImage(const ContainerdInventory& inventory, const TestImage& image) {
  return std::any_of(inventory.images.begin(), inventory.images.end(), [&](const auto& one) {
    return one.name == image.name() && one.digest == image.digest();
  });
}
bool HasBlob(const ContainerdInventory& inventory, const std::string& bytes) {
  return std::any_of(inventory.blobs.begin(), inventory.blobs.end(), [&](const auto& one) {
    return one.digest == Sha256(bytes) &&
           one.size.count() == static_cast<std::int64_t>(bytes.size());
  });
}
bool HasAll(const ContainerdInventory& inventory, const TestImage& image) {
  const auto blobs = image.blobs();
  return HasImage(inventory, image) &&
         std::all_of(blobs.begin(), blobs.end(),
                     [&](const std::string& blob) { return HasBlob(inventory, blob); });
}

const TestImage& App() {
  static const TestImage kImage("reg.test/app:v1", {RandomBytes(70'000, 1), RandomBytes(900, 2)});
  return kImage;
}

TEST_F(ContainerdTest, ConnectsOnceContainerdIsThere) {
  StartAdapter();
  process_.Start();
  ASSERT_TRUE(heard_.AwaitAny());
  const ContainerdStatus status = adapter_->status();
  EXPECT_TRUE(status.connected);
  EXPECT_NE(status.version.find('.'), std::string::npos) << status.version;
  EXPECT_EQ(status.content_root, process_.root());
  EXPECT_EQ(status.text, "");
}

TEST_F(ContainerdTest, SaysWhatIsWrongWhileContainerdIsAway) {
  StartAdapter();
  EXPECT_FALSE(adapter_->status().connected);
  const auto blob = adapter_->OpenBlob(App().digest());
  ASSERT_FALSE(blob.ok());
  EXPECT_EQ(blob.error().code, Code::kRetryLater);
  const Status ingested = adapter_->Ingest(App().ToIngest(dir_));
  ASSERT_FALSE(ingested.ok());
  EXPECT_EQ(ingested.error().code, Code::kRetryLater);
  adapter_->Stop();
  EXPECT_NE(adapter_->status().text.find("nobody listens on " + process_.socket()),
            std::string::npos)
      << adapter_->status().text;
}

TEST_F(ContainerdTest, TellsWhatWasThereBefore) {
  StartBoth();
  Import(App());
  Inventories later;
  Containerd::Options options;
  options.socket = process_.socket();
  const auto second = Containerd::Start(options, loop_, later.Listener());
  EXPECT_TRUE(later.Await([](const auto& told) { return HasAll(told, App()); }));
  second->Stop();
}

TEST_F(ContainerdTest, TellsOfAnImageThatComesAndGoes) {
  StartBoth();
  Import(App());
  EXPECT_TRUE(heard_.Await([](const auto& told) { return HasAll(told, App()); }));
  const Output removed = process_.Ctr("images rm --sync " + App().name());
  ASSERT_EQ(removed.exit, 0) << removed.text;
  EXPECT_TRUE(heard_.Await(
      [](const auto& told) { return !HasImage(told, App()) && !HasBlob(told, App().layer(0)); }));
}

TEST_F(ContainerdTest, TellsOfItsOwnNamespaceOnly) {
  StartBoth();
  const TestImage foreign("reg.test/foreign:v1", {RandomBytes(500, 3)});
  Import(foreign, "other");
  Import(App());
  EXPECT_TRUE(heard_.Await([&](const auto& told) {
    return HasAll(told, App()) && !HasImage(told, foreign) && !HasBlob(told, foreign.layer(0));
  }));
}

TEST_F(ContainerdTest, OpensBlobsInTheContentRoot) {
  StartBoth();
  Import(App());
  const auto file = adapter_->OpenBlob(Sha256(App().layer(0)));
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  std::string bytes(App().layer(0).size(), '\0');
  ASSERT_TRUE((*file)->ReadAt(Bytes(0), std::as_writable_bytes(std::span(bytes))).ok());
  EXPECT_EQ(bytes, App().layer(0));

  const auto absent = adapter_->OpenBlob(Sha256("absent"));
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, Code::kNotFound);
}

TEST_F(ContainerdTest, ComesBackAfterARestart) {
  StartBoth();
  Import(App());
  ASSERT_TRUE(heard_.Await([](const auto& told) { return HasAll(told, App()); }));
  process_.End(SIGKILL);
  const int seen = heard_.count();
  process_.Start();
  EXPECT_TRUE(heard_.Await([](const auto& told) { return HasAll(told, App()); }, seen));
  EXPECT_TRUE(adapter_->status().connected);

  const TestImage next("reg.test/next:v1", {RandomBytes(500, 4)});
  Import(next);
  EXPECT_TRUE(heard_.Await([&](const auto& told) { return HasAll(told, next); }));
}

// A containerd that hangs (SIGSTOP) answers nothing: Stop must not wait for it.
TEST_F(ContainerdTest, StopsWithinASecondWhateverContainerdDoes) {
  StartBoth();
  process_.Signal(SIGSTOP);
  const auto start = std::chrono::steady_clock::now();
  adapter_->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST_F(ContainerdTest, TellsNothingAfterStop) {
  StartBoth();
  adapter_->Stop();
  const int seen = heard_.count();
  Import(App());
  EXPECT_EQ(heard_.count(), seen);
}

}  // namespace
}  // namespace shoal::fetch
