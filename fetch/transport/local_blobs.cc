#include "fetch/transport/local_blobs.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace shoal::fetch {
namespace {

// Between two looks at the queue: about 10 ms of hashing, so that small blobs never wait for large.
constexpr Bytes kStepBytes{16 << 20};
constexpr Bytes kBlobReadBytes{256 << 10};

}  // namespace

// One file being hashed from its start to its end, a step at a time.
struct LocalBlobs::HashJob {
  Digest digest;
  Identity identity;
  bool in_store = false;
  std::shared_ptr<LiveBlob> live;
  std::optional<Chain> expected;  // what an earlier run found
  ChainHasher hasher;
  std::vector<std::byte> buffer;
};

LocalBlobs::LocalBlobs(BlobStore& store, Executor& pool, Bytes piece, Ports ports)
    : store_(store), pool_(pool), piece_(piece), ports_(std::move(ports)) {}

bool LocalBlobs::Has(const Digest& digest) const {
  if (store_.Find(digest)) return true;
  return ports_.open_in_runtime && ports_.open_in_runtime(digest).ok();
}

std::shared_ptr<LiveBlob> LocalBlobs::Open(const Digest& digest) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = open_.find(digest);
    if (it != open_.end()) {
      if (auto live = it->second.lock(); live && !live->Failure()) return live;
      open_.erase(it);
    }
  }
  if (store_.Find(digest)) {
    auto file = store_.OpenBlob(digest);
    if (file) {
      if (auto live = OpenFile(digest, *file, true)) return live;
    }
  }
  if (ports_.open_in_runtime) {
    auto file = ports_.open_in_runtime(digest);
    if (file) return OpenFile(digest, *file, false);
  }
  return nullptr;
}

std::shared_ptr<LiveBlob> LocalBlobs::OpenFile(const Digest& digest, const SharedFile& file,
                                               bool in_store) {
  struct stat info {};
  if (fstat(file->fd(), &info) != 0) return nullptr;
  const Identity identity{info.st_dev, info.st_ino,
                          info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec};
  auto chain = store_.FindChain(digest);
  if (chain && chain->geometry().blob() != Bytes(info.st_size)) chain.reset();
  auto geometry = chain ? Result(chain->geometry()) : CutFor(Bytes(info.st_size), piece_);
  if (!geometry) return nullptr;

  auto live = std::make_shared<LiveBlob>(digest, *geometry, file, StreamMode::kVerified, nullptr);
  live->AddOrigin({.local = true});
  // Whole before anybody else can come upon it: else he would see pieces absent that are here.
  const bool proved = chain && chain->complete() && IsProved(digest, identity);
  if (proved) {
    for (PieceIndex piece{0}; piece.value < geometry->count(); ++piece) {
      if (piece.value > 0) live->SetState(piece, *chain->Before(piece));
      live->AddPiece(piece);
    }
    live->Prove();
  }
  {
    const std::lock_guard lock(mutex_);
    // Somebody else may have opened it meanwhile: one hash job a blob.
    if (const auto it = open_.find(digest); it != open_.end()) {
      if (auto other = it->second.lock(); other && !other->Failure()) return other;
    }
    if (const auto it = corrupt_.find(digest); it != corrupt_.end() && it->second == identity) {
      return nullptr;
    }
    if (open_.size() > 1024)
      std::erase_if(open_, [](auto& entry) { return entry.second.expired(); });
    open_[digest] = live;
  }
  if (proved) return live;
  auto job = std::make_shared<HashJob>();
  job->digest = digest;
  job->identity = identity;
  job->in_store = in_store;
  job->live = live;
  job->expected = std::move(chain);
  pool_.Post([this, job] { Step(job); });
  return live;
}

void LocalBlobs::Step(const std::shared_ptr<HashJob>& job) {
  const Geometry& geometry = job->live->geometry();
  job->buffer.resize(static_cast<std::size_t>(std::min(kBlobReadBytes, geometry.piece()).count()));
  const Bytes until = std::min(geometry.blob(), job->hasher.position() + kStepBytes);
  while (job->hasher.position() < until) {
    const Bytes position = job->hasher.position();
    const PieceIndex piece = geometry.At(position);
    const Bytes piece_end = geometry.OffsetOf(piece) + geometry.LengthOf(piece);
    const Bytes count =
        std::min(piece_end - position, Bytes(static_cast<std::int64_t>(job->buffer.size())));
    const std::span<std::byte> chunk(job->buffer.data(), static_cast<std::size_t>(count.count()));
    if (auto read = job->live->file()->ReadAt(position, chunk); !read) {
      job->live->Fail(read.error().In("reading " + ToString(job->digest)));
      return;
    }
    job->hasher.Update(chunk);
    if (job->hasher.position() == piece_end && piece != geometry.last()) {
      const ChainState state = job->hasher.State();
      const ChainState* expected = job->expected ? job->expected->Before(piece + 1) : nullptr;
      if (expected != nullptr && *expected != state) {
        Finish(*job);
        return;
      }
      job->live->SetState(piece + 1, state);
      job->live->AddPiece(piece);
    }
  }
  if (job->hasher.position() < geometry.blob()) {
    pool_.Post([this, job] { Step(job); });
  } else {
    Finish(*job);
  }
}

void LocalBlobs::Finish(HashJob& job) {
  const Geometry& geometry = job.live->geometry();
  if (job.hasher.position() == geometry.blob() && job.hasher.Finish() == job.digest) {
    {
      const std::lock_guard lock(mutex_);
      if (proved_.size() >= kProvedMax) proved_.clear();
      proved_[job.digest] = job.identity;
    }
    if (!job.expected) {
      if (auto saved = store_.SaveChain(job.digest, job.live->chain()); !saved) {
        spdlog::warn("the chain of {} was not kept: {}", ToString(job.digest), saved.error().text);
      }
    }
    job.live->AddPiece(geometry.last());
    job.live->Prove();
    return;
  }
  spdlog::error("{} in {} is corrupt on disk; it is no longer served", ToString(job.digest),
                job.in_store ? "our store" : "the runtime's content store");
  {
    const std::lock_guard lock(mutex_);
    corrupt_[job.digest] = job.identity;
  }
  if (job.in_store) {
    if (auto removed = store_.Remove(job.digest); !removed) {
      spdlog::error("cannot remove it: {}", removed.error().text);
    }
  }
  if (ports_.on_corrupt) ports_.on_corrupt(job.digest);
  job.live->Fail(Error{Code::kCorrupt, ToString(job.digest) + " is corrupt on disk"});
}

bool LocalBlobs::IsProved(const Digest& digest, const Identity& identity) const {
  const std::lock_guard lock(mutex_);
  const auto it = proved_.find(digest);
  return it != proved_.end() && it->second == identity;
}

void LocalBlobs::MarkProved(const Digest& digest) {
  auto file = store_.OpenBlob(digest);
  struct stat info {};
  if (!file || fstat((*file)->fd(), &info) != 0) return;
  const std::lock_guard lock(mutex_);
  proved_[digest] = Identity{info.st_dev, info.st_ino,
                             info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec};
}

}  // namespace shoal::fetch
