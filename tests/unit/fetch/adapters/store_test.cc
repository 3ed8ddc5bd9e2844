#include "fetch/store/blob_store.h"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <openssl/sha.h>

#include <thread>

#include "fetch/store/map_file.h"
#include "index/lmdb/env.h"
#include "tests/unit/fetch/adapters/http_probe.h"

namespace shoal::fetch {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kStorePiece = 64 << 10;

Digest Sha256(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.bytes.data()));
  return digest;
}

Geometry Cut(std::string_view text) {
  return Geometry::Make(Bytes(static_cast<std::int64_t>(text.size())), Bytes(kStorePiece)).value();
}

Chain ChainOf(std::string_view text) {
  const Geometry geometry = Cut(text);
  Chain chain(geometry);
  ChainHasher hasher;
  for (PieceIndex i; i < geometry.last(); ++i) {
    hasher.Update(AsBytes(text.substr(static_cast<std::size_t>(geometry.OffsetOf(i).count()),
                                      static_cast<std::size_t>(kStorePiece))));
    chain.Set(i + 1, hasher.State());
  }
  return chain;
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { Restart(); }

  // As after a kill -9: nothing is told to the store, everything is found again.
  void Restart() {
    store_.reset();
    env_.reset();
    fs::create_directories(folder_.path() + "/db");
    env_ = index::LmdbEnv::Open(folder_.path() + "/db", Bytes(64 << 20)).value();
    auto opened = TryOpen();
    ASSERT_TRUE(opened.ok()) << opened.error().text;
    store_ = std::move(*opened);
  }
  Result<std::unique_ptr<BlobStore>> TryOpen() {
    BlobStore::Options options;
    options.dir = dir();
    options.max = max_;
    options.on_evicted = [this](const Digest& digest) {
      // The store may be asked from here.
      EXPECT_FALSE(store_ && store_->Find(digest));
      evicted_.push_back(digest);
    };
    return BlobStore::Open(options, *env_);
  }

  [[nodiscard]] std::string dir() const { return folder_.path() + "/store"; }
  [[nodiscard]] std::string BlobPath(const Digest& d) const {
    return dir() + "/blobs/sha256/" + d.Hex();
  }
  [[nodiscard]] std::string PartPath(const Digest& d, const std::string& end) const {
    return dir() + "/partial/" + d.Hex() + end;
  }

  static void WritePiece(PartialBlob& partial, const std::string& text, PieceIndex i) {
    const Geometry& cut = partial.geometry();
    const auto bytes = AsBytes(text).subspan(static_cast<std::size_t>(cut.OffsetOf(i).count()),
                                             static_cast<std::size_t>(cut.LengthOf(i).count()));
    ASSERT_TRUE(partial.WriteAt(cut.OffsetOf(i), bytes).ok());
    const Chain chain = ChainOf(text);
    ASSERT_TRUE(partial.SetState(i, *chain.Before(i)).ok());
    if (i < cut.last()) {
      ASSERT_TRUE(partial.SetState(i + 1, *chain.Before(i + 1)).ok());
    }
    ASSERT_TRUE(partial.MarkPiece(i).ok());
  }
  std::shared_ptr<PartialBlob> Fill(const std::string& text) {
    auto partial = store_->OpenPartial(Sha256(text), Cut(text)).value();
    for (PieceIndex i; i.value < Cut(text).count(); ++i) WritePiece(*partial, text, i);
    return partial;
  }
  void PutWhole(const std::string& text) {
    const Status put = store_->Put(Sha256(text), AsBytes(text));
    ASSERT_TRUE(put.ok()) << put.error().text;
  }
  std::string ReadBlob(const std::string& text) {
    const auto file = store_->OpenBlob(Sha256(text));
    if (!file) return file.error().ToString();
    std::string read(static_cast<std::size_t>((*file)->Size().value().count()), '\0');
    EXPECT_TRUE((*file)->ReadAt(Bytes(0), std::as_writable_bytes(std::span(read))).ok());
    return read;
  }
  void PretendAnotherBoot(const Digest& digest) const {
    std::fstream map(PartPath(digest, ".map"), std::ios::in | std::ios::out | std::ios::binary);
    map.seekp(kMapBootIdOffset);
    map << "another-";
  }
  [[nodiscard]] std::vector<std::string> PartialFiles() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir() + "/partial")) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  ScratchFolder folder_;
  Bytes max_{10 << 20};
  std::vector<Digest> evicted_;
  std::unique_ptr<index::LmdbEnv> env_;
  std::unique_ptr<BlobStore> store_;
  const std::string text_ = Pattern(5 * kStorePiece + 100);
  const Digest digest_ = Sha256(text_);
};

