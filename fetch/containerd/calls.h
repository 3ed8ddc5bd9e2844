// Calls: what is being asked of containerd just now, so that Stop can end all of it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/result.h"
#include "base/time.h"

namespace shoal::fetch {

// Thread-safe. Outlives every Call made from it.
class Calls {
 public:
  // Ends the calls under way, those made from now on, and all waits. For good.
  void Cancel();
  [[nodiscard]] bool cancelled() const;
  // Waits for `duration`. Returns false at once when cancelled, before or meanwhile.
  bool Wait(Duration duration);

 private:
  friend class Call;
  void Add(grpc::ClientContext* context);
  void Remove(grpc::ClientContext* context);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  std::unordered_set<grpc::ClientContext*> contexts_;  // of Calls that live
};

// One call's context, which Calls::Cancel ends.
class Call {
 public:
  // name_space  containerd's, "" for the calls that need none.
  // timeout     bound of the whole call; Duration::max() for a stream that has no end.
  Call(Calls& calls, const std::string& name_space, Duration timeout);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }

 private:
  Calls& calls_;
  grpc::ClientContext context_;
};

// What a failed call means to us; `what` names the operation and its object.
Error ToError(const grpc::Status& status, std::string_view what);

}  // namespace shoal::fetch
