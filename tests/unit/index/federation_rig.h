// Index servers that federate, in one process and simulated time: the cores, links that can be cut,
// a disk each. What goes over a link goes as the text that it would be.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "index/federation.h"
#include "index/registrations.h"
#include "tests/unit/index/records.h"

namespace shoal::index {

class FederationRig {
 public:
  static constexpr Duration kLatency = std::chrono::milliseconds(1);
  static constexpr Duration kNewsPause = std::chrono::milliseconds(50);

  // lists  for each server the numbers of those in its list; empty: all of them in each.
  explicit FederationRig(int servers, std::vector<std::vector<int>> lists = {},
                         RegistrationLimits limits = {}, FederationLimits federation = {})
      : limits_(limits), federation_(federation), records_(200'000) {
    std::vector<int> all;
    for (int n = 0; n < servers; ++n) all.push_back(n);
    for (int n = 0; n < servers; ++n) {
      servers_.push_back(std::make_unique<Server>(Server{KeyNo(1000 + n)}));
      servers_.back()->list = lists.empty() ? all : lists[static_cast<std::size_t>(n)];
    }
    for (int n = 0; n < servers; ++n) Start(n);
  }

  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] WallTime wall() const { return TestWall() + now_.time_since_epoch(); }
  [[nodiscard]] PeerId IdOf(int n) const { return At(n).key.id(); }
  Registrations& registrations(int n) { return *At(n).registrations; }
  Federation& federation(int n) { return *At(n).federation; }

  // --- what happens ---

  void Start(int n) {
    Server& server = At(n);
    server.registrations = std::make_unique<Registrations>(limits_, CookieSecret{}, server.epoch);
    server.federation = std::make_unique<Federation>(
        federation_, server.key.id(), *server.registrations, Rng(static_cast<unsigned>(n) + 1));
    for (const int other : server.list) server.federation->AddListed(UrlOf(other), std::nullopt);
    const auto disk = server.disk;
    for (const auto& [key, value] : disk) {
      std::vector<std::string_view> useless;
      if (key.starts_with('s')) {
        const auto used = server.federation->Load(key, value);
        SHOAL_CHECK(used.ok());
        if (!*used) useless.push_back(key);
      } else {
        const auto row = server.registrations->Read(key, value);
        SHOAL_CHECK(row.ok());
        const std::vector<Registrations::ReadRow> rows{*row};
        SHOAL_CHECK(server.registrations->Load(now_, wall(), rows, useless).ok());
      }
      for (const auto gone : useless) server.disk.erase(std::string(gone));
    }
    server.registrations->Loaded();
    server.federation->Loaded(now_, wall());
    server.is_up = true;
    ++server.life;
    Wake(n);
  }
  // kill -9.
  void Kill(int n) {
    At(n).is_up = false;
    At(n).waiters.clear();
    At(n).links.clear();
  }
  // Its database is lost, and so its log is another one.
  void LoseDisk(int n) {
    At(n).disk.clear();
    ++At(n).epoch;
  }
  void Cut(int a, int b) { cut_.insert(std::minmax(a, b)); }
  void Heal(int a, int b) { cut_.erase(std::minmax(a, b)); }
  void HealAll() { cut_.clear(); }
  // These on one side, all others on the other.
  void Part(const std::set<int>& side) {
    for (int a = 0; a < size(); ++a) {
      for (int b = a + 1; b < size(); ++b) {
        if (side.contains(a) != side.contains(b)) Cut(a, b);
      }
    }
  }

