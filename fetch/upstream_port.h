// UpstreamPort: how fetch/ asks for bytes from a registry without knowing what a registry is.
// Implemented by registry-proxy/upstream.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/encoding.h"
#include "base/result.h"

namespace shoal::fetch {

// Where a blob can be had upstream.
struct UpstreamRef {
  std::string registry;    // host[:port] as in image names, "docker.io"
  std::string repository;  // "library/nginx"
  bool manifest = false;   // fetched under /manifests/ rather than /blobs/
  bool operator==(const UpstreamRef&) const = default;
};

// Takes a body as it arrives. All calls come from one data thread; after OnDone there are none.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // The request is on its way: until now it waited for others to the same upstream to end, which
  // is nobody's fault. Not told of one that ends while it waits.
  virtual void OnTurn() {}
  // The whole blob's size, and where in it the bytes that follow start. False stops the transfer.
  virtual bool OnStart(Bytes blob, Bytes offset) = 0;
  virtual bool OnBytes(ByteSpan bytes) = 0;
  virtual void OnDone(Status status) = 0;
};

class UpstreamPort {
 public:
  using CallId = std::uint64_t;
  virtual ~UpstreamPort() = default;

  // Fetches [offset, end) of a blob; end Bytes(-1) for all of it. An upstream that ignores ranges
  // is read and dropped up to `offset`. Errors given to OnDone: kNotFound, kDenied, kRetryLater
  // (429, 5xx, timeouts, cut connections), kInvalid.
  virtual CallId Fetch(const UpstreamRef& ref, const Digest& digest, Bytes offset, Bytes end,
                       std::shared_ptr<ByteSink> sink) = 0;
  // The sink hears no more once Cancel has returned, except calls already running.
  virtual void Cancel(CallId call) = 0;
};

}  // namespace shoal::fetch
