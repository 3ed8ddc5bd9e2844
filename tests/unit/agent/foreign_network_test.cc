#include "agent/foreign_network.h"

#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

std::optional<std::string> Of(const std::string& host) { return NetworkToDial({host, 7381}); }

TEST(ForeignNetworkTest, OrdinaryAddressesAreDialled) {
  for (const char* host : {"10.0.0.1", "192.168.7.9", "203.0.113.5", "169.253.1.1", "1.0.0.1"}) {
    EXPECT_EQ(Of(host), host);
  }
  EXPECT_TRUE(Of("2001:db8::1"));
  EXPECT_TRUE(Of("fd00::1"));
}

TEST(ForeignNetworkTest, WhatIsThisHostsOrItsLinksOwnIsNot) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "169.254.169.254",
                           "169.254.0.1", "224.0.0.1", "239.255.1.1", "255.255.255.255",
                           "::", "::1", "fe80::1", "fe80::1%lo", "fe80::1%1", "febf::1", "ff02::1",
                           "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1"}) {
    EXPECT_FALSE(Of(host)) << host;
  }
}

TEST(ForeignNetworkTest, NamesAndNonsenseAreNot) {
  for (const char* host : {"localhost", "metadata.internal", "", "10.0.0", "0x7f000001",
                           "2130706433", "127.1", "10.0.0.1 ", "[::1]"}) {
    EXPECT_FALSE(Of(host)) << host;
  }
}

TEST(ForeignNetworkTest, HostsOfAnIpv6NetworkAreCountedTogether) {
  EXPECT_EQ(Of("2001:db8:0:7::1"), Of("2001:db8:0:7:ffff::2"));
  EXPECT_NE(Of("2001:db8:0:7::1"), Of("2001:db8:0:8::1"));
}

}  // namespace
}  // namespace shoal::agent
