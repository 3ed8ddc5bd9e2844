// PinFile: the identities of index servers that were trusted on first use.
//
// One line each, `<target> <peer id>`; people may edit it while no agent runs.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/result.h"

namespace shoal::index {

inline constexpr std::size_t kPinsMax = 1000;  // index servers ever used by one host

// Used by one thread.
class PinFile {
 public:
  // Errors: kCorrupt, naming the line, when the file is no pin file; kDenied.
  static Result<std::unique_ptr<PinFile>> Open(std::string path);

  [[nodiscard]] std::optional<PeerId> Find(const std::string& target) const;
  // Remembers who answers at `target` (without spaces), on disk before it returns.
  // Errors: kDenied when another identity is remembered; kExhausted, kDenied from the disk.
  Status Remember(const std::string& target, const PeerId& id);

 private:
  explicit PinFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
  std::map<std::string, PeerId> pins_;
};

// What to tell people when a server is not who it was.
Error OtherIdentity(const std::string& target, const PeerId& expected, const std::string& where);

}  // namespace shoal::index
