// The host's private key on disk: who this host is for as long as the file lives.
#pragma once

#include <string>

#include "base/result.h"
#include "index/signing_key.h"

namespace shoal::index {

// Reads the key in `path`, or makes one there: 64 hex digits of seed and a newline, mode 0600.
// It is never overwritten, and never half-written: two that start at once end with the same key.
//
// Errors  kDenied when others could read it or we cannot, kCorrupt when it is no key, kExhausted
//         when the disk is full; each says what to do.
Result<SigningKey> LoadOrMakeKey(const std::string& path);

}  // namespace shoal::index
