// HolderSearch: GET /v1/who-has, the holders of an image or a blob.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/admin_server.h"
#include "agent/asio_loop.h"
#include "agent/discovery.h"
#include "index/catalog.h"
#include "registry-proxy/http/tag_resolver.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {

class HolderSearch {
 public:
  struct Parts {
    AsioLoop& loop;
    Discovery& discovery;
    index::Catalog& catalog;
    proxy::TagResolver& tags;
  };

  explicit HolderSearch(Parts parts) : parts_(parts) {}

  // ?what=IMAGE or DIGEST&resolve. Without `resolve` from the catalog alone. On the status API's
  // threads; with it the registry may be asked what a tag means, and then the peer indexes who
  // has that; kResolveWait for each.
  AdminReply Answer(const AdminRequest& request) const;

  // {id, name, endpoint, what}. On the loop.
  [[nodiscard]] Json Holder(const PeerId& peer, const std::string& what) const;

 private:
  // What a peer has of it, in words.
  using Holders = std::map<PeerId, std::string>;

  [[nodiscard]] std::optional<Digest> Resolve(const proxy::ImageName& name) const;
  // Adds those that the catalog has.
  [[nodiscard]] IndexAnswer AskCatalog(const Digest& digest, Holders& holders) const;
  // Adds those that the peer indexes name and `holders` lacks.
  [[nodiscard]] std::vector<IndexAnswer> AskIndexes(const Digest& digest, Holders& holders) const;

  Parts parts_;
};

}  // namespace shoal::agent
