// Executor: where a message goes instead of a lock.
#pragma once

#include <functional>

namespace shoal {

// A thread, or several, that run what is posted.
class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` soon, on the executor's own thread, never inside this call. Any thread may post.
  virtual void Post(std::function<void()> work) = 0;
};

}  // namespace shoal
