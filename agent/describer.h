// Describer: finds out the size and the platforms of the images that are here, as their documents
// come in. On the loop; files are read in the pool.
#pragma once

#include <deque>
#include <functional>
#include <unordered_set>

#include "base/executor.h"
#include "registry-proxy/image_facts.h"

namespace shoal::agent {

class Describer {
 public:
  struct Ports {
    Loop& loop;
    Executor& pool;
    proxy::ReadDocument read;  // on the pool's threads
    std::function<void(const Digest& top, const proxy::ImageFacts& facts)> on_facts;
  };
  explicit Describer(Ports ports) : ports_(std::move(ports)) {}

  // An image is here whose facts are not known. Asked again and again it is looked at once.
  void Want(const Digest& top);
  // A whole blob has come: it may be a document that was missing.
  void OnBlob(Bytes size);

 private:
  // Of more the oldest are forgotten: they are found by name and digest still.
  static constexpr std::size_t kWantedMax = 10'000;
  static constexpr std::size_t kLooksMax = 100;  // images a look
  // Documents come one after the other, some milliseconds apart; what they say may wait a little.
  static constexpr Duration kLookSpacing = std::chrono::milliseconds(500);

  void LookSoon();
  void Look();

  Ports ports_;
  std::deque<Digest> wanted_;  // those that were looked at last behind
  std::unordered_set<Digest> is_wanted_;
  bool looking_ = false;
  bool came_ = false;  // something came since the look under way began
};

}  // namespace shoal::agent
