#include "agent/table.h"

#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

TEST(TableTest, AlignsColumnsToTheWidestCell) {
  Table table({"NAME", "SIZE", "STATE"});
  table.Add({"a", "1.4 GiB", "done"});
  table.Add({"longer-name", "312 B", "running"});
  EXPECT_EQ(table.ToString(),
            "NAME         SIZE     STATE\n"
            "a            1.4 GiB  done\n"
            "longer-name  312 B    running\n");
}

TEST(TableTest, CountsCharactersAndNotBytes) {
  Table table({"NAME", "X"});
  table.Add({"h\xc3\xb4te", "1"});
  table.Add({"hosts", "2"});
  EXPECT_EQ(table.ToString(),
            "NAME   X\n"
            "h\xc3\xb4te   1\n"
            "hosts  2\n");
}

TEST(TableTest, AnEmptyTableIsItsHeader) { EXPECT_EQ(Table({"A", "B"}).ToString(), "A  B\n"); }

}  // namespace
}  // namespace shoal::agent
