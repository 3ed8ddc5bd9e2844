#include "index/lmdb/feed_table.h"

#include "index/room_key.h"

namespace shoal::index {
namespace {

// A row: the room's id (zeros for the open room), the writer, the number with its highest byte
// first, so that rows of a writer lie in its order.
std::string RowsOf(const std::string& room) {
  auto id = ParseRoomId(room);
  return std::string(AsText(id ? id->bytes : RoomId{}.bytes));
}

std::string RowOf(const std::string& room, const FeedName& name) {
  std::string row = RowsOf(room) + std::string(AsText(name.writer.bytes));
  for (int shift = 56; shift >= 0; shift -= 8) {
    row += static_cast<char>((name.sequence >> shift) & 0xff);
  }
  return row;
}

}  // namespace

Result<FeedTable> FeedTable::Open(LmdbEnv& env) {
  auto table = env.Table("feed");
  if (!table) return table.error();
  return FeedTable(env, *table);
}

std::vector<std::string> FeedTable::Load(const std::string& room) const {
  std::vector<std::string> texts;
  const std::string rows = RowsOf(room);
  env_->Read([&](const LmdbTxn& txn) {
    txn.Walk(table_, rows, [&](std::string_view key, std::string_view text) {
      if (!key.starts_with(rows)) return false;
      texts.emplace_back(text);
      return true;
    });
  });
  return texts;
}

Status FeedTable::Apply(const std::string& room, const std::vector<SharedFeedMessage>& kept,
                        const std::vector<FeedName>& dropped) {
  return env_->Write([&](LmdbTxn& txn) -> Status {
    for (const auto& message : kept) {
      if (Status put = txn.Put(table_, RowOf(room, message->name()), message->text()); !put) {
        return put;
      }
    }
    for (const auto& name : dropped) {
      if (Status gone = txn.Delete(table_, RowOf(room, name)); !gone) return gone;
    }
    return Ok();
  });
}

}  // namespace shoal::index
