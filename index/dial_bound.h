// DialBound: how often a server that strangers tell where to dial does so.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/time.h"

namespace shoal::index {

struct DialBoundLimits {
  int per_second = 32;  // of all: what a core does in some 40 ms of handshakes
  int burst = 8;        // of one network at once: several agents on one host, or behind one address
  int per_second_of_one = 2;
};

// Anybody who registers can name any address as theirs, under as many keys as they like. So what a
// network hears of us is bounded, whoever names it, and what all of them hear together is too.
class DialBound {
 public:
  explicit DialBound(DialBoundLimits limits) : limits_(limits) {}

  enum class Verdict {
    kDial,   // and it is counted
    kLater,  // too many of all: again when NextSecond has come
    kNot,    // too many of this network
  };
  // network  an IPv4 address, or what all hosts of an IPv6 network have in common.
  Verdict Ask(Time now, std::string_view network);
  [[nodiscard]] Time NextSecond() const { return second_ + std::chrono::seconds(1); }

  // Networks that are remembered: those that have not got their whole burst back.
  [[nodiscard]] std::size_t size() const { return networks_.size(); }

 private:
  void Forget(Time now);

  const DialBoundLimits limits_;
  Time second_{};
  int dialled_ = 0;  // since then
  // When the network has got its whole burst back: later by one share for each dial.
  std::map<std::string, Time, std::less<>> networks_;
};

}  // namespace shoal::index
