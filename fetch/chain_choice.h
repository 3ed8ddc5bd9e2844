// ChainChoice: the chains that peers claim for one blob, where they do not agree.
//
// One of them at a time is the one the download goes by; the download holds it, and this table the
// others. Chains that agree wherever both know a state are one candidate. What a false chain costs
// is bounded by the size of the table and by the number of switches that the download allows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "fetch/chain.h"

namespace shoal::fetch {

using CandidateId = int;

inline constexpr std::size_t kCandidatesMax = 8;

// The first piece whose state the chains know differently; {0} when they cut the blob differently.
std::optional<PieceIndex> FirstConflict(const Chain& a, const Chain& b);

// Whether a piece verified under `from` is verified under `to` as well: both its states are the
// same there.
bool StaysVerified(const Chain& from, const Chain& to, PieceIndex i);

// Puts the states of `more` that `chain` lacks into it. The chains must not conflict.
// Returns  what was new, ascending.
std::vector<PieceIndex> Merge(Chain& chain, const Chain& more);

class ChainChoice {
 public:
  // Takes a chain in. Returns nullopt when kCandidatesMax are there.
  std::optional<CandidateId> Add(Chain chain);
  // Puts back, under its old id, the chain that the download went by.
  void PutBack(CandidateId id, Chain chain);
  // A fresh id for the chain that the download itself holds.
  CandidateId NewId() { return next_id_++; }

  [[nodiscard]] Chain* Find(CandidateId id);
  [[nodiscard]] Chain Take(CandidateId id);
  void Remove(CandidateId id) { chains_.erase(id); }
  // A candidate that does not conflict with `chain`.
  [[nodiscard]] std::optional<CandidateId> FindAgreeing(const Chain& chain) const;

  [[nodiscard]] const std::map<CandidateId, Chain>& chains() const { return chains_; }

 private:
  CandidateId next_id_ = 1;
  std::map<CandidateId, Chain> chains_;
};

}  // namespace shoal::fetch
