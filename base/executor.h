// Executor and Loop: where a message goes instead of a lock, and the loop thread's clock.
#pragma once

#include <functional>

#include "base/time.h"

namespace shoal {

// A thread, or several, that run what is posted.
class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` soon, on the executor's own thread, never inside this call. Any thread may post.
  virtual void Post(std::function<void()> work) = 0;
};

// The thread that owns the cores. It gives them `now`.
class Loop : public Executor {
 public:
  [[nodiscard]] virtual Time Now() const = 0;
  [[nodiscard]] virtual WallTime Wall() const = 0;
  // Runs `work` on the loop once `delay` has passed. It cannot be taken back: hold a weak_ptr.
  virtual void After(Duration delay, std::function<void()> work) = 0;
};

}  // namespace shoal
