#include "index/rendezvous_status.h"

#include <array>
#include <utility>

namespace shoal::index {
namespace {

constexpr std::array kWords = {
    std::pair(RendezvousStatus::kOk, std::string_view("OK")),
    std::pair(RendezvousStatus::kInvalidNamespace, std::string_view("E_INVALID_NAMESPACE")),
    std::pair(RendezvousStatus::kInvalidRecord, std::string_view("E_INVALID_SIGNED_PEER_RECORD")),
    std::pair(RendezvousStatus::kInvalidTtl, std::string_view("E_INVALID_TTL")),
    std::pair(RendezvousStatus::kInvalidCookie, std::string_view("E_INVALID_COOKIE")),
    std::pair(RendezvousStatus::kNotAuthorized, std::string_view("E_NOT_AUTHORIZED")),
    std::pair(RendezvousStatus::kInternalError, std::string_view("E_INTERNAL_ERROR")),
    std::pair(RendezvousStatus::kUnavailable, std::string_view("E_UNAVAILABLE")),
};

}  // namespace

std::string_view ToString(RendezvousStatus status) {
  for (const auto& [known, word] : kWords) {
    if (known == status) return word;
  }
  return "E_INTERNAL_ERROR";
}

RendezvousStatus ParseRendezvousStatus(std::string_view word) {
  for (const auto& [status, known] : kWords) {
    if (known == word) return status;
  }
  return RendezvousStatus::kInternalError;
}

}  // namespace shoal::index