  RendezvousStatus Register(int n, int peer, std::vector<std::string> names,
                            std::uint64_t sequence = 1, Duration ttl = std::chrono::seconds(300)) {
    return RegisterRecord(n, SignedAt(peer, sequence), std::move(names), ttl);
  }
  RendezvousStatus RegisterRecord(int n, const SignedRecord& record, std::vector<std::string> names,
                                  Duration ttl) {
    ++sent_;
    Server& server = At(n);
    const auto taken = server.registrations->Register(
        now_, wall(), {std::move(names), record, ttl, ToUnixMs(wall()) + sent_});
    Keep(server);
    OnNews(n);
    return taken.error.status;
  }
  void Unregister(int n, int peer, std::vector<std::string> names) {
    ++sent_;
    Server& server = At(n);
    SHOAL_CHECK(server.registrations
                    ->Unregister(
                        now_, wall(),
                        {std::move(names), SignedAt(peer, 1'000'000), {}, ToUnixMs(wall()) + sent_})
                    .ok());
    Keep(server);
    OnNews(n);
  }
  [[nodiscard]] SignedRecord SignedAt(int peer, std::uint64_t sequence) const {
    const auto key = KeyNo(peer);
    return SignedBy(key, sequence, now_.time_since_epoch() + std::chrono::hours(72));
  }

  void Run(Duration time) {
    const Time until = now_ + time;
    while (!events_.empty() && events_.begin()->first <= until) {
      auto event = events_.extract(events_.begin());
      now_ = std::max(now_, event.key());
      event.mapped()();
    }
    now_ = until;
  }
  // Returns how long it took; nullopt when it did not come.
  std::optional<Duration> RunUntil(const std::function<bool()>& condition, Duration most) {
    const Time begun = now_;
    while (!condition()) {
      if (now_ - begun >= most) return std::nullopt;
      Run(std::chrono::milliseconds(10));
    }
    return now_ - begun;
  }

  // --- what is seen ---

  // The peers found at a server, by number, in order, with those told twice twice.
  std::vector<int> Discover(int n, const std::string& name) {
    std::vector<int> out;
    std::string cookie;
    while (true) {
      const auto answer = At(n).registrations->Discover(now_, wall(), name, 1000, cookie);
      SHOAL_CHECK(answer.error.ok());
      if (answer.found.empty()) break;
      cookie = answer.cookie;
      for (const auto& found : answer.found) out.push_back(NumberOf(*found.envelope));
    }
    std::ranges::sort(out);
    return out;
  }
  bool AllFind(const std::string& name, const std::vector<int>& peers) {
    for (int n = 0; n < size(); ++n) {
      if (At(n).is_up && Discover(n, name) != peers) return false;
    }
    return true;
  }
  [[nodiscard]] std::uint64_t SequenceOf(int n, const std::string& name, int peer) {
    const auto answer = At(n).registrations->Discover(now_, wall(), name, 1000, "");
    for (const auto& found : answer.found) {
      if (NumberOf(*found.envelope) == peer) {
        return SignedRecord::Parse(*found.envelope)->record().sequence;
      }
    }
    return 0;
  }
  void CheckInvariants() const {
    for (const auto& server : servers_) {
      server->registrations->CheckInvariants();
      server->federation->CheckInvariants();
    }
  }
  [[nodiscard]] int size() const { return static_cast<int>(servers_.size()); }

  struct Traffic {
    std::uint64_t pages = 0;
    std::uint64_t snapshots = 0;  // begun
    std::uint64_t relayed = 0;    // pages
    std::uint64_t peers = 0;
    std::uint64_t log_bytes = 0;    // of answers with pages
    std::uint64_t other_bytes = 0;  // of answers about servers
  };
  Traffic traffic;
  // How many bytes a text of pages is on the wire.
  std::function<std::size_t(const std::string&)> wire_bytes = [](const std::string& text) {
    return text.size();
  };
  // After which a question whose packets are dropped has failed.
  Duration patience = std::chrono::seconds(1);
  // Without it a server that is killed cannot come back as it was.
  bool keeps_disks = true;
  // Changes what a server answers to the question for another's log.
  std::function<std::string(int server, std::string answer)> lie;

