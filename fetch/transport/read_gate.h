// ReadGate: which bytes of a file that is still being written may be read by now.
#pragma once

#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace shoal::fetch {

// Thread-safe.
class ReadGate {
 public:
  virtual ~ReadGate() = default;

  // The end of the readable run that starts at `offset`; `offset` itself when that byte must wait.
  [[nodiscard]] virtual Bytes ReadableEnd(Bytes offset) = 0;
  // Why nothing more will come, if so.
  [[nodiscard]] virtual std::optional<Error> Failure() = 0;
  // Calls `wake` once, on any thread, when the answer for `offset` may have changed; at once if
  // it already has. A later call for the same `reader` replaces the earlier one. Also tells who
  // decides what to fetch that this reader waits there.
  virtual void Await(int reader, Bytes offset, std::function<void()> wake) = 0;
  // The reader is done or gone; its `wake` is not called after this returns.
  virtual void Leave(int reader) = 0;
  // A number for a new reader.
  virtual int Join() = 0;
};

}  // namespace shoal::fetch