TEST_F(StoreTest, KeepsASmallBlobOverARestart) {
  PutWhole("a manifest");
  EXPECT_EQ(ReadBlob("a manifest"), "a manifest");
  const auto before = store_->Find(Sha256("a manifest"));
  Restart();
  EXPECT_EQ(ReadBlob("a manifest"), "a manifest");
  EXPECT_EQ(store_->Find(Sha256("a manifest"))->size, before->size);
  EXPECT_EQ(store_->usage().blobs, 1);
  EXPECT_EQ(store_->usage().bytes, Bytes(10));
}

TEST_F(StoreTest, RefusesBytesThatAreNotTheBlob) {
  const Status put = store_->Put(digest_, AsBytes("something else"));
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code, Code::kCorrupt);
  EXPECT_FALSE(store_->Find(digest_));
}

TEST_F(StoreTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(store_->OpenBlob(digest_).error().code, Code::kNotFound);
  EXPECT_FALSE(store_->FindPartial(digest_));
  EXPECT_FALSE(store_->FindChain(digest_));
  EXPECT_TRUE(store_->Remove(digest_).ok());
  EXPECT_TRUE(store_->DropPartial(digest_).ok());
}

TEST_F(StoreTest, CommitsAPartialBlobAndItsChain) {
  const auto partial = Fill(text_);
  const SharedFile reader = partial->file();
  ASSERT_TRUE(store_->Commit(partial).ok());
  EXPECT_TRUE(ReadBlob(text_) == text_);
  EXPECT_EQ(store_->OpenBlob(digest_)->get(), reader.get());  // one descriptor for all
  EXPECT_THAT(PartialFiles(), IsEmpty());
  EXPECT_FALSE(store_->FindPartial(digest_));
  ASSERT_TRUE(store_->FindChain(digest_));
  EXPECT_EQ(store_->FindChain(digest_)->Encode(), ChainOf(text_).Encode());
  Restart();
  EXPECT_TRUE(ReadBlob(text_) == text_);
  EXPECT_TRUE(store_->FindChain(digest_)->complete());
}

TEST_F(StoreTest, CommitsAnEmptyBlob) {
  ASSERT_TRUE(store_->Commit(Fill("")).ok());
  EXPECT_EQ(ReadBlob(""), "");
}

TEST_F(StoreTest, DoesNotCommitWhatIsNotWhole) {
  const auto partial = Fill(text_);
  ASSERT_TRUE(partial->ForgetPiece({2}).ok());
  EXPECT_EQ(store_->Commit(partial).error().code, Code::kInvalid);
}

TEST_F(StoreTest, OneObjectForOnePartialBlob) {
  const auto partial = store_->OpenPartial(digest_, Cut(text_)).value();
  EXPECT_EQ(store_->OpenPartial(digest_, Cut(text_)).value(), partial);
  EXPECT_EQ(store_->FindPartial(digest_), partial);
}

TEST_F(StoreTest, APartialBlobIsResumedWhereItWas) {
  {
    const auto partial = store_->OpenPartial(digest_, Cut(text_)).value();
    for (const int i : {0, 1, 4}) WritePiece(*partial, text_, {i});
    WritePiece(*partial, text_, {2});
    ASSERT_TRUE(partial->ForgetPiece({2}).ok());
    ASSERT_TRUE(partial->ClearState({3}).ok());
  }
  Restart();
  const auto partial = store_->FindPartial(digest_);
  ASSERT_TRUE(partial);
  EXPECT_EQ((*partial)->have().ToRuns(), "0-1,4");
  EXPECT_EQ((*partial)->chain().known_prefix(), 3);
  EXPECT_NE((*partial)->chain().Before({5}), nullptr);
  EXPECT_EQ(store_->usage().bytes, Cut(text_).blob());
  for (const int i : {2, 3, 5}) WritePiece(**partial, text_, {i});
  ASSERT_TRUE(store_->Commit(*partial).ok());
  EXPECT_TRUE(ReadBlob(text_) == text_);
}

