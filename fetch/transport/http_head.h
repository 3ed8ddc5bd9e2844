// The head of an answer as bytes on the wire, and small answers that the server makes itself.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "fetch/transport/http_server.h"

namespace shoal::fetch {

// "Not Found"; "Unknown" for a status that has no name. Source: RFC 9110, section 15.
std::string_view StatusText(int status);

// "Sun, 06 Nov 1994 08:49:37 GMT". Source: RFC 9110, section 5.6.7.
std::string HttpDate(std::time_t when);

// The length of the body that `reply` holds.
Bytes BodyLength(const HttpReply& reply);

// Status line and headers, with Content-Length, Date and Connection added. Line breaks in names and
// values are dropped: a header never becomes two.
std::string FormatHead(const HttpReply& reply, std::string_view date, bool keep_alive);

// {"error": "<text>"}; docs/PROTOCOL.md, "Transport between peers".
HttpReply ErrorReply(int status, std::string_view text);

}  // namespace shoal::fetch
