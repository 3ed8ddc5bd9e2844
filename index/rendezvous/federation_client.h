// FederationClient: carries an index server's questions to the others, and their answers back.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "index/federation.h"
#include "index/keyfile/pin_file.h"
#include "index/net/gate.h"
#include "index/rendezvous/record_cache.h"
#include "index/rendezvous/server_link.h"

namespace shoal::index {

// Rules
// - Links are TLS with both certificates; a server without a pin is trusted on first use, and
//   remembered in the pin file.
// - Answers are read and verified on the threads that bring them; then they go to the owner's.
class FederationClient {
 public:
  // For connecting, and for each wait for bytes.
  static constexpr Duration kPatience = std::chrono::seconds(2);

  struct Ports {
    std::shared_ptr<Gate> gate;  // to the owner's thread; shut when it stops
    std::shared_ptr<RecordCache> records;
    std::function<void(const Federation::Ask&, const std::vector<PagePtr>&)> on_pages;
    std::function<void(const Federation::Ask&, const PeerId& met, const std::vector<ServerLine>&)>
        on_servers;
    std::function<void(const Federation::Ask&, const std::string& text)> on_failed;
  };
  FederationClient(OwnCertificate certificate, std::unique_ptr<PinFile> pins, std::string pin_file,
                   Ports ports);

  // On the owner's thread, as all below. Who answers there, by the URL's pin or as remembered.
  // Errors: kInvalid.
  Result<ServerUrl> Known(const std::string& url) const;
  void Do(const Federation::Out& out);
  // Remembers who was met there first.
  void Trust(std::size_t place, const PeerId& met);

 private:
  struct Link {
    std::shared_ptr<ServerLink> link;  // owners: we, and questions under way
    bool is_pinned = false;
  };
  void Send(const Federation::Ask& ask);

  OwnCertificate certificate_;
  std::unique_ptr<PinFile> pins_;
  std::string pin_file_;
  std::shared_ptr<const Ports> ports_;  // owners: we, and questions under way
  std::map<std::size_t, Link> links_;
};

}  // namespace shoal::index