TEST_F(StoreTest, AfterAnotherBootOnlyWhatHashesRightIsBelieved) {
  {
    const auto partial = store_->OpenPartial(digest_, Cut(text_)).value();
    for (const int i : {0, 1, 3, 5}) WritePiece(*partial, text_, {i});
    ASSERT_TRUE(partial->ClearState({4}).ok());  // 3 cannot be verified
    ASSERT_TRUE(
        partial->WriteAt(Bytes(kStorePiece), AsBytes("lost")).ok());  // 1 is not what it was
  }
  PretendAnotherBoot(digest_);
  Restart();
  const auto partial = store_->FindPartial(digest_);
  ASSERT_TRUE(partial);
  EXPECT_EQ((*partial)->have().ToRuns(), "0,5");
  EXPECT_EQ((*partial)->chain().known_prefix(), 2);
  // It was written down for this boot.
  EXPECT_EQ(MapFile::Load(PartPath(digest_, ".map"), digest_)->have.ToRuns(), "0,5");
  EXPECT_TRUE(MapFile::Load(PartPath(digest_, ".map"), digest_)->this_boot);
}

TEST_F(StoreTest, AnotherGeometryStartsAnew) {
  Fill(text_);
  const auto finer = Geometry::Make(Cut(text_).blob(), Bytes(kStorePiece / 2)).value();
  const auto partial = store_->OpenPartial(digest_, finer).value();
  EXPECT_EQ(partial->geometry(), finer);
  EXPECT_EQ(partial->have().count(), 0);
  EXPECT_EQ(store_->usage().bytes, finer.blob());
}

TEST_F(StoreTest, ReadersOfADroppedPartialBlobGoOn) {
  const auto partial = Fill(text_);
  ASSERT_TRUE(store_->DropPartial(digest_).ok());
  EXPECT_THAT(PartialFiles(), IsEmpty());
  std::string read(100, '\0');
  EXPECT_TRUE(partial->file()->ReadAt(Bytes(7), std::as_writable_bytes(std::span(read))).ok());
  EXPECT_EQ(read, text_.substr(7, 100));
  EXPECT_EQ(store_->Commit(partial).error().code, Code::kCancelled);
  EXPECT_EQ(store_->usage().bytes, Bytes(0));
}

TEST_F(StoreTest, WritesBeyondTheEndAreRefused) {
  const auto partial = store_->OpenPartial(digest_, Cut(text_)).value();
  EXPECT_EQ(partial->WriteAt(Cut(text_).blob(), AsBytes("x")).error().code, Code::kInvalid);
  EXPECT_EQ(partial->WriteAt(Bytes(-1), AsBytes("x")).error().code, Code::kInvalid);
}

// Each step of a commit, cut off after it.

TEST_F(StoreTest, KilledBeforeTheRenameIsAPartialBlob) {
  Fill(text_);
  Restart();
  EXPECT_TRUE((*store_->FindPartial(digest_))->have().all());
  EXPECT_FALSE(store_->Find(digest_));
}

TEST_F(StoreTest, KilledAfterTheRenameIsAWholeBlobWithItsChain) {
  Fill(text_);
  fs::rename(PartPath(digest_, ".data"), BlobPath(digest_));
  Restart();
  EXPECT_TRUE(ReadBlob(text_) == text_);
  EXPECT_TRUE(store_->FindChain(digest_));
  EXPECT_THAT(PartialFiles(), IsEmpty());
  EXPECT_EQ(store_->usage().bytes, Cut(text_).blob());
}

TEST_F(StoreTest, KilledBeforeTheMapIsRemovedIsAWholeBlob) {
  const auto partial = Fill(text_);
  fs::copy(PartPath(digest_, ".map"), folder_.path() + "/map");
  ASSERT_TRUE(store_->Commit(partial).ok());
  fs::copy(folder_.path() + "/map", PartPath(digest_, ".map"));
  Restart();
  EXPECT_TRUE(ReadBlob(text_) == text_);
  EXPECT_THAT(PartialFiles(), IsEmpty());
}

