// KnownPeers: the records of the peers that live, kept on disk, so that an agent that starts while
// no index answers finds those it last knew. On the loop; the file is written by another thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "index/record.h"

namespace shoal::agent {

class KnownPeers {
 public:
  struct Ports {
    Loop& loop;
    Executor& disk;
    std::string path;
    // At most `count_max` of the peers that live, the same ones each time as far as they do.
    std::function<std::vector<index::SignedRecord>(std::size_t count_max)> living;
    std::function<void(const index::SignedRecord&)> on_record;
    // Somebody was there whose record has expired by now: who answers is to be asked for it.
    std::function<void(const index::Endpoint&)> on_endpoint;
  };
  explicit KnownPeers(Ports ports) : ports_(std::move(ports)) {}

  // Once: tells what was known, then keeps what is.
  void Start();

 private:
  // From any of them all others are heard of; more cost start time and space.
  static constexpr std::size_t kKeptMax = 256;
  static constexpr Duration kEvery = std::chrono::seconds(5);

  void Tell(const std::vector<index::SignedRecord>& records);
  void Keep();

  Ports ports_;
  std::string kept_;
};

// One envelope a line. What is no record is left out.
std::string ToText(const std::vector<index::SignedRecord>& records);
std::vector<index::SignedRecord> ParseKnownPeers(std::string_view text, std::size_t count_max);

}  // namespace shoal::agent
