// base/ owns the words that everybody uses: Result, Digest, PeerId, Time, Bytes, Rng, Json, units.
//
// It never does I/O, reads a clock, starts a thread, or knows what a peer or a registry is.
// Include the single headers; this one is the door for readers:
//   result.h    values or errors        check.h   what only a bug can break
//   digest.h    Digest, PeerId          bytes.h   amounts and places
//   time.h      Time, WallTime          rng.h     seeded randomness
//   encoding.h  hex, base64url          json.h    distrustful JSON
//   units.h     "500ms", "20GiB"        executor.h  where messages go
#pragma once