TEST_F(StoreTest, KilledWhileMakingAPartialBlobLeavesNothing) {
  std::ofstream(PartPath(digest_, ".data")) << "x";
  std::ofstream(PartPath(Sha256("2"), ".map.new")) << "x";
  std::ofstream(PartPath(Sha256("3"), ".put")) << "x";
  std::ofstream(PartPath(Sha256("4"), ".map")) << "x";
  Restart();
  EXPECT_THAT(PartialFiles(), IsEmpty());
  EXPECT_EQ(store_->usage().bytes, Bytes(0));
}

TEST_F(StoreTest, KilledWhileDroppingAPartialBlobLeavesNothing) {
  Fill(text_);
  fs::remove(PartPath(digest_, ".map"));
  Restart();
  EXPECT_FALSE(store_->FindPartial(digest_));
  EXPECT_THAT(PartialFiles(), IsEmpty());
}

TEST_F(StoreTest, KilledWhileRemovingABlobForgetsIt) {
  PutWhole("gone");
  fs::remove(BlobPath(Sha256("gone")));
  Restart();
  EXPECT_FALSE(store_->Find(Sha256("gone")));
  Restart();
  EXPECT_EQ(store_->usage().blobs, 0);
}

TEST_F(StoreTest, DropsWhatDoesNotBelong) {
  PutWhole("cut short");
  std::ofstream(BlobPath(Sha256("cut short")), std::ios::trunc) << "cut";
  std::ofstream(dir() + "/blobs/sha256/README") << "x";
  fs::create_directory(dir() + "/blobs/sha256/" + std::string(64, 'A'));
  Restart();
  EXPECT_FALSE(store_->Find(Sha256("cut short")));
  EXPECT_FALSE(fs::exists(dir() + "/blobs/sha256/README"));
  PutWhole("cut short");
  EXPECT_EQ(ReadBlob("cut short"), "cut short");
}

TEST_F(StoreTest, DamagedMapsAreDropped) {
  for (const std::string damage : {"magic", "short", "long", "flags", "size"}) {
    Fill(text_);
    store_.reset();
    const std::string map = PartPath(digest_, ".map");
    if (damage == "short") fs::resize_file(map, fs::file_size(map) - 1);
    if (damage == "long") fs::resize_file(map, fs::file_size(map) + 1);
    if (damage == "size") fs::resize_file(PartPath(digest_, ".data"), 5);
    std::fstream file(map, std::ios::in | std::ios::out | std::ios::binary);
    if (damage == "flags") file.seekp(kMapHeaderBytes);
    if (damage == "magic" || damage == "flags") file << '\xff';
    file.close();
    Restart();
    EXPECT_FALSE(store_->FindPartial(digest_)) << damage;
    EXPECT_THAT(PartialFiles(), IsEmpty()) << damage;
    EXPECT_EQ(store_->usage().bytes, Bytes(0)) << damage;
  }
}

TEST_F(StoreTest, EvictsTheLeastRecentlyUsedFirst) {
  max_ = Bytes(30);
  Restart();
  PutWhole("aaaaaaaaaa");
  PutWhole("bbbbbbbbbb");
  PutWhole("cccccccccc");
  EXPECT_EQ(ReadBlob("aaaaaaaaaa"), "aaaaaaaaaa");
  PutWhole("dddddddddd");
  EXPECT_THAT(evicted_, ElementsAre(Sha256("bbbbbbbbbb")));
  EXPECT_FALSE(fs::exists(BlobPath(Sha256("bbbbbbbbbb"))));
  EXPECT_EQ(store_->usage().bytes, Bytes(30));
  Restart();
  EXPECT_EQ(store_->usage().blobs, 3);
  PutWhole("eeeeeeeeee");  // uses are remembered over a restart
  EXPECT_THAT(evicted_, ElementsAre(Sha256("bbbbbbbbbb"), Sha256("cccccccccc")));
}

