// Slab: many small objects of one kind, named by 32-bit handles, which never move.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/prefetch.h"

namespace shoal::index {

using Handle = std::uint32_t;
inline constexpr Handle kNoHandle = ~Handle{0};

// Grows by shelves of kShelf objects, so that growing copies nothing and wastes one shelf at most.
template <class T>
class Slab {
 public:
  Handle Add(T value) {
    Handle handle = 0;
    if (!free_.empty()) {
      handle = free_.back();
      free_.pop_back();
    } else {
      SHOAL_CHECK(made_ != kNoHandle);
      if (made_ % kShelf == 0) shelves_.push_back(std::make_unique<T[]>(kShelf));
      handle = made_++;
    }
    (*this)[handle] = std::move(value);
    return handle;
  }
  // At this very handle, which is not below made().
  void AddAt(Handle handle, T value) {
    SHOAL_CHECK(handle >= made_ && handle != kNoHandle);
    while (made_ <= handle) {
      if (made_ % kShelf == 0) shelves_.push_back(std::make_unique<T[]>(kShelf));
      if (made_ < handle) free_.push_back(made_);
      ++made_;
    }
    (*this)[handle] = std::move(value);
  }
  void Remove(Handle handle) {
    (*this)[handle] = T{};
    free_.push_back(handle);
  }

  T& operator[](Handle handle) { return shelves_[handle / kShelf][handle % kShelf]; }
  const T& operator[](Handle handle) const { return shelves_[handle / kShelf][handle % kShelf]; }

  // Calls it into the processor's cache, where there is one of this handle.
  void Prefetch(Handle handle) const {
    if (handle < made_) shoal::Prefetch(&(*this)[handle]);
  }

  [[nodiscard]] std::size_t size() const { return made_ - free_.size(); }
  // Handles below this may be looked at; removed ones hold T{}.
  [[nodiscard]] Handle made() const { return made_; }

 private:
  static constexpr Handle kShelf = 4096;

  std::vector<std::unique_ptr<T[]>> shelves_;
  std::vector<Handle> free_;
  Handle made_ = 0;
};

}  // namespace shoal::index
