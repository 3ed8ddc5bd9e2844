#include "agent/describer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "registry-proxy/manifest.h"

namespace shoal::agent {

void Describer::Want(const Digest& top) {
  if (!is_wanted_.insert(top).second) return;
  wanted_.push_back(top);
  if (wanted_.size() > kWantedMax) {
    is_wanted_.erase(wanted_.front());
    wanted_.pop_front();
  }
  LookSoon();
}

void Describer::OnBlob(Bytes size) {
  if (size <= Bytes(static_cast<std::int64_t>(proxy::kManifestBytesMax))) LookSoon();
}

void Describer::LookSoon() {
  came_ = true;
  if (looking_ || wanted_.empty()) return;
  looking_ = true;
  ports_.loop.After(kLookSpacing, [this] { Look(); });
}

void Describer::Look() {
  came_ = false;
  const auto count = static_cast<std::ptrdiff_t>(std::min(wanted_.size(), kLooksMax));
  std::vector<Digest> tops(wanted_.begin(), wanted_.begin() + count);
  wanted_.erase(wanted_.begin(), wanted_.begin() + count);
  ports_.pool.Post([this, tops = std::move(tops)] {
    std::vector<std::pair<Digest, std::optional<proxy::ImageFacts>>> found;
    for (const auto& top : tops) found.emplace_back(top, proxy::FactsOf(top, ports_.read));
    ports_.loop.Post([this, found = std::move(found)] {
      looking_ = false;
      bool any = false;
      for (const auto& [top, facts] : found) {
        if (!facts) {
          wanted_.push_back(top);
          continue;
        }
        any = true;
        is_wanted_.erase(top);
        ports_.on_facts(top, *facts);
      }
      // Those that were not looked at yet; the others wait for the next blob.
      if (came_ || (any && wanted_.size() > kLooksMax)) LookSoon();
    });
  });
}

}  // namespace shoal::agent
