// Splicer: carries bytes between two connections until one of them ends, and dials those that are
// to be carried. One thread for all of them. It reads nothing of what it carries.
//
// Limits: 64 KiB are held for each direction; a circuit without a byte for Options::idle is closed;
// all together keep to Options::rate.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "fetch/transport/channel.h"
#include "fetch/transport/rate_limiter.h"
#include "index/record.h"

namespace shoal::fetch {

class Splicer {
 public:
  struct Options {
    Duration idle = std::chrono::seconds(60);
    RateLimiter* rate = nullptr;  // nullptr: none. Outlives the splicer
  };
  using Dialled = std::function<void(Result<std::unique_ptr<RawConnection>>)>;

  explicit Splicer(Options options);
  // Cuts what runs; callbacks that were not called by then are not called.
  ~Splicer();
  Splicer(const Splicer&) = delete;
  Splicer& operator=(const Splicer&) = delete;

  // All may be called on any thread; callbacks come on the splicer's.
  //
  // id    for Cut; of the caller's choice, and not used by one that runs.
  // done  is called once: the circuit is over.
  void Splice(std::uint64_t id, std::unique_ptr<RawConnection> one,
              std::unique_ptr<RawConnection> other, std::function<void()> done);
  void Cut(std::uint64_t id);
  // Dials a relay and asks it to CONNECT to `target`. Errors: kRetryLater.
  //
  // context  as TlsIdentity::ClientContext makes it.
  // limit    for all of it.
  void Dial(const index::Endpoint& relay, std::shared_ptr<SSL_CTX> context, std::string target,
            Duration limit, Dialled done);

  // Carried so far, of all circuits and both directions.
  [[nodiscard]] std::int64_t bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::fetch
