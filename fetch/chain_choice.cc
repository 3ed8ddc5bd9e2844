#include "fetch/chain_choice.h"

#include <algorithm>
#include <utility>

namespace shoal::fetch {

std::optional<PieceIndex> FirstConflict(const Chain& a, const Chain& b) {
  if (a.geometry() != b.geometry()) return PieceIndex{0};
  const std::int32_t end = std::min(a.extent(), b.extent());
  for (PieceIndex i{a.CommonPrefix(b)}; i.value < end; ++i) {
    const ChainState* one = a.Before(i);
    const ChainState* other = b.Before(i);
    if (one != nullptr && other != nullptr && *one != *other) return i;
  }
  return std::nullopt;
}

bool StaysVerified(const Chain& from, const Chain& to, PieceIndex i) {
  if (from.geometry() != to.geometry() || !CanVerify(from, i) || !CanVerify(to, i)) return false;
  if (*from.Before(i) != *to.Before(i)) return false;
  return i == from.geometry().last() || *from.Before(i + 1) == *to.Before(i + 1);
}

std::vector<PieceIndex> Merge(Chain& chain, const Chain& more) {
  SHOAL_CHECK(chain.geometry() == more.geometry());
  std::vector<PieceIndex> learned;
  // Nothing is new where the chain knows all.
  for (PieceIndex i{chain.known_prefix()}; i.value < more.extent(); ++i) {
    const ChainState* state = more.Before(i);
    if (state == nullptr || chain.Before(i) != nullptr) continue;
    chain.Set(i, *state);
    learned.push_back(i);
  }
  return learned;
}

std::optional<CandidateId> ChainChoice::Add(Chain chain) {
  if (chains_.size() >= kCandidatesMax) return std::nullopt;
  const CandidateId id = NewId();
  chains_.emplace(id, std::move(chain));
  return id;
}

void ChainChoice::PutBack(CandidateId id, Chain chain) {
  SHOAL_CHECK(id < next_id_ && !chains_.contains(id));
  chains_.emplace(id, std::move(chain));
}

Chain* ChainChoice::Find(CandidateId id) {
  const auto found = chains_.find(id);
  return found == chains_.end() ? nullptr : &found->second;
}

Chain ChainChoice::Take(CandidateId id) {
  const auto found = chains_.find(id);
  SHOAL_CHECK(found != chains_.end());
  Chain chain = std::move(found->second);
  chains_.erase(found);
  return chain;
}

std::optional<CandidateId> ChainChoice::FindAgreeing(const Chain& chain) const {
  for (const auto& [id, known] : chains_) {
    if (!FirstConflict(known, chain)) return id;
  }
  return std::nullopt;
}

}  // namespace shoal::fetch
