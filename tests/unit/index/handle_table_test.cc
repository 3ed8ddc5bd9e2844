#include "index/handle_table.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"

namespace shoal::index {
namespace {

// A handle's hash, such that many fall on one place, some with all that a place keeps of it alike.
std::uint64_t HashOf(Handle handle) {
  return static_cast<std::uint64_t>(handle % 3) << 56 | static_cast<std::uint64_t>(handle) << 40 |
         handle % 40;
}

Handle Find(const HandleTable& table, Handle wanted) {
  return table.Find(HashOf(wanted), [&](Handle handle) { return handle == wanted; });
}

TEST(HandleTableTest, AgreesWithANaiveTwin) {
  Rng rng(7);
  HandleTable table;
  std::map<Handle, bool> twin;
  for (int step = 0; step < 20'000; ++step) {
    const auto handle = static_cast<Handle>(rng.Below(500));
    if (twin[handle]) {
      table.Erase(HashOf(handle), handle);
    } else {
      table.Insert(HashOf(handle), handle);
    }
    twin[handle] = !twin[handle];
    const auto other = static_cast<Handle>(rng.Below(500));
    ASSERT_EQ(Find(table, other), twin[other] ? other : kNoHandle) << "step " << step;
  }
}

TEST(HandleTableTest, AsksOnlyAboutThoseThatMayBeMeant) {
  HandleTable table;
  for (Handle handle = 0; handle < 8; ++handle) table.Insert(handle << 4, handle);  // one place
  int asked = 0;
  EXPECT_EQ(table.Find(5U << 4,
                       [&](Handle handle) {
                         ++asked;
                         return handle == 5;
                       }),
            5U);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(table.First(6U << 4), 6U);
  EXPECT_EQ(table.First(9U << 4), kNoHandle);
}

TEST(HandleTableTest, ReservesWithoutLosingAnything) {
  HandleTable table;
  for (Handle handle = 0; handle < 100; ++handle) table.Insert(Mix(handle), handle);
  table.Reserve(100'000);
  for (Handle handle = 0; handle < 100; ++handle) EXPECT_EQ(table.First(Mix(handle)), handle);
}

}  // namespace
}  // namespace shoal::index