TEST_F(StoreTest, NeverEvictsWhatIsServedOrFetched) {
  max_ = Cut(text_).blob() + Bytes(20);
  Restart();
  PutWhole("aaaaaaaaaa");
  const SharedFile served = store_->OpenBlob(Sha256("aaaaaaaaaa")).value();
  auto fetched = store_->OpenPartial(digest_, Cut(text_)).value();
  PutWhole("bbbbbbbbbb");
  PutWhole("cccccccccc");
  EXPECT_THAT(evicted_, ElementsAre(Sha256("bbbbbbbbbb")));
  const Status put = store_->Put(Sha256(std::string(21, 'x')), AsBytes(std::string(21, 'x')));
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code, Code::kExhausted);
  EXPECT_THAT(put.error().text, HasSubstr("store.max"));
  // An abandoned partial blob may go.
  fetched.reset();
  PutWhole(std::string(21, 'x'));
  EXPECT_FALSE(store_->FindPartial(digest_));
}

TEST_F(StoreTest, ABlobLargerThanTheStoreEvictsNothing) {
  PutWhole("small");
  const auto huge = Geometry::Make(max_ + Bytes(1), Bytes(kStorePiece)).value();
  EXPECT_EQ(store_->OpenPartial(digest_, huge).error().code, Code::kExhausted);
  EXPECT_TRUE(store_->Find(Sha256("small")));
}

TEST_F(StoreTest, ALowerLimitEvictsAtTheStart) {
  PutWhole("aaaaaaaaaa");
  PutWhole("bbbbbbbbbb");
  max_ = Bytes(10);
  Restart();
  EXPECT_THAT(evicted_, ElementsAre(Sha256("aaaaaaaaaa")));
}

TEST_F(StoreTest, RemovesABlobWhoseReadersGoOn) {
  PutWhole("removed");
  const SharedFile reader = store_->OpenBlob(Sha256("removed")).value();
  ASSERT_TRUE(store_->Remove(Sha256("removed")).ok());
  EXPECT_FALSE(store_->Find(Sha256("removed")));
  std::string read(7, '\0');
  EXPECT_TRUE(reader->ReadAt(Bytes(0), std::as_writable_bytes(std::span(read))).ok());
  EXPECT_EQ(read, "removed");
}

TEST_F(StoreTest, SavesChainsOfBlobsThatLieElsewhere) {
  ASSERT_TRUE(store_->SaveChain(digest_, ChainOf(text_)).ok());
  EXPECT_EQ(store_->SaveChain(digest_, Chain(Cut(text_))).error().code, Code::kInvalid);
  Restart();
  EXPECT_EQ(store_->FindChain(digest_)->Encode(), ChainOf(text_).Encode());
}

TEST_F(StoreTest, AFullDiskIsToldInASentence) {
  // /dev/full answers every write with ENOSPC.
  const File full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  const Status written = full.WriteAt(Bytes(0), AsBytes("x"));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Code::kExhausted);
  EXPECT_THAT(written.error().text, HasSubstr("free some space"));
}

TEST_F(StoreTest, AFolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder_.path() + "/file") << "x";
  BlobStore::Options options;
  options.dir = folder_.path() + "/file/store";
  const auto opened = BlobStore::Open(options, *env_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::kDenied);
  EXPECT_THAT(opened.error().text, HasSubstr(folder_.path() + "/file"));
}

TEST_F(StoreTest, ALaterLayoutIsRefused) {
  store_.reset();
  std::ofstream(dir() + "/layout", std::ios::trunc) << "shoal store 2\n";
  const auto opened = TryOpen();
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
  std::ofstream(dir() + "/layout", std::ios::trunc) << "shoal store 1\n";
}

TEST_F(StoreTest, FoldersAndFilesAreTheirOwnersOnly) {
  PutWhole("private");
  EXPECT_EQ(fs::status(dir()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(BlobPath(Sha256("private"))).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(StoreTest, PiecesAreWrittenByManyThreads) {
  const auto partial = store_->OpenPartial(digest_, Cut(text_)).value();
  std::vector<std::thread> threads;
  for (int i = 0; i < Cut(text_).count(); ++i) {
    threads.emplace_back([&, i] {
      WritePiece(*partial, text_, {i});
      PutWhole("from thread " + std::to_string(i));
      EXPECT_TRUE(store_->OpenBlob(Sha256("from thread " + std::to_string(i))).ok());
      EXPECT_GE(store_->List().size(), 1U);
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(store_->Commit(partial).ok());
  EXPECT_TRUE(ReadBlob(text_) == text_);
}

}  // namespace
}  // namespace shoal::fetch
