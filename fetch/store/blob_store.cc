#include "fetch/store/blob_store.h"

#include "fetch/store/store_core.h"

namespace shoal::fetch {

struct BlobStore::Parts {
  std::shared_ptr<StoreCore> core;  // partial blobs know it weakly
};

Result<std::unique_ptr<BlobStore>> BlobStore::Open(Options options, index::LmdbEnv& env) {
  auto table = BlobTable::Open(env);
  if (!table) return table.error();
  auto core = std::make_shared<StoreCore>(std::move(options), *table);
  if (Status loaded = core->Load(); !loaded) return loaded.error();
  auto parts = std::make_unique<Parts>();
  parts->core = std::move(core);
  return std::unique_ptr<BlobStore>(new BlobStore(std::move(parts)));
}

BlobStore::BlobStore(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
BlobStore::~BlobStore() = default;

std::optional<StoredBlob> BlobStore::Find(const Digest& digest) const {
  return parts_->core->Find(digest);
}
std::vector<StoredBlob> BlobStore::List() const { return parts_->core->List(); }
StoreUsage BlobStore::usage() const { return parts_->core->usage(); }

Result<SharedFile> BlobStore::OpenBlob(const Digest& digest) {
  return parts_->core->OpenBlob(digest);
}

std::vector<std::pair<Digest, Bytes>> BlobStore::ListPartials() const {
  return parts_->core->ListPartials();
}

std::optional<std::shared_ptr<PartialBlob>> BlobStore::FindPartial(const Digest& digest) {
  auto partial = parts_->core->FindPartial(digest);
  if (!partial) return std::nullopt;
  return partial;
}

Result<std::shared_ptr<PartialBlob>> BlobStore::OpenPartial(const Digest& digest,
                                                            Geometry geometry) {
  return parts_->core->OpenPartial(digest, geometry);
}

Status BlobStore::Commit(const std::shared_ptr<PartialBlob>& partial) {
  return parts_->core->Commit(*partial);
}
Status BlobStore::DropPartial(const Digest& digest) { return parts_->core->DropPartial(digest); }
Status BlobStore::Remove(const Digest& digest) { return parts_->core->Remove(digest); }
Status BlobStore::Put(const Digest& digest, ByteSpan bytes) {
  return parts_->core->Put(digest, bytes);
}

std::optional<Chain> BlobStore::FindChain(const Digest& digest) const {
  return parts_->core->table().FindChain(digest);
}

Status BlobStore::SaveChain(const Digest& digest, const Chain& chain) {
  if (!chain.complete()) {
    return Error{Code::kInvalid, "the chain of " + ToString(digest) + " has gaps"};
  }
  return parts_->core->table().SaveChain(digest, chain);
}

}  // namespace shoal::fetch
