// The status words of the libp2p rendezvous specification.
#pragma once

#include <string>
#include <string_view>

namespace shoal::index {

enum class RendezvousStatus {
  kOk,
  kInvalidNamespace,
  kInvalidRecord,
  kInvalidTtl,
  kInvalidCookie,
  kNotAuthorized,
  kInternalError,
  kUnavailable,
};
// "OK", "E_INVALID_NAMESPACE" and so on.
std::string_view ToString(RendezvousStatus status);
// kInternalError for a word that is none.
RendezvousStatus ParseRendezvousStatus(std::string_view word);

struct RendezvousError {
  RendezvousStatus status = RendezvousStatus::kOk;
  std::string text;  // for people
  [[nodiscard]] bool ok() const { return status == RendezvousStatus::kOk; }
};

}  // namespace shoal::index
