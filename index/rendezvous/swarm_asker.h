// SwarmAsker: the askings of one agent about swarms, gathered into few requests.
#pragma once

#include "index/net/io_thread.h"  // <utility> before Asio

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "index/peer_index.h"
#include "index/rendezvous/server_link.h"

namespace shoal::index {

// Rules
// - What is asked in the same moment goes as one request, under one signature.
// - At most kUnderWay requests are under way, each on a connection of its own that is kept; what
//   comes meanwhile waits for one round trip, and goes together.
// - Each asking is answered within kPatience; kWaiting may wait, more are answered nullopt.
// - Records are told once in kKnownLife: the request names whom we know.
class SwarmAsker : public std::enable_shared_from_this<SwarmAsker> {
 public:
  static constexpr std::size_t kUnderWay = 4;
  static constexpr std::size_t kWaiting = 1000;
  static constexpr Duration kPatience = std::chrono::seconds(1);
  // Under half of a record's life, so that renewed ones are heard of.
  static constexpr Duration kKnownLife = std::chrono::minutes(1);

  struct Ports {
    boost::asio::io_context& context;
    // Makes and sends the request; `done` runs on the io thread. False when we cannot ask now.
    std::function<bool(SwarmRequest request, ServerLink::OnAnswer done)> send;
    // Brings records and answers to those who wait. The answers are in the order of the calls.
    std::function<void(std::vector<SignedRecord> records, std::function<void()> answers)> deliver;
  };
  explicit SwarmAsker(Ports ports) : ports_(std::move(ports)) {}

  // All on the io thread.
  void Ask(const SwarmAsk& ask, PeerIndex::OnSwarm done);
  // Another server answers from now on: it is to tell all records.
  void ForgetKnown() { known_.clear(); }
  void Stop();

 private:
  struct Asking {
    SwarmAsk ask;
    PeerIndex::OnSwarm done;
  };
  struct Batch {
    std::vector<Asking> askings;
    boost::asio::steady_timer timer;
  };

  void Flush();
  void OnAnswer(std::uint64_t id, const Result<ServerAnswer>& answer);
  void GiveUp(std::vector<Asking> askings);
  [[nodiscard]] std::vector<PeerPrefix> Known();

  Ports ports_;
  bool flush_posted_ = false;
  bool stopped_ = false;
  std::deque<Asking> waiting_;
  std::map<std::uint64_t, Batch> under_way_;
  std::size_t requests_ = 0;  // under way, with those that were given up
  std::uint64_t last_id_ = 0;
  std::map<PeerId, Time> known_;  // until when
};

}  // namespace shoal::index