 private:
  struct Waiter {
    Time until;
    std::function<void(std::vector<PagePtr>)> answer;
    std::uint64_t epoch = 0;
    std::uint64_t after = 0;
  };
  struct Server {
    SigningKey key;
    std::vector<int> list = {};
    std::uint64_t epoch = 1;
    std::unique_ptr<Registrations> registrations = nullptr;
    std::unique_ptr<Federation> federation = nullptr;
    std::map<std::string, std::string> disk = {};
    bool is_up = false;
    int life = 0;
    std::map<std::size_t, std::pair<int, std::optional<PeerId>>> links = {};
    std::vector<Waiter> waiters = {};
    Time wake = kNever;
    bool is_news_due = false;
  };

  Server& At(int n) { return *servers_[static_cast<std::size_t>(n)]; }
  [[nodiscard]] const Server& At(int n) const { return *servers_[static_cast<std::size_t>(n)]; }
  static std::string UrlOf(int n) { return "https://server" + std::to_string(n) + ":7383"; }
  static int ServerOf(const std::string& url) { return std::stoi(url.substr(14)); }
  [[nodiscard]] bool IsLinked(int a, int b) const {
    return At(a).is_up && At(b).is_up && !cut_.contains(std::minmax(a, b));
  }
  void After(Duration time, std::function<void()> work) {
    events_.emplace(now_ + time, std::move(work));
  }
  int NumberOf(const std::string& envelope) {
    const auto record = ReadAny(*ParseJson(envelope, kRecordBytesMax));
    const auto it = numbers_.find((*record)->id());
    if (it != numbers_.end()) return it->second;
    for (int n = known_numbers_; n < 1000; ++n) {
      numbers_.emplace(KeyNo(n).id(), n);
      known_numbers_ = n + 1;
      if (KeyNo(n).id() == (*record)->id()) return n;
    }
    return -1;
  }
  Result<RecordPtr> ReadAny(const Json& envelope) {
    if (auto found = records_.Find(envelope)) return found;
    auto record = ReadAnew(envelope);
    if (record) records_.Keep(*record);
    return record;
  }

  void Keep(Server& server) const {
    auto rows = server.registrations->TakeRows();
    if (!keeps_disks) {
      static_cast<void>(server.federation->TakeRows());
      return;
    }
    for (auto& row : server.federation->TakeRows()) rows.push_back(std::move(row));
    for (auto& row : rows) {
      if (row.value) {
        server.disk[row.key] = *row.value;
      } else {
        server.disk.erase(row.key);
      }
    }
  }

  void Wake(int n) {
    Server& server = At(n);
    if (!server.is_up) return;
    server.registrations->OnDeadline(now_);
    server.registrations->Sweep(now_, wall());
    Federation::Out out;
    server.federation->OnDeadline(now_, wall(), out);
    Do(n, out);
  }
  void Do(int n, const Federation::Out& out) {
    Server& server = At(n);
    Keep(server);
    for (const auto& link : out.links) {
      server.links[link.place] = {ServerOf(link.url), link.pin};
    }
    for (const auto& ask : out.asks) Send(n, ask);
    const Time next =
        std::clamp(server.federation->NextDeadline(), now_, now_ + std::chrono::seconds(1));
    if (server.wake > now_ && server.wake <= next) return;
    server.wake = next;
    After(next - now_, [this, n, next, life = server.life] {
      if (At(n).wake != next || At(n).life != life) return;
      At(n).wake = kNever;
      Wake(n);
    });
  }

  void Send(int from, const Federation::Ask& ask) {
    const int to = At(from).links.at(ask.to).first;
    const auto done = std::make_shared<bool>(false);
    const int life = At(from).life;
    const auto fail = [this, from, ask, done, life] {
      if (*done || At(from).life != life || !At(from).is_up) return;
      *done = true;
      At(from).federation->OnFailed(now_, ask, "no answer");
      Do(from, {});
    };
    After(ask.wait + patience, fail);
    After(kLatency, [this, from, to, ask, done, life] {
      if (!IsLinked(from, to) && from != to) return;
      const auto reply = [this, from, to, ask, done, life](const std::string& text) {
        After(kLatency, [this, from, to, ask, done, life, text] {
          if (*done || At(from).life != life || (from != to && !IsLinked(from, to))) return;
          *done = true;
          Receive(from, to, ask, text);
        });
      };
      Answer(from, to, ask, reply);
    });
  }

