#include "registry-proxy/redirects.h"

#include <iterator>

namespace shoal::proxy {

std::string Redirects::Find(Time now, const std::string& url) {
  const auto it = entries_.find(url);
  if (it == entries_.end()) return {};
  if (now < it->second.until) return it->second.target;
  Erase(it);
  return {};
}

void Redirects::Note(Time now, const std::string& url, const std::string& target) {
  if (const auto it = entries_.find(url); it != entries_.end()) Erase(it);
  if (entries_.size() >= kRedirectsMax) Erase(entries_.find(order_.front()));
  order_.push_back(url);
  entries_[url] = {target, now + kRedirectLife, std::prev(order_.end())};
}

void Redirects::Forget(const std::string& url, const std::string& target) {
  const auto it = entries_.find(url);
  if (it != entries_.end() && it->second.target == target) Erase(it);
}

void Redirects::Erase(std::map<std::string, Entry>::iterator it) {
  order_.erase(it->second.place);
  entries_.erase(it);
}

}  // namespace shoal::proxy
