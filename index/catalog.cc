#include "index/catalog.h"

namespace shoal::index {

Status PageFollows(const PeerCursor& held, const KeysPage& page) {
  const bool anew = page.reset || held.epoch != page.epoch;
  if (page.more && page.cursor <= (anew ? 0 : held.cursor)) {
    return Error{Code::kInvalid, "keys: the page says there is more, but its cursor stands still"};
  }
  return Ok();
}

Error TooManyKeys(const PeerId& peer, std::size_t keys_max) {
  return Error{Code::kExhausted,
               "keys: peer " + peer.Short() + " claims more than " + std::to_string(keys_max)};
}

}  // namespace shoal::index
