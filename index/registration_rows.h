// Rows: how an index server's registrations are kept in a table of keys and values.
//
// Keys begin with a letter, so that a walk meets them in the order in which they are needed:
//   "m" name                 what the server says of itself: version, secret, next number
//   "p" peer                 PeerRow; `peer` is a number of four bytes
//   "r" peer packed-name     EntryRow
//   "s" owner                CopyRow: how far another server's log is copied
//   "t" number               TombstoneRow
// Numbers in keys are big-endian, so that the rows of a peer lie together: a request changes few
// pages. Numbers in values are little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace shoal::index {

// One change of the table; without a value the row goes.
struct Row {
  std::string key;
  std::optional<std::string> value;
};

struct PeerRow {
  std::uint32_t peer = 0;
  PeerId id;
  std::int64_t sent_ms = 0;
  std::uint64_t number = 0;
  std::uint64_t sequence = 0;
  std::uint64_t saying = 0;
  std::uint64_t logged = 0;
  std::int64_t expires_ms = 0;
  std::uint16_t owner = 0;
  std::string envelope;
};
struct ClaimRow {
  std::uint16_t owner = 0;
  std::uint32_t expires_s = 0;  // Unix time
};
struct EntryRow {
  std::uint32_t peer = 0;
  std::string name;  // packed, see namespaces.h
  std::uint64_t number = 0;
  std::uint64_t logged = 0;
  std::vector<ClaimRow> claims;  // 1 to kClaimsMax
};
// An EntryRow where it lies in the table, and only as long as it lies there.
struct EntryRowView {
  std::uint32_t peer = 0;
  std::string_view name;  // packed, and one that can be unpacked
  std::uint64_t number = 0;
  std::uint64_t logged = 0;
  std::string_view claims;  // of TakeClaim; at least one
};
struct CopyRow {
  std::uint16_t owner = 0;
  PeerId id;
  std::uint64_t epoch = 0;
  std::uint64_t cursor = 0;
  std::int64_t heard_ms = 0;
  std::string url;
};
struct TombstoneRow {
  std::uint64_t number = 0;
  std::uint32_t expires_s = 0;
  PeerId id;
  std::string name;  // packed
};

inline constexpr std::size_t kClaimsMax = 100;  // more than there are servers
inline constexpr std::string_view kNextNumberRow = "next";
inline constexpr std::string_view kFloorRow = "floor";
std::string MetaKey(std::string_view name);
std::string NumberValue(std::uint64_t number);
std::optional<std::uint64_t> ReadNumber(std::string_view value);

std::string PeerKey(std::uint32_t peer);
Row ToRow(const PeerRow& peer);
std::optional<PeerRow> ReadPeerRow(std::string_view key, std::string_view value);

std::string EntryKey(std::uint32_t peer, std::string_view packed_name);
Row ToRow(const EntryRow& entry);
std::optional<EntryRow> ReadEntryRow(std::string_view key, std::string_view value);
std::optional<EntryRowView> ViewEntryRow(std::string_view key, std::string_view value);
// Takes one off the front of `claims`, which is not empty.
ClaimRow TakeClaim(std::string_view& claims);

std::string CopyKey(std::uint16_t owner);
Row ToRow(const CopyRow& copy);
std::optional<CopyRow> ReadCopyRow(std::string_view key, std::string_view value);

std::string TombstoneKey(std::uint64_t number);
Row ToRow(const TombstoneRow& tombstone);
std::optional<TombstoneRow> ReadTombstoneRow(std::string_view key, std::string_view value);

}  // namespace shoal::index
