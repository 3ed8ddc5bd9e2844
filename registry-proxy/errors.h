// Errors as the OCI distribution specification writes them.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::proxy {

struct OciError {
  int status = 404;
  std::string code;     // "MANIFEST_UNKNOWN"
  std::string message;  // one sentence for a person
  std::string detail;   // "" none
};

inline constexpr std::string_view kErrorMediaType = "application/json";

// {"errors":[{"code","message","detail"}]}. Bytes of the text that are not UTF-8 become '?'.
std::string ToBody(const OciError& error);

// 400s for what a client wrote wrongly.
OciError NameInvalid(std::string_view why);
OciError DigestInvalid(std::string_view why);
OciError ReferenceInvalid(std::string_view why);
// 405, for pushes, deletes and what else a mirror does not do.
OciError Unsupported(std::string_view why);
// 416.
OciError RangeInvalid(std::string_view why);

// For requests that are no HTTP, too large, too slow, or too many: 503 for the last.
OciError Refused(int status, std::string_view why);

// What a client is shown of an error of ours or of the upstream.
//
// Never 429 (containerd would try again six times), 401 or 403 (podman gives up): 404 when nobody
// has it or will give it, 503 when it may work later; both move a client on to its next host.
OciError FromError(const Error& error, bool manifest);

}  // namespace shoal::proxy