  void Answer(int from, int to, const Federation::Ask& ask,
              const std::function<void(std::string)>& reply) {
    Server& server = At(to);
    if (!ask.whose) return reply(EncodeServers(server.federation->Servers(wall())));
    if (!server.federation->IsMember(At(from).key.id())) {
      server.federation->OnStranger(now_);
      Do(to, {});
      return reply(R"({"status":"E_NOT_AUTHORIZED","text":"not known here"})");
    }
    if (ask.whose != server.key.id()) {
      const auto pages = server.federation->Pages(*ask.whose, ask.epoch, ask.after);
      traffic.relayed += pages.size();
      std::string text = EncodePages(pages);
      return reply(lie ? lie(to, std::move(text)) : text);
    }
    const auto answer = [reply](const std::vector<PagePtr>& pages) { reply(EncodePages(pages)); };
    if (server.registrations->HasLog(ask.epoch, ask.after)) {
      return answer({MakePage(server, ask.epoch, ask.after)});
    }
    if (ask.wait == Duration(0)) return answer({});
    server.waiters.push_back({now_ + ask.wait, answer, ask.epoch, ask.after});
    After(ask.wait, [this, to, life = server.life] {
      if (At(to).life == life) Tell(to, false);
    });
  }
  PagePtr MakePage(Server& server, std::uint64_t epoch, std::uint64_t after) {
    return SignPage(server.registrations->Log(now_, wall(), epoch, after, {}), server.key);
  }
  void OnNews(int n) {
    if (std::exchange(At(n).is_news_due, true)) return;
    After(kNewsPause, [this, n] {
      At(n).is_news_due = false;
      Tell(n, true);
    });
  }
  void Tell(int n, bool all) {
    auto waiters = std::exchange(At(n).waiters, {});
    for (auto& waiter : waiters) {
      const bool has_news = At(n).registrations->HasLog(waiter.epoch, waiter.after);
      if (has_news && all) {
        waiter.answer({MakePage(At(n), waiter.epoch, waiter.after)});
      } else if (waiter.until <= now_) {
        waiter.answer({});
      } else {
        At(n).waiters.push_back(std::move(waiter));
      }
    }
  }

  void Receive(int n, int from, const Federation::Ask& ask, const std::string& text) {
    Server& server = At(n);
    Federation::Out out;
    if (!ask.whose) {
      traffic.other_bytes += text.size();
      const auto lines = DecodeServers(text);
      SHOAL_CHECK(lines.ok());
      server.federation->OnServers(now_, ask, At(from).key.id(), *lines, out);
      return Do(n, out);
    }
    const auto read =
        DecodePages(text, *ask.whose, [this](const Json& envelope) { return ReadAny(envelope); });
    if (!read || !read->error.ok()) {
      server.federation->OnFailed(now_, ask, read ? read->error.text : read.error().text);
      return Do(n, out);
    }
    if (!read->pages.empty()) traffic.log_bytes += wire_bytes(text);
    for (const auto& page : read->pages) {
      ++traffic.pages;
      traffic.snapshots += page->page.after == 0 && page->page.cursor > 0 ? 1 : 0;
      traffic.peers += page->page.peers.size();
    }
    server.federation->OnPages(now_, wall(), ask, read->pages, out);
    Do(n, out);
  }

  RegistrationLimits limits_;
  FederationLimits federation_;
  VerifiedRecords records_;
  Time now_{std::chrono::seconds(10)};
  std::int64_t sent_ = 0;
  std::vector<std::unique_ptr<Server>> servers_;
  std::set<std::pair<int, int>> cut_;
  std::multimap<Time, std::function<void()>> events_;
  std::map<PeerId, int> numbers_;
  int known_numbers_ = 0;
};

}  // namespace shoal::index
