// HeldNames: finds what we hold by the names that rooms give it. On the loop.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "agent/rooms.h"
#include "base/digest.h"
#include "index/inventory.h"
#include "index/peer_index.h"

namespace shoal::agent {

// In rooms with keys a digest is hidden behind a name that leads to it only for whoever holds the
// blob. So the names of all that we hold are kept: some 100 bytes a blob.
class HeldNames {
 public:
  HeldNames(const index::Inventory& inventory, const Rooms& rooms)
      : inventory_(inventory), rooms_(rooms) {}

  // Whether `key` names a blob that we hold, whole or in part, and that `asker` may know of.
  bool Holds(const PeerId& asker, const index::Key& key);

 private:
  void CatchUp();

  const index::Inventory& inventory_;
  const Rooms& rooms_;
  std::uint64_t epoch_ = 0;  // how far we have followed the inventory, which begins anew with rooms
  std::uint64_t cursor_ = 0;
  std::unordered_map<Digest, Digest> by_name_;
  std::unordered_map<Digest, Digest> names_;  // of what is held
};

}  // namespace shoal::agent
