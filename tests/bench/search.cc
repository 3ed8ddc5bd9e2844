// The core of the image search, alone: time and memory for very many names.
//
// usage: search [IMAGES]   prints one JSON object
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/rng.h"
#include "index/search.h"

namespace {

using namespace shoal;
using Clock = std::chrono::steady_clock;

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// As a large company's registries have them: a dozen registries, hundreds of teams, thousands of
// applications, and tags of versions, dates and commits.
class Names {
 public:
  Names() {
    const char* const syllables[] = {"ka",  "lo", "mi",  "ser", "vi",  "ce",  "data", "api",  "web",
                                     "pro", "xy", "aut", "h",   "job", "run", "net",  "core", "ui"};
    for (int i = 0; i < 4000; ++i) {
      std::string word;
      for (auto n = 2 + rng_.Below(3); n > 0; --n) word += syllables[rng_.Below(18)];
      words_.push_back(word);
    }
  }
  const std::string& Word() {
    // Some words are far more common than others.
    const auto n = rng_.Below(words_.size());
    return words_[n * rng_.Below(words_.size()) / words_.size()];
  }
  std::string Next() {
    std::string name = rng_.Below(5) == 0
                           ? std::string("docker.io/") + (rng_.Below(2) == 0 ? "library" : Word())
                           : "registry-" + std::to_string(rng_.Below(12)) + ".example.com:5000/" +
                                 "team-" + std::to_string(rng_.Below(400));
    name += "/" + Word();
    if (rng_.Below(2) == 0) name += "-" + Word();
    switch (rng_.Below(4)) {
      case 0:
        return name + ":latest-" + std::to_string(rng_.Below(100'000));
      case 1: {
        char hash[32];
        std::snprintf(hash, sizeof hash, "%012llx",
                      static_cast<unsigned long long>(rng_.Next() >> 16));
        return name + ":" + hash;
      }
      default:
        return name + ":v" + std::to_string(rng_.Below(9)) + "." + std::to_string(rng_.Below(50)) +
               "." + std::to_string(rng_.Below(300));
    }
  }
  Rng& rng() { return rng_; }

 private:
  Rng rng_{1};
  std::vector<std::string> words_;
};

constexpr int kKinds = 12;

// What people type, made from names that are there, and some that are not.
std::string SomeQuery(Names& names, const std::string& name, int kind) {
  auto& rng = names.rng();
  const auto slash = name.rfind('/');
  const auto colon = name.rfind(':');
  const std::string last = name.substr(slash + 1, colon - slash - 1);
  const std::string path = name.substr(0, slash);
  switch (kind) {
    case 0:
      return last;
    case 1:
      return last.substr(0, 1 + rng.Below(4));
    case 2:
      return name;
    case 3:
      return name.substr(slash + 1);
    case 4:
      return path + "/*:v" + std::to_string(rng.Below(9)) + "*";
    case 5:
      return "*" + last.substr(last.size() / 3, 4) + "*";
    case 6:
      return names.Word() + " v" + std::to_string(rng.Below(9));
    case 7:
      return "team-" + std::to_string(rng.Below(500)) + " " + names.Word() + " arch:arm64";
    case 8:
      return "library";
    case 9:
      return "registry-" + std::to_string(rng.Below(12)) + ".example.com:5000/team-" +
             std::to_string(rng.Below(400));
    case 10:
      return "tag:v" + std::to_string(rng.Below(9)) + ".1.* " + names.Word();
    default:
      return names.Word() + "nothing";
  }
}

Digest SomeDigest(Rng& rng) {
  Digest digest;
  for (auto& byte : digest.bytes) byte = static_cast<std::byte>(rng.Below(256));
  return digest;
}

int Bench(std::size_t count) {
  Names names;
  std::vector<std::string> some;
  const auto before = mallinfo2().uordblks + mallinfo2().hblkhd;
  std::size_t text = 0;
  double load_ms = 0;
  index::ImageSearch search(7);
  const char* const platforms[] = {"linux/amd64", "linux/amd64", "linux/arm64",
                                   "linux/amd64,linux/arm64"};
  while (search.size() < count) {
    const std::string name = names.Next();
    const index::ImageHolding image{name, SomeDigest(names.rng()),
                                    Bytes(names.rng().Below(1 << 30)),
                                    platforms[names.rng().Below(4)]};
    const auto holders = 1 + names.rng().Below(3);
    const auto begin = Clock::now();
    search.Add(Time(), image, index::ImageSearch::Whose::kPeer,
               static_cast<std::uint32_t>(holders));
    load_ms += MsSince(begin);
    text += name.size();
    if (search.size() % (count / 2000) == 0) some.push_back(name);
  }
  const auto bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
  std::vector<std::pair<double, std::string>> took;
  std::vector<std::vector<std::pair<double, std::string>>> by_kind(kKinds);
  std::size_t hits = 0;
  std::size_t cut = 0;
  for (int round = 0; round < 5; ++round) {
    for (const auto& name : some) {
      const int kind = static_cast<int>(took.size() % kKinds);
      const auto text_of_query = SomeQuery(names, name, kind);
      const auto begin = Clock::now();
      const auto query = index::ParseSearch(text_of_query);
      const auto page = search.Find(*query, "", 50, {});
      took.emplace_back(MsSince(begin), text_of_query);
      by_kind[static_cast<std::size_t>(kind)].push_back(took.back());
      hits += page->hits.size();
      cut += page->whole ? 0 : 1;
    }
  }
  std::sort(took.begin(), took.end());
  const auto at = [&](double part) {
    return took[static_cast<std::size_t>(part * static_cast<double>(took.size() - 1))].first;
  };
  std::printf(
      "{\"images\": %zu, \"terms\": %zu, \"name_bytes\": %.1f, \"bytes_a_name\": %.1f, "
      "\"add_us\": %.2f, \"queries\": %zu, \"hits\": %zu, \"cut\": %zu, \"p50_ms\": %.3f, "
      "\"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"kinds\": [",
      search.size(), search.term_count(),
      static_cast<double>(text) / static_cast<double>(search.size()),
      static_cast<double>(bytes) / static_cast<double>(search.size()),
      load_ms * 1000 / static_cast<double>(search.size()), took.size(), hits, cut, at(0.5), at(0.9),
      at(0.99), at(1));
  for (int kind = 0; kind < kKinds; ++kind) {
    auto& of = by_kind[static_cast<std::size_t>(kind)];
    std::sort(of.begin(), of.end());
    const auto& [p99, query] = of[of.size() * 99 / 100];
    std::printf("%s{\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"query\": \"%s\"}", kind == 0 ? "" : ", ",
                of[of.size() / 2].first, p99, query.c_str());
  }
  std::printf("]}\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return Bench(argc > 1 ? static_cast<std::size_t>(std::stoul(argv[1])) : 1'000'000);
}
