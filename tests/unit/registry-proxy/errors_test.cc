#include "registry-proxy/errors.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace shoal::proxy {
namespace {

TEST(ErrorsTest, WritesTheSpecificationsBody) {
  const auto json = ParseJson(ToBody({404, "BLOB_UNKNOWN", "nobody \"has\" it\n", "why"}), 4096);
  ASSERT_TRUE(json.ok());
  const auto& error = json->at("errors").at(0);
  EXPECT_EQ(error.at("code").as_string(), "BLOB_UNKNOWN");
  EXPECT_EQ(error.at("message").as_string(), "nobody \"has\" it?");
  EXPECT_EQ(error.at("detail").as_string(), "why");
  EXPECT_FALSE(
      ParseJson(ToBody({404, "X", "y", ""}), 4096)->at("errors").at(0).has_field("detail"));
}

TEST(ErrorsTest, QuotedBytesStayValidJson) {
  std::string text;
  for (int i = 0; i < 256; ++i) text.push_back(static_cast<char>(i));
  EXPECT_TRUE(ParseJson(ToBody({400, "NAME_INVALID", text, text}), 1 << 16).ok());
}

TEST(ErrorsTest, ClientsAreOnlyToldToMoveOn) {
  const Code codes[] = {Code::kInvalid, Code::kNotFound,  Code::kRetryLater, Code::kCorrupt,
                        Code::kDenied,  Code::kExhausted, Code::kCancelled,  Code::kUnsupported};
  for (const Code code : codes) {
    for (const bool manifest : {false, true}) {
      const auto error = FromError(Error{code, "text"}, manifest);
      EXPECT_TRUE(error.status == 404 || error.status == 503) << error.status;
      EXPECT_EQ(error.message, "text");
    }
  }
  EXPECT_EQ(FromError(Error{Code::kNotFound, ""}, true).code, "MANIFEST_UNKNOWN");
  EXPECT_EQ(FromError(Error{Code::kDenied, ""}, false).code, "BLOB_UNKNOWN");
  EXPECT_EQ(FromError(Error{Code::kRetryLater, ""}, false).status, 503);
}

}  // namespace
}  // namespace shoal::proxy
