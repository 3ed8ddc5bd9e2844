// Holdings: merges what our store, containerd and running transfers hold into the inventory that
// ServeKeys shows. On the loop.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/digest.h"
#include "fetch/containerd/containerd.h"
#include "index/catalog.h"
#include "index/inventory.h"
#include "registry-proxy/image_facts.h"
#include "registry-proxy/tag_cache.h"

namespace shoal::agent {

class Holdings {
 public:
  struct Hooks {
    std::function<void()> on_changed;  // the inventory has news
    // Of an image: what of it was known before, and is now. May be empty.
    std::function<void(const index::ImageChange&)> on_image;
    // What a tag means, for the next run; nothing: it is not to be kept. May be empty.
    std::function<void(const std::string& name, const std::optional<Digest>&)> on_tag;
  };
  // tags_max  that are remembered, 1 or more; those not set for the longest go first.
  Holdings(std::uint64_t epoch, Hooks hooks, std::size_t tags_max = proxy::kTagsMax);

  void SetStored(const Digest& digest, Bytes size);
  void SetPartial(const Digest& digest, Bytes size);
  // The transfer is over; what it left stays as a partial holding only if `pieces`.
  void EndPartial(const Digest& digest, bool pieces);
  void RemoveStored(const Digest& digest);
  // Replaces all that containerd holds.
  void SetContainerd(const fetch::ContainerdInventory& inventory);
  // What the mirror resolved a tag to. It is an image of the inventory as long as its manifest is
  // here.
  void SetTag(const std::string& name, const Digest& digest);
  // The same, as an earlier run kept it.
  void LoadTag(const std::string& name, const Digest& digest);
  // The upstream has no such tag any more. What containerd holds under the name stays.
  void ForgetTag(const std::string& name);
  // What was found out of the image whose manifest or index is `top`.
  void SetFacts(const Digest& top, const proxy::ImageFacts& facts);
  [[nodiscard]] bool HasFacts(const Digest& top) const { return facts_.contains(top); }
  // A file proved corrupt: it is not offered until its source speaks of it again.
  void Drop(const Digest& digest);

  // Others may see this blob than before.
  void Touch(const Digest& digest) {
    inventory_.Touch(digest);
    hooks_.on_changed();
  }
  // Who may see what has changed: peers begin anew with our log.
  void Restart(std::uint64_t epoch) {
    inventory_.Restart(epoch);
    hooks_.on_changed();
  }

  [[nodiscard]] const index::Inventory& inventory() const { return inventory_; }
  [[nodiscard]] bool InContainerd(const Digest& digest) const {
    return containerd_.contains(digest);
  }

 private:
  struct Tag {
    Digest digest;
    std::list<std::string>::iterator age;  // in ages_
  };

  void Refresh(const Digest& digest);
  [[nodiscard]] bool IsWhole(const Digest& digest) const {
    return stored_.contains(digest) || containerd_.contains(digest);
  }
  // All three return whether the inventory changed. The first brings it in line with what is known
  // of a name.
  bool RefreshImage(const std::string& name);
  bool SetImage(const std::string& name, const Digest& digest);
  bool RemoveImage(const std::string& name);
  // Returns false when it meant the same before.
  bool PutTag(const std::string& name, const Digest& digest);
  // Takes a tag out of the books.
  void EraseTag(const std::string& name);
  void DropOldFacts();

  index::Inventory inventory_;
  Hooks hooks_;
  std::unordered_map<Digest, Bytes> stored_;
  std::unordered_map<Digest, Bytes> partial_;
  std::unordered_map<Digest, Bytes> containerd_;
  std::size_t tags_max_;
  std::map<std::string, Tag> tags_;
  std::list<std::string> ages_;  // of tags_, that set last at the end
  std::unordered_map<Digest, std::set<std::string>> tags_of_;
  std::map<std::string, Digest> images_;                 // containerd's
  std::unordered_map<Digest, proxy::ImageFacts> facts_;  // by the image's digest
};

}  // namespace shoal::agent
