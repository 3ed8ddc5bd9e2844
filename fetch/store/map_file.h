// MapFile: <hex>.map, what a partial blob's bytes are worth. Updated in place.
//
//   0    "shoalmap"
//   8    version, u32 little-endian like all numbers here; 4 bytes of zero
//   16   boot id, 36 characters, 4 bytes of zero
//   56   blob size, i64
//   64   piece size, i64
//   72   digest, 32 bytes
//   104  a byte a piece: 1 the piece is here and verified, 2 the state before it is known
//   ...  32 bytes a piece: the state before it
//
// A flag is one byte, so that a write cannot be torn, and follows what it vouches for. The page
// cache keeps that order within one boot, whoever is killed.
#pragma once

#include <string>

#include "fetch/chain.h"
#include "fetch/piece.h"
#include "fetch/store/file.h"

namespace shoal::fetch {

inline constexpr std::int64_t kMapHeaderBytes = 104;
inline constexpr std::int64_t kMapBootIdOffset = 16;

// This boot's id; another one after each boot. "" where the kernel does not say.
const std::string& BootId();

struct MapContents {
  Chain chain;  // with the geometry
  PieceMap have;
  bool this_boot = true;
};

class MapFile {
 public:
  // Errors: kNotFound, or kCorrupt for anything that is no map of `digest`.
  static Result<MapContents> Load(const std::string& path, const Digest& digest);
  // The blob size in its header, and nothing else of it.
  static Result<Geometry> LoadGeometry(const std::string& path, const Digest& digest);
  // Writes a whole map beside `path` and renames it there.
  static Result<MapFile> Create(const std::string& path, const Digest& digest,
                                const MapContents& contents);
  // Opens one that Load found good.
  static Result<MapFile> Open(const std::string& path, const MapContents& contents);

  Status SetPiece(PieceIndex piece, bool here);
  Status SetState(PieceIndex piece, const ChainState& state);
  Status ClearState(PieceIndex piece);

 private:
  MapFile(SharedFile file, std::vector<std::byte> flags)
      : file_(std::move(file)), flags_(std::move(flags)) {}
  Status WriteFlag(PieceIndex piece, std::byte flag);

  SharedFile file_;
  std::vector<std::byte> flags_;
};

}  // namespace shoal::fetch
