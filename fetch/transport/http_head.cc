#include "fetch/transport/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <cctype>
#include <iterator>

#include "base/json.h"

namespace shoal::fetch {
namespace {

bool EqualsWithoutCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

void AppendWithoutBreaks(std::string& out, std::string_view text) {
  std::copy_if(text.begin(), text.end(), std::back_inserter(out),
               [](char c) { return c != '\r' && c != '\n' && c != '\0'; });
}

}  // namespace

std::string_view FindHeader(const HttpHeaders& headers, std::string_view name) {
  const auto found = std::find_if(headers.begin(), headers.end(), [name](const auto& header) {
    return EqualsWithoutCase(header.first, name);
  });
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::string_view StatusText(int status) {
  namespace http = boost::beast::http;
  const auto text = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return text.empty() || text == "<unknown-status>" ? std::string_view("Unknown")
                                                    : std::string_view(text.data(), text.size());
}

std::string HttpDate(std::time_t when) {
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm t{};
  gmtime_r(&when, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     kDays[static_cast<std::size_t>(t.tm_wday)], t.tm_mday,
                     kMonths[static_cast<std::size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour,
                     t.tm_min, t.tm_sec);
}

Bytes BodyLength(const HttpReply& reply) {
  Bytes length;
  for (const BodyPart& part : reply.body) {
    SHOAL_CHECK(!part.file || (part.begin >= Bytes(0) && part.begin <= part.end));
    length +=
        part.file ? part.end - part.begin : Bytes(static_cast<std::int64_t>(part.text.size()));
  }
  return length;
}

std::string FormatHead(const HttpReply& reply, std::string_view date, bool keep_alive) {
  std::string head;
  head.reserve(512);
  fmt::format_to(std::back_inserter(head), "HTTP/1.1 {} {}\r\n", reply.status,
                 StatusText(reply.status));
  for (const auto& [name, value] : reply.headers) {
    AppendWithoutBreaks(head, name);
    head += ": ";
    AppendWithoutBreaks(head, value);
    head += "\r\n";
  }
  // RFC 9110, section 8.6: none with 1xx and 204; with 304 only what a 200 would have had.
  const bool lengthless =
      reply.status < 200 || reply.status == 204 || (reply.status == 304 && !reply.content_length);
  if (!lengthless) {
    const Bytes length =
        reply.body.empty() && reply.content_length ? *reply.content_length : BodyLength(reply);
    fmt::format_to(std::back_inserter(head), "Content-Length: {}\r\n", length.count());
  }
  fmt::format_to(std::back_inserter(head), "Date: {}\r\nConnection: {}\r\n\r\n", date,
                 keep_alive ? "keep-alive" : "close");
  return head;
}

HttpReply ErrorReply(int status, std::string_view text) {
  Json body = Json::object();
  body["error"] = Json::string(std::string(text));
  HttpReply reply;
  reply.status = status;
  reply.headers = {{"Content-Type", "application/json"}};
  reply.body.push_back({body.serialize(), nullptr, {}, {}});
  return reply;
}

}  // namespace shoal::fetch
