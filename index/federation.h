// Federation: which other index servers there are, whom we ask for whose log, and what the answers
// change. docs/FEDERATION.md.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "index/log_page.h"
#include "index/registrations.h"

namespace shoal::index {

struct FederationLimits {
  Duration retry_min = std::chrono::seconds(1);
  Duration retry_max = std::chrono::seconds(15);
  Duration wait = std::chrono::seconds(20);           // for a log to have news
  Duration servers_every = std::chrono::seconds(10);  // how far others have read
  Duration servers_soon = std::chrono::seconds(1);    // the same, while somebody is away
  Duration pause = std::chrono::milliseconds(100);    // after an answer that said nothing
  Duration forget_after = std::chrono::hours(1);
  // Between two snapshots that are asked for because a page named a peer that we should know.
  Duration snapshot_pause = std::chrono::minutes(10);
  std::size_t servers_max = kFederatedMax;
  std::size_t relay_bytes_max = std::size_t{16} << 20;  // of pages, of one server
  std::size_t relay_bytes_total_max = std::size_t{128} << 20;
  std::size_t answer_bytes_max = std::size_t{1} << 20;  // of pages that are passed on at once
};

// Rules
// - Each server is followed by itself: its log after the number that we have, all the time. What it
//   says itself counts: it may begin anew. After a failure it is asked how it is, at growing
//   intervals, and then goes on.
// - While it is away, pages that it signed are taken from whoever says that it has read further.
//   Only such as continue what we have, or are a later log's first.
// - A page is applied whole. The number that it reaches goes to disk with it.
// - A snapshot replaces the copy when its last page is here.
// - Servers are those listed here, and those that one of these says it has listed.
class Federation {
 public:
  Federation(FederationLimits limits, const PeerId& self, Registrations& registrations, Rng rng);

  // Before Load. pin: nullopt until it is met. A server that is ourselves is found out.
  void AddListed(const std::string& url, std::optional<PeerId> pin);
  // Rows of an earlier life, after those of Registrations. Returns whether it is of use.
  Result<bool> Load(std::string_view key, std::string_view value);
  // After Registrations::Loaded.
  void Loaded(Time now, WallTime wall);

  struct Ask {
    std::size_t to = 0;  // a server's place
    int life = 0;
    std::optional<PeerId> whose;  // log; nullopt: which servers it knows
    std::uint64_t epoch = 0;
    std::uint64_t after = 0;
    Duration wait{0};
  };
  struct Link {
    std::size_t place = 0;
    std::string url;
    std::optional<PeerId> pin;
  };
  struct Out {
    std::vector<Link> links;        // to be made, before the asks; in place of an earlier one
    std::vector<std::size_t> gone;  // places whose link is not used any more
    std::vector<Ask> asks;          // each is answered by one of the On... below
    std::vector<std::string> news;  // namespaces
  };
  void OnDeadline(Time now, WallTime wall, Out& out);
  [[nodiscard]] Time NextDeadline() const;
  // met: who answered, as TLS knows.
  void OnPages(Time now, WallTime wall, const Ask& ask, const std::vector<PagePtr>& pages,
               Out& out);
  void OnServers(Time now, const Ask& ask, const PeerId& met, const std::vector<ServerLine>& lines,
                 Out& out);
  void OnFailed(Time now, const Ask& ask, const std::string& text);
  // Somebody who is no member asked for a log: it may be a listed server that is not met yet and
  // works now. Such are asked soon, each retry_min after it was asked last at the earliest.
  void OnStranger(Time now);

  // Whether it may read logs here.
  [[nodiscard]] bool IsMember(const PeerId& id) const;
  // Pages of another server's log to pass on.
  [[nodiscard]] std::vector<PagePtr> Pages(const PeerId& whose, std::uint64_t epoch,
                                           std::uint64_t after) const;
  // For others and for people; the first is ourselves.
  [[nodiscard]] std::vector<ServerLine> Servers(WallTime wall) const;
  // Why it does not work; "" when it does, or there is no such server.
  [[nodiscard]] std::string TroubleOf(const PeerId& id) const;
  // nullopt for one that is not known any more.
  [[nodiscard]] std::optional<PeerId> IdOf(Owner owner) const;
  [[nodiscard]] std::size_t left_out() const { return left_out_; }

  // What is to be kept since the last call. Goes with the rows of Registrations.
  std::vector<Row> TakeRows();
  // Rows were not kept: what is on disk may lack what its number says. All of it once more.
  void OnNotKept(Time now);
  void CheckInvariants() const;

 private:
  struct Server {
    std::string url;
    std::optional<PeerId> id;
    bool is_listed = false;
    bool is_idle = false;  // ourselves, or one that is listed twice
    bool is_free = false;  // nobody's place
    Time named{};          // by another's list, last

    int life = 0;  // grows with each failure; answers to earlier questions are dropped
    bool works = false;
    int failures = 0;
    Time ask_at{};
    Time asked_at{};
    bool is_asked = false;  // for its log, or, while it does not work, how it is
    Time servers_at{};
    bool is_asked_servers = false;
    std::string trouble = "not met yet";

    std::optional<Owner> copy;
    std::uint64_t epoch = 0;
    std::uint64_t cursor = 0;
    bool in_snapshot = false;
    bool is_replacing = false;    // until what the snapshot did not name is gone
    bool wants_snapshot = false;  // of the server itself, though we have a copy
    WallTime heard{};
    Time snapshot_at{};

    Time relay_at{};
    std::optional<std::size_t> relay;  // is asked for this one's log
    std::deque<PagePtr> pages;         // each continues the one before
    std::size_t pages_bytes = 0;
    std::map<PeerId, std::pair<std::uint64_t, std::uint64_t>> read;  // epoch, number, as it says
  };

  [[nodiscard]] bool InUse(const Server& server) const {
    return !server.is_idle && !server.is_free;
  }
  [[nodiscard]] Server* Find(const PeerId& id);
  [[nodiscard]] const Server* Find(const PeerId& id) const;
  [[nodiscard]] bool AnyAway() const;
  Duration Spread(Duration wait);
  void Met(std::size_t place, const PeerId& id, Out& out);
  void Introduce(Time now, const ServerLine& line, Out& out);
  void AskServer(Time now, std::size_t place, Out& out);
  void AskRelay(Time now, Server& server, Out& out);
  bool Apply(Time now, WallTime wall, Server& server, const PagePtr& page, bool is_direct,
             Out& out);
  void KeepPage(Server& server, const PagePtr& page);
  void Forget(Server& server);
  void PutRow(const Server& server);

  FederationLimits limits_;
  PeerId self_;
  Registrations& registrations_;
  Rng rng_;
  std::vector<Server> servers_;
  std::vector<CopyRow> loaded_;
  std::vector<Row> rows_;
  std::size_t left_out_ = 0;
};

}  // namespace shoal::index
