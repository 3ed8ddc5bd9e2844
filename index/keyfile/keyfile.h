// Private keys on disk: who this host, or a room, is for as long as the file lives.
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

// The same form for a room. Errors besides: kNotFound.
Result<SigningKey> LoadRoomKey(const std::string& path);
// Errors besides: kDenied when a file is there, whatever it is.
Result<SigningKey> MakeRoomKey(const std::string& path);
// A key that is kept nowhere: that of a token.
Result<SigningKey> MakeLooseKey();

}  // namespace shoal::index
