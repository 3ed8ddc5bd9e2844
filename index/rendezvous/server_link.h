// ServerLink: one index server as its client sees it: URL, identity, connection.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "index/query.h"
#include "index/rendezvous/tls.h"
#include "index/rendezvous_messages.h"

namespace shoal::index {

// `https://host:7383#PEERID`; without `#PEERID` whoever answers first is trusted.
struct ServerUrl {
  std::string target;  // without the fragment
  std::optional<PeerId> pin;
};
// Errors: kInvalid, with an example.
Result<ServerUrl> ParseServerUrl(const std::string& url);

class ServerLink {
 public:
  // Called once, on one of cpprestsdk's threads.
  // Errors: kDenied when somebody else stands there, kRetryLater when nobody answers,
  // kExhausted or kInvalid when the answer is none.
  using OnAnswer = std::function<void(Result<ServerAnswer>)>;

  // pinned_by  what people edit when the server's identity has changed.
  // patience   for connecting, and for each wait for bytes.
  // longest    that the server is asked to wait for news; so much more has a question that waits.
  ServerLink(ServerUrl url, std::string pinned_by, const OwnCertificate& certificate,
             Duration patience, Duration longest = std::chrono::milliseconds(kDiscoverWaitMsMax));
  ~ServerLink();

  [[nodiscard]] const std::string& target() const { return url_.target; }
  // Who answers there; nullopt before the first contact.
  [[nodiscard]] std::optional<PeerId> id() const;

  void Change(RendezvousVerb verb, std::string body, OnAnswer done);
  void AskSwarm(std::string body, OnAnswer done);
  // wait  how long the server may wait for news; on a connection of its own.
  void Discover(const std::string& name, int limit, const std::string& cookie, Duration wait,
                OnAnswer done);
  // Any path, as text; what comes packed is unpacked. Errors as above; kInvalid when it is no zstd.
  // waits  the server may wait for news before it answers.
  using OnText = std::function<void(Result<std::string>)>;
  void Get(const std::string& target, bool waits, OnText done);

 private:
  class Impl;
  ServerUrl url_;
  std::shared_ptr<Impl> impl_;  // owners: we, and requests under way
};

}  // namespace shoal::index
