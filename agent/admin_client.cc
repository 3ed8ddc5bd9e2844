#include "agent/admin_client.h"

#include <cpprest/http_client.h>

#include <chrono>

namespace shoal::agent {
namespace {

namespace http = web::http;

Code CodeOf(int status) {
  switch (status) {
    case 400:
      return Code::kInvalid;
    case 403:
      return Code::kDenied;
    case 404:
      return Code::kNotFound;
    case 503:
      return Code::kExhausted;
    default:
      return Code::kCorrupt;
  }
}

}  // namespace

std::string UrlEncode(const std::string& text) { return web::uri::encode_data_string(text); }

Result<Json> AdminClient::Call(const std::string& method, const std::string& path,
                               const Json& body) const {
  try {
    http::client::http_client_config config;
    config.set_timeout(std::chrono::seconds(30));
    http::client::http_client client("http://" + admin_, config);
    http::http_request request(method);
    request.set_request_uri(path);
    if (!body.is_null()) request.set_body(body);
    const http::http_response response = client.request(request).get();
    const std::string text = response.extract_string(true).get();
    auto json = ParseJson(text, 256 << 20);
    if (!json) return json.error().In("the agent's answer");
    if (response.status_code() >= 400) {
      auto sentence = GetString(*json, "error", 64 << 10);
      return Error{
          CodeOf(response.status_code()),
          sentence ? *sentence : "the agent answered " + std::to_string(response.status_code())};
    }
    return json;
  } catch (const std::exception&) {
    return Error{Code::kRetryLater, "no agent answers on " + admin_ +
                                        "; start it with `systemctl start shoal` or `shoal run`, "
                                        "or give its address with --admin"};
  }
}

}  // namespace shoal::agent
