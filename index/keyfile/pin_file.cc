#include "index/keyfile/pin_file.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "index/keyfile/file_io.h"

namespace shoal::index {
namespace {

constexpr std::size_t kPinFileBytesMax = std::size_t{1} << 20;

}  // namespace

Result<std::unique_ptr<PinFile>> PinFile::Open(std::string path) {
  std::unique_ptr<PinFile> pins(new PinFile(std::move(path)));
  const FileDescriptor fd(::open(pins->path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) {
    if (errno == ENOENT) return pins;
    return ErrnoError(errno, "open the pins of index servers " + pins->path_);
  }
  auto text = ReadAll(fd.get(), pins->path_, kPinFileBytesMax);
  if (!text) return text.error();
  std::size_t line_number = 0;
  for (std::string_view rest = *text; !rest.empty();) {
    ++line_number;
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.empty()) continue;
    const auto space = line.find(' ');
    const auto id = ParsePeerId(space == std::string_view::npos ? "" : line.substr(space + 1));
    if (!id || space == 0 || pins->pins_.size() == kPinsMax) {
      return Error{Code::kCorrupt, pins->path_ + " line " + std::to_string(line_number) +
                                       " is not \"<url> <peer id>\"; mend or remove it"};
    }
    pins->pins_[std::string(line.substr(0, space))] = *id;
  }
  return pins;
}

std::optional<PeerId> PinFile::Find(const std::string& target) const {
  const auto it = pins_.find(target);
  if (it == pins_.end()) return std::nullopt;
  return it->second;
}

Status PinFile::Remember(const std::string& target, const PeerId& id) {
  SHOAL_CHECK(!target.empty() && target.find_first_of(" \n") == std::string::npos);
  if (const auto known = Find(target)) {
    if (*known == id) return Ok();
    return OtherIdentity(target, *known, path_);
  }
  if (pins_.size() == kPinsMax) {
    return Error{Code::kExhausted, path_ + " has too many entries; remove old ones"};
  }
  std::string text;
  for (const auto& [name, pin] : pins_) text += name + " " + pin.Hex() + "\n";
  text += target + " " + id.Hex() + "\n";
  auto written = WriteWhole(path_, text, IfThere::kReplace);
  if (!written) return written.error();
  pins_[target] = id;
  return Ok();
}

Error OtherIdentity(const std::string& target, const PeerId& expected, const std::string& where) {
  return {Code::kDenied, "the index server " + target + " is not the one we know (" +
                             expected.Short() +
                             "): somebody stands in its place, or it got a new key; if it did, "
                             "remove its line from " +
                             where + " or correct #PEERID in index.rendezvous"};
}

}  // namespace shoal::index
