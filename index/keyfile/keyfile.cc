#include "index/keyfile/keyfile.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "index/keyfile/file_io.h"

namespace shoal::index {
namespace {

constexpr std::size_t kKeyFileBytes = 65;  // 64 hex digits and a newline

// nullopt when there is none.
Result<std::optional<SigningKey>> Load(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::optional<SigningKey>();
    return ErrnoError(errno, "open the host's key " + path);
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, "read the host's key " + path);
  if (!S_ISREG(info.st_mode)) {
    return Error{Code::kInvalid, "the host's key " + path + " is not a regular file"};
  }
  if ((info.st_mode & 077) != 0) {
    return Error{Code::kDenied, "the host's key " + path +
                                    " can be read by others; run: chmod 600 " + path +
                                    " (or remove it, and the host gets a new identity)"};
  }
  auto text = ReadAll(fd.get(), path, kKeyFileBytes);
  if (!text && text.error().code != Code::kExhausted) return text.error();
  const auto hex = text && text->size() == kKeyFileBytes && text->back() == '\n'
                       ? FromHex(std::string_view(*text).substr(0, kKeyFileBytes - 1))
                       : Result<ByteVector>(Error{Code::kCorrupt, ""});
  if (!hex) {
    return Error{Code::kCorrupt, "the host's key " + path +
                                     " is damaged; restore it, or remove it and the host gets a "
                                     "new identity"};
  }
  KeySeed seed{};
  std::ranges::copy(*hex, seed.begin());
  return std::optional(SigningKey::FromSeed(seed));
}

}  // namespace

Result<SigningKey> LoadOrMakeKey(const std::string& path) {
  auto there = Load(path);
  if (!there) return there.error();
  if (there->has_value()) return **there;

  KeySeed seed{};
  if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(seed.data()), seed.size()) != 1) {
    return Error{Code::kRetryLater, "the system has no randomness to make the host's key " + path};
  }
  std::string text = ToHex(seed) + "\n";
  auto made = WriteWhole(path, text, IfThere::kKeep);
  OPENSSL_cleanse(text.data(), text.size());
  if (!made) return made.error();
  if (*made) return SigningKey::FromSeed(seed);
  // Somebody else was first: theirs counts.
  there = Load(path);
  if (!there) return there.error();
  if (!there->has_value()) {
    return Error{Code::kRetryLater, "the host's key " + path + " came and went; start again"};
  }
  return **there;
}

}  // namespace shoal::index
