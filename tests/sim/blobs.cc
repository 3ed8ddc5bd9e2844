#include "tests/sim/blobs.h"

#include <cstring>
#include <utility>

namespace shoal::sim {
namespace {

constexpr Bytes kManifestBytes{4096};

}  // namespace

BlobId Blobs::AddBlob(Bytes size) {
  Blob blob;
  for (std::size_t i = 0; i < blob.digest.bytes.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t word = rng_.Next();
    std::memcpy(blob.digest.bytes.data() + i, &word, sizeof word);
  }
  blob.size = size;
  blob.versions.push_back({size, rng_.Next()});
  blobs_.push_back(std::move(blob));
  bytes_ += size;
  return static_cast<BlobId>(blobs_.size() - 1);
}

ImageId Blobs::AddImage(const std::vector<Bytes>& layers) {
  Image image;
  image.blobs.push_back(AddBlob(kManifestBytes));
  image.size = kManifestBytes;
  for (const Bytes size : layers) {
    image.blobs.push_back(AddBlob(size));
    image.size += size;
  }
  images_.push_back(std::move(image));
  return static_cast<ImageId>(images_.size() - 1);
}

Version Blobs::AddForgery(BlobId id, Bytes fork) {
  Blob& blob = blobs_[id];
  SHOAL_CHECK(fork >= Bytes(0) && fork < blob.size && blob.cuts.empty());
  blob.versions.push_back({fork, rng_.Next()});
  return static_cast<Version>(blob.versions.size() - 1);
}

const Cut& Blobs::CutBy(BlobId id, const fetch::Geometry& geometry) {
  Blob& blob = blobs_[id];
  for (const auto& cut : blob.cuts) {
    if (cut->geometry == geometry) return *cut;
  }
  SHOAL_CHECK(geometry.blob() == blob.size);
  auto cut = std::make_unique<Cut>(geometry);
  for (const Forgery& version : blob.versions) cut->makes.push_back(MakeChain(blob, *cut, version));
  blob.cuts.push_back(std::move(cut));
  return *blob.cuts.back();
}

Cut::Make Blobs::MakeChain(const Blob& blob, const Cut& cut, const Forgery& version) {
  const std::int32_t count = cut.geometry.count();
  const std::int64_t piece = cut.geometry.piece().count();
  Cut::Make make;
  make.states.reserve(static_cast<std::size_t>(count));
  make.states.push_back(fetch::InitialState());
  auto whole = std::make_shared<fetch::HolderMap>(
      fetch::HolderMap{fetch::Chain(cut.geometry), fetch::PieceMap(count, true)});
  for (fetch::PieceIndex i{1}; i.value < count; ++i) {
    const bool forged = piece * i.value > version.fork.count();
    const std::uint64_t salt = forged ? version.salt : blob.versions[0].salt;
    make.states.push_back(Mix(make.states.back(), salt ^ static_cast<std::uint64_t>(piece)));
    whole->chain.Set(i, make.states.back());
  }
  make.whole = std::move(whole);
  return make;
}

bool Blobs::IsRight(BlobId id, const fetch::Geometry& geometry, fetch::PieceIndex piece,
                    Version version) const {
  if (version == kTrue || version == kGarbage) return version == kTrue;
  const Bytes end = geometry.OffsetOf(piece) + geometry.LengthOf(piece);
  return end <= blobs_[id].versions[static_cast<std::size_t>(version)].fork;
}

Blobs::Hashed Blobs::Hash(BlobId id, const fetch::Geometry& geometry, fetch::PieceIndex piece,
                          Version version, const fetch::ChainState& before) {
  const auto at = static_cast<std::size_t>(piece.value);
  const bool last = piece == geometry.last();
  if (IsRight(id, geometry, piece, version)) version = kTrue;
  if (version != kGarbage) {
    // Bytes lead along their own chain only. Chains that agree so far are the same there.
    const auto& states = CutBy(id, geometry).makes[static_cast<std::size_t>(version)].states;
    if (before == states[at]) {
      return {last ? fetch::ChainState{} : states[at + 1], last && version == kTrue};
    }
  }
  const auto salt = static_cast<std::uint64_t>(static_cast<std::uint16_t>(version));
  return {Mix(before, salt * 0x10001 + at), false};
}

fetch::ChainState Blobs::Mix(const fetch::ChainState& before, std::uint64_t with) {
  std::uint64_t words[4];
  static_assert(sizeof words == sizeof before);
  std::memcpy(words, before.data(), sizeof words);
  Rng rng(words[0] ^ (words[1] * 3) ^ (words[2] * 5) ^ (words[3] * 7) ^ with);
  for (auto& word : words) word = rng.Next();
  fetch::ChainState after;
  std::memcpy(after.data(), words, sizeof words);
  return after;
}

}  // namespace shoal::sim
