// OpenSSL 3 calls its low-level SHA-256 deprecated, but nothing else gives its state away.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "fetch/chain.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace shoal::fetch {
namespace {

constexpr std::size_t kStateBytes = sizeof(ChainState);
constexpr std::int64_t kSha256BlockBytes = 64;

// The storage of ChainHasher is the SHA256_CTX; both are plain bytes that may be copied.
static_assert(std::is_trivially_copyable_v<SHA256_CTX>);

SHA256_CTX Load(const std::array<std::byte, 112>& storage) {
  static_assert(sizeof(SHA256_CTX) == 112 && alignof(SHA256_CTX) <= 8);
  SHA256_CTX context;
  std::memcpy(&context, storage.data(), sizeof context);
  return context;
}

void Save(const SHA256_CTX& context, std::array<std::byte, 112>& storage) {
  std::memcpy(storage.data(), &context, sizeof context);
}

void WordsToState(const SHA256_CTX& context, ChainState& state) {
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t b = 0; b < 4; ++b) {
      state[4 * i + b] = static_cast<std::byte>((context.h[i] >> (24 - 8 * b)) & 0xff);
    }
  }
}

void StateToWords(const ChainState& state, SHA256_CTX& context) {
  for (std::size_t i = 0; i < 8; ++i) {
    SHA_LONG word = 0;
    for (std::size_t b = 0; b < 4; ++b) {
      word = (word << 8) | std::to_integer<SHA_LONG>(state[4 * i + b]);
    }
    context.h[i] = word;
  }
}

}  // namespace

const ChainState& InitialState() {
  static const ChainState state = [] {
    SHA256_CTX context;
    SHOAL_CHECK(SHA256_Init(&context) == 1);
    ChainState initial;
    WordsToState(context, initial);
    return initial;
  }();
  return state;
}

ChainHasher::ChainHasher(const ChainState& state, Bytes before) : position_(before) {
  SHOAL_CHECK(before >= Bytes(0) && before.count() % kSha256BlockBytes == 0);
  SHA256_CTX context;
  SHOAL_CHECK(SHA256_Init(&context) == 1);
  StateToWords(state, context);
  // The message length so far, in bits, as two 32-bit halves.
  const std::uint64_t bits = static_cast<std::uint64_t>(before.count()) * 8;
  context.Nl = static_cast<SHA_LONG>(bits & std::numeric_limits<std::uint32_t>::max());
  context.Nh = static_cast<SHA_LONG>(bits >> 32);
  Save(context, context_);
}

void ChainHasher::Update(ByteSpan bytes) {
  if (bytes.empty()) return;
  SHA256_CTX context = Load(context_);
  SHOAL_CHECK(SHA256_Update(&context, bytes.data(), bytes.size()) == 1);
  Save(context, context_);
  position_ += Bytes(static_cast<std::int64_t>(bytes.size()));
}

ChainState ChainHasher::State() const {
  SHOAL_CHECK(position_.count() % kSha256BlockBytes == 0);
  ChainState state;
  WordsToState(Load(context_), state);
  return state;
}

Digest ChainHasher::Finish() const {
  SHA256_CTX context = Load(context_);
  Digest digest;
  SHOAL_CHECK(SHA256_Final(reinterpret_cast<unsigned char*>(digest.bytes.data()), &context) == 1);
  return digest;
}

Chain::Chain(Geometry geometry) : geometry_(geometry), states_{InitialState()}, set_{true} {}

const ChainState* Chain::Before(PieceIndex i) const {
  SHOAL_CHECK(i.value >= 0 && i.value < geometry_.count());
  const auto at = static_cast<std::size_t>(i.value);
  return at < states_.size() && (i.value < known_ || set_[at]) ? &states_[at] : nullptr;
}

std::int32_t Chain::CommonPrefix(const Chain& other) const {
  const auto both = static_cast<std::size_t>(std::min(known_, other.known_));
  if (std::memcmp(states_.data(), other.states_.data(), both * kStateBytes) == 0) {
    return static_cast<std::int32_t>(both);
  }
  std::size_t i = 0;
  while (states_[i] == other.states_[i]) ++i;
  return static_cast<std::int32_t>(i);
}

void Chain::Set(PieceIndex i, const ChainState& state) {
  SHOAL_CHECK(i.value >= 0 && i.value < geometry_.count());
  SHOAL_CHECK(i.value > 0 || state == InitialState());
  const auto at = static_cast<std::size_t>(i.value);
  if (at >= states_.size()) {
    states_.resize(at + 1);
    set_.resize(at + 1);
  }
  states_[at] = state;
  set_[at] = true;
  while (static_cast<std::size_t>(known_) < states_.size() &&
         set_[static_cast<std::size_t>(known_)]) {
    ++known_;
  }
}

void Chain::Clear(PieceIndex i) {
  SHOAL_CHECK(i.value > 0 && i.value < geometry_.count());
  const auto at = static_cast<std::size_t>(i.value);
  if (at >= states_.size()) return;
  set_[at] = false;
  while (!set_.back()) {  // states_[0] is always there
    set_.pop_back();
    states_.pop_back();
  }
  known_ = std::min(known_, i.value);
}

ByteVector Chain::Encode(std::int32_t from) const {
  ByteVector bytes;
  bytes.reserve(static_cast<std::size_t>(std::max(known_ - from, 0)) * kStateBytes);
  for (std::int32_t i = from; i < known_; ++i) {
    const ChainState& state = states_[static_cast<std::size_t>(i)];
    bytes.insert(bytes.end(), state.begin(), state.end());
  }
  return bytes;
}

Result<Chain> Chain::Decode(Geometry geometry, ByteSpan states) {
  const std::size_t count = states.size() / kStateBytes;
  if (states.size() % kStateBytes != 0 || count >= static_cast<std::size_t>(geometry.count())) {
    return Error{Code::kInvalid, "chain: " + std::to_string(states.size()) +
                                     " bytes are not the states of a blob of " +
                                     std::to_string(geometry.count()) + " pieces"};
  }
  Chain chain(geometry);
  chain.states_.reserve(count + 1);
  chain.set_.reserve(count + 1);
  for (std::size_t i = 1; i <= count; ++i) {
    ChainState state;
    std::ranges::copy(states.subspan((i - 1) * kStateBytes, kStateBytes), state.begin());
    chain.Set({static_cast<std::int32_t>(i)}, state);
  }
  return chain;
}

bool CanVerify(const Chain& chain, PieceIndex i) {
  if (chain.Before(i) == nullptr) return false;
  return i == chain.geometry().last() || chain.Before(i + 1) != nullptr;
}

bool VerifyPiece(const Chain& chain, const Digest& digest, PieceIndex i,
                 const ChainHasher& hasher) {
  const Geometry& geometry = chain.geometry();
  if (!CanVerify(chain, i)) return false;
  if (hasher.position() != geometry.OffsetOf(i) + geometry.LengthOf(i)) return false;
  if (i == geometry.last()) return hasher.Finish() == digest;
  return hasher.State() == *chain.Before(i + 1);
}

}  // namespace shoal::fetch
