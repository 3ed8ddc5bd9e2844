#include "index/net/zstd_codec.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"

namespace shoal::index {
namespace {

constexpr int kLevel = 3;                         // zstd's default: 10 times faster than our links
constexpr unsigned long long kWindowLogMax = 23;  // 8 MiB, whatever a frame asks for

struct FreeStream {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

std::string Compress(std::string_view plain) {
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size =
      ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), kLevel);
  SHOAL_CHECK(ZSTD_isError(size) == 0);
  packed.resize(size);
  return packed;
}

Result<std::string> Decompress(std::string_view packed, std::size_t max_bytes) {
  const std::unique_ptr<ZSTD_DCtx, FreeStream> context(ZSTD_createDCtx());
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kWindowLogMax);
  std::string plain;
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::size_t left = 1;
  while (left != 0) {
    const std::size_t before = plain.size();
    if (before > max_bytes) {
      return Error{Code::kExhausted,
                   "the answer is longer than " + std::to_string(max_bytes) + " bytes"};
    }
    plain.resize(before + ZSTD_DStreamOutSize());
    ZSTD_outBuffer out{plain.data() + before, plain.size() - before, 0};
    left = ZSTD_decompressStream(context.get(), &out, &in);
    plain.resize(before + out.pos);
    if (ZSTD_isError(left) != 0) return Error{Code::kCorrupt, "the answer is not a zstd frame"};
    if (left != 0 && out.pos == 0 && in.pos == in.size) {
      return Error{Code::kCorrupt, "the zstd frame is cut short"};
    }
  }
  if (plain.size() > max_bytes) {
    return Error{Code::kExhausted,
                 "the answer is longer than " + std::to_string(max_bytes) + " bytes"};
  }
  return plain;
}

}  // namespace shoal::index
