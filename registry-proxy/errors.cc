#include "registry-proxy/errors.h"

#include "base/json.h"

namespace shoal::proxy {
namespace {

// Texts may quote what a client or a registry sent: keep to what any JSON reader takes.
std::string Printable(std::string_view text) {
  std::string out(text.substr(0, 1024));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return out;
}

}  // namespace

std::string ToBody(const OciError& error) {
  Json entry = Json::object();
  entry["code"] = Json::string(Printable(error.code));
  entry["message"] = Json::string(Printable(error.message));
  if (!error.detail.empty()) entry["detail"] = Json::string(Printable(error.detail));
  Json body = Json::object();
  body["errors"] = Json::array({entry});
  return body.serialize();
}

OciError NameInvalid(std::string_view why) { return {400, "NAME_INVALID", std::string(why), ""}; }

OciError DigestInvalid(std::string_view why) {
  return {400, "DIGEST_INVALID", std::string(why), ""};
}

OciError ReferenceInvalid(std::string_view why) {
  return {400, "MANIFEST_INVALID", std::string(why), ""};
}

OciError Unsupported(std::string_view why) { return {405, "UNSUPPORTED", std::string(why), ""}; }

OciError RangeInvalid(std::string_view why) { return {416, "RANGE_INVALID", std::string(why), ""}; }

OciError Refused(int status, std::string_view why) {
  return {status, status == 503 ? "UNAVAILABLE" : "UNSUPPORTED", std::string(why), ""};
}

OciError FromError(const Error& error, bool manifest) {
  const char* unknown = manifest ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN";
  switch (error.code) {
    case Code::kNotFound:
    case Code::kDenied:
    case Code::kUnsupported:
      return {404, unknown, error.text, std::string(ToString(error.code))};
    case Code::kInvalid:
    case Code::kRetryLater:
    case Code::kCorrupt:
    case Code::kExhausted:
    case Code::kCancelled:
      break;
  }
  return {503, "UNAVAILABLE", error.text, std::string(ToString(error.code))};
}

}  // namespace shoal::proxy
