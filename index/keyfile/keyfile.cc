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
constexpr const char* kRoomKey = "the room's key";

// nullopt when there is none. `what` is "the host's key" or "the room's key".
Result<std::optional<SigningKey>> Load(const std::string& path, const std::string& what) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::optional<SigningKey>();
    return ErrnoError(errno, "open " + what + " " + path);
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, "read " + what + " " + path);
  if (!S_ISREG(info.st_mode)) {
    return Error{Code::kInvalid, what + " " + path + " is not a regular file"};
  }
  if ((info.st_mode & 077) != 0) {
    return Error{Code::kDenied,
                 what + " " + path + " can be read by others; run: chmod 600 " + path};
  }
  auto text = ReadAll(fd.get(), path, kKeyFileBytes);
  if (!text && text.error().code != Code::kExhausted) return text.error();
  const auto hex = text && text->size() == kKeyFileBytes && text->back() == '\n'
                       ? FromHex(std::string_view(*text).substr(0, kKeyFileBytes - 1))
                       : Result<ByteVector>(Error{Code::kCorrupt, ""});
  if (!hex) {
    return Error{Code::kCorrupt, what + " " + path +
                                     " is damaged; restore it, or remove it and there will be a "
                                     "new identity"};
  }
  KeySeed seed{};
  std::ranges::copy(*hex, seed.begin());
  return std::optional(SigningKey::FromSeed(seed));
}

// Returns false when one was there and is kept.
Result<bool> Make(const std::string& path, const std::string& what, KeySeed& seed) {
  if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(seed.data()),
                      static_cast<int>(seed.size())) != 1) {
    return Error{Code::kRetryLater, "the system has no randomness to make " + what + " " + path};
  }
  std::string text = ToHex(seed) + "\n";
  auto made = WriteWhole(path, text, IfThere::kKeep);
  OPENSSL_cleanse(text.data(), text.size());
  return made;
}

}  // namespace

Result<SigningKey> LoadOrMakeKey(const std::string& path) {
  const std::string what = "the host's key";
  auto there = Load(path, what);
  if (!there) return there.error();
  if (there->has_value()) return **there;

  KeySeed seed{};
  auto made = Make(path, what, seed);
  if (!made) return made.error();
  if (*made) return SigningKey::FromSeed(seed);
  // Somebody else was first: theirs counts.
  there = Load(path, what);
  if (!there) return there.error();
  if (!there->has_value()) {
    return Error{Code::kRetryLater, "the host's key " + path + " came and went; start again"};
  }
  return **there;
}

Result<SigningKey> LoadRoomKey(const std::string& path) {
  auto there = Load(path, kRoomKey);
  if (!there) return there.error();
  if (there->has_value()) return **there;
  return Error{Code::kNotFound, "there is no room's key " + path +
                                    "; make one with: shoal room create, or name it with --key"};
}

Result<SigningKey> MakeRoomKey(const std::string& path) {
  KeySeed seed{};
  auto made = Make(path, kRoomKey, seed);
  if (!made) return made.error();
  if (*made) return SigningKey::FromSeed(seed);
  return Error{
      Code::kDenied,
      path + " is there already, and a room's key is never overwritten; take another name"};
}

Result<SigningKey> MakeLooseKey() {
  KeySeed seed{};
  if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(seed.data()),
                      static_cast<int>(seed.size())) != 1) {
    return Error{Code::kRetryLater, "the system has no randomness to make a key"};
  }
  return SigningKey::FromSeed(seed);
}

}  // namespace shoal::index
