#include "index/federation.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::index {

Federation::Federation(FederationLimits limits, const PeerId& self, Registrations& registrations,
                       Rng rng)
    : limits_(limits), self_(self), registrations_(registrations), rng_(rng) {}

void Federation::AddListed(const std::string& url, std::optional<PeerId> pin) {
  const bool is_known = std::ranges::any_of(servers_, [&](const Server& server) {
    return server.url == url || (pin && server.id == pin);
  });
  if (is_known || servers_.size() == limits_.servers_max || pin == self_) return;
  Server server;
  server.url = url;
  server.id = pin;
  server.is_listed = true;
  servers_.push_back(std::move(server));
}

Result<bool> Federation::Load(std::string_view key, std::string_view value) {
  auto row = ReadCopyRow(key, value);
  if (!row) {
    return Error{Code::kCorrupt,
                 "the index server's database holds a server that cannot be read; stop it, remove "
                 "the directory \"index\" in its data_dir and start it again"};
  }
  if (loaded_.size() == limits_.servers_max || row->id == self_) return false;
  loaded_.push_back(*std::move(row));
  return true;
}

void Federation::Loaded(Time now, WallTime wall) {
  const bool federates = !servers_.empty();
  for (const auto& row : std::exchange(loaded_, {})) {
    if (!federates) {
      rows_.push_back({CopyKey(row.owner), std::nullopt});
      continue;
    }
    Server* server = Find(row.id);
    if (server == nullptr) {
      if (servers_.size() == limits_.servers_max) continue;
      Server named;
      named.url = row.url;
      named.id = row.id;
      named.named = now;  // somebody will name it again, if it still takes part
      servers_.push_back(std::move(named));
      server = &servers_.back();
    }
    registrations_.UseCopy(row.owner);
    server->copy = row.owner;
    server->epoch = row.epoch;
    server->cursor = row.cursor;
    // While we were away nobody could be heard.
    server->heard = std::max(FromUnixMs(row.heard_ms), wall);
  }
  for (const Owner owner : registrations_.copies()) {
    if (!IdOf(owner)) registrations_.DropCopy(owner);
  }
}

Federation::Server* Federation::Find(const PeerId& id) {
  const auto it = std::ranges::find_if(
      servers_, [&](const Server& server) { return InUse(server) && server.id == id; });
  return it == servers_.end() ? nullptr : &*it;
}

const Federation::Server* Federation::Find(const PeerId& id) const {
  return const_cast<Federation*>(this)->Find(id);
}

bool Federation::AnyAway() const {
  return std::ranges::any_of(servers_,
                             [&](const Server& server) { return InUse(server) && !server.works; });
}

// A half to the whole of it, so that servers part.
Duration Federation::Spread(Duration wait) {
  const auto half = static_cast<std::uint64_t>(wait.count() / 2);
  return wait / 2 + Duration(static_cast<std::int64_t>(rng_.Below(half + 1)));
}

void Federation::OnDeadline(Time now, WallTime wall, Out& out) {
  for (std::size_t place = 0; place < servers_.size(); ++place) {
    Server& server = servers_[place];
    if (!InUse(server)) continue;
    if (server.copy && wall - server.heard > limits_.forget_after) Forget(server);
    if (!server.is_listed && now - server.named > limits_.forget_after) {
      Forget(server);
      const int life = server.life + 1;
      server = Server{};
      server.is_free = true;
      server.life = life;
      out.gone.push_back(place);
      continue;
    }
    if (server.is_replacing && !server.in_snapshot && registrations_.IsSwept(*server.copy)) {
      server.is_replacing = false;
      PutRow(server);
    }
    AskServer(now, place, out);
    AskRelay(now, server, out);
  }
}

void Federation::AskServer(Time now, std::size_t place, Out& out) {
  Server& server = servers_[place];
  if (server.life == 0) {
    server.life = 1;
    out.links.push_back({place, server.url, server.id});
  }
  if (!server.is_asked && now >= server.ask_at) {
    server.is_asked = true;
    server.asked_at = now;
    Ask ask{place, server.life, std::nullopt, 0, 0, Duration(0)};
    if (server.works) {
      ask.whose = server.id;
      if (!server.wants_snapshot) {
        ask.epoch = server.epoch;
        ask.after = server.cursor;
      }
      // At once when we do not know yet that it tells us its log: others may have told us all of
      // it.
      ask.wait = server.trouble.empty() ? limits_.wait : Duration(0);
    }
    out.asks.push_back(ask);
  }
  if (server.works && !server.is_asked_servers && now >= server.servers_at) {
    server.is_asked_servers = true;
    out.asks.push_back({place, server.life, std::nullopt, 0, 0, Duration(0)});
  }
}

// Whoever says that it has read further, one of them at random.
void Federation::AskRelay(Time now, Server& server, Out& out) {
  if (server.works || !server.id || server.relay || now < server.relay_at) return;
  std::vector<std::size_t> able;
  for (std::size_t place = 0; place < servers_.size(); ++place) {
    const Server& other = servers_[place];
    if (!InUse(other) || !other.works) continue;
    const auto it = other.read.find(*server.id);
    if (it != other.read.end() && it->second > std::pair(server.epoch, server.cursor)) {
      able.push_back(place);
    }
  }
  if (able.empty()) return;
  const std::size_t place = able[rng_.Below(able.size())];
  server.relay = place;
  out.asks.push_back(
      {place, servers_[place].life, server.id, server.epoch, server.cursor, Duration(0)});
}

Time Federation::NextDeadline() const {
  Time next = kNever;
  for (const Server& server : servers_) {
    if (!InUse(server)) continue;
    if (!server.is_asked) next = std::min(next, server.ask_at);
    if (server.works && !server.is_asked_servers) next = std::min(next, server.servers_at);
  }
  return next;
}

void Federation::Met(std::size_t place, const PeerId& id, Out& out) {
  Server& server = servers_[place];
  if (server.id == id && id != self_) return;
  if (id == self_) {
    server.is_idle = true;
    out.gone.push_back(place);
    return;
  }
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    Server& other = servers_[i];
    if (i == place || !InUse(other) || other.id != id) continue;
    if (other.is_listed) {
      server.is_idle = true;
      out.gone.push_back(place);
      return;
    }
    // It was named by others before we met it by our own list.
    server.copy = std::exchange(other.copy, std::nullopt);
    server.epoch = other.epoch;
    server.cursor = other.cursor;
    server.in_snapshot = other.in_snapshot;
    server.is_replacing = other.is_replacing;
    server.heard = other.heard;
    server.pages = std::move(other.pages);
    server.pages_bytes = other.pages_bytes;
    const int life = other.life + 1;
    other = Server{};
    other.is_free = true;
    other.life = life;
    out.gone.push_back(i);
  }
  if (server.id && server.id != id) Forget(server);  // who named it was wrong
  server.id = id;
}

void Federation::OnServers(Time now, const Ask& ask, const PeerId& met,
                           const std::vector<ServerLine>& lines, Out& out) {
  if (servers_[ask.to].life != ask.life) return;
  Met(ask.to, met, out);
  if (servers_[ask.to].is_idle) return;
  {
    Server& server = servers_[ask.to];
    if (!server.works) {
      server.works = true;
      server.is_asked = false;
      server.ask_at = now;
    }
    server.is_asked_servers = false;
    server.servers_at = now + Spread(AnyAway() ? limits_.servers_soon : limits_.servers_every);
    server.read.clear();
    for (std::size_t i = 1; i < lines.size(); ++i) {
      server.read[lines[i].id] = {lines[i].epoch, lines[i].cursor};
    }
  }
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].is_ours) Introduce(now, lines[i], out);
  }
  for (Server& server : servers_) {
    if (InUse(server)) AskRelay(now, server, out);
  }
}

void Federation::Introduce(Time now, const ServerLine& line, Out& out) {
  if (line.id == self_) return;
  if (Server* known = Find(line.id)) {
    known->named = now;
    return;
  }
  const auto unmet = std::ranges::find_if(servers_, [&](const Server& server) {
    return InUse(server) && !server.id && server.url == line.url;
  });
  if (unmet != servers_.end()) {
    unmet->id = line.id;  // until it is met
    return;
  }
  const bool is_url_known = std::ranges::any_of(
      servers_, [&](const Server& server) { return !server.is_free && server.url == line.url; });
  if (is_url_known || !line.url.starts_with("https://")) return;
  Server fresh;
  fresh.url = line.url;
  fresh.id = line.id;
  fresh.named = now;
  const auto place = std::ranges::find(servers_, true, &Server::is_free);
  std::size_t at = servers_.size();
  if (place != servers_.end()) {
    fresh.life = place->life + 1;
    at = static_cast<std::size_t>(place - servers_.begin());
    *place = std::move(fresh);
  } else {
    if (servers_.size() == limits_.servers_max) return;
    fresh.life = 1;
    servers_.push_back(std::move(fresh));
  }
  out.links.push_back({at, line.url, line.id});
  AskServer(now, at, out);
}

void Federation::OnPages(Time now, WallTime wall, const Ask& ask, const std::vector<PagePtr>& pages,
                         Out& out) {
  if (servers_[ask.to].life != ask.life || !ask.whose) return;
  Server* server = Find(*ask.whose);
  if (server == nullptr) return;
  const bool is_direct = server == &servers_[ask.to];
  if (is_direct) {
    server->is_asked = false;
    server->failures = 0;
    server->trouble.clear();
    server->heard = wall;
    server->ask_at = now + (pages.empty() ? limits_.pause : Duration(0));
  } else if (server->relay == ask.to) {
    server->relay = std::nullopt;
    server->relay_at = now + limits_.pause;
  }
  bool is_moved = false;
  for (const auto& page : pages) {
    is_moved = Apply(now, wall, *server, page, is_direct, out) || is_moved;
  }
  // More of it at once, and else when the next servers' answer says that there is something.
  if (is_moved) PutRow(*server);
  if (is_direct) AskServer(now, ask.to, out);
  if (!is_direct && !is_moved) server->relay_at = now + Spread(limits_.servers_soon);
}

// Returns whether it was taken.
bool Federation::Apply(Time now, WallTime wall, Server& server, const PagePtr& signed_page,
                       bool is_direct, Out& out) {
  const LogPage& page = signed_page->page;
  const bool is_first = page.after == 0;
  const bool is_anew =
      page.epoch > server.epoch || (page.epoch == server.epoch && server.cursor == 0);
  const bool continues =
      page.epoch == server.epoch && page.after <= server.cursor && page.cursor > server.cursor;
  const bool is_taken = is_first ? is_direct || is_anew : continues;
  if (!is_taken) return false;
  if (!server.copy) server.copy = registrations_.AddCopy();
  if (is_first) {
    registrations_.BeginSnapshot(*server.copy);
    server.in_snapshot = server.is_replacing = true;
    server.wants_snapshot = false;
    server.pages.clear();
    server.pages_bytes = 0;
  }
  server.epoch = page.epoch;
  server.cursor = page.cursor;
  server.heard = wall;
  std::size_t unknown = 0;
  for (const auto& peer : page.peers) {
    auto copied = registrations_.PutCopied(now, wall, *server.copy, peer);
    left_out_ += copied.left_out;
    unknown += copied.unknown;
    std::ranges::move(copied.news, std::back_inserter(out.news));
  }
  if (server.in_snapshot && !page.more) {
    registrations_.EndSnapshot(*server.copy);
    server.in_snapshot = false;
  }
  KeepPage(server, signed_page);
  if (unknown > 0 && now >= server.snapshot_at) {
    // What it said of them went with an earlier end of theirs here: all of it once more.
    server.snapshot_at = now + limits_.snapshot_pause;
    server.wants_snapshot = true;
  }
  return true;
}

void Federation::KeepPage(Server& server, const PagePtr& page) {
  server.pages.push_back(page);
  server.pages_bytes += page->text.size();
  const std::size_t most =
      std::min(limits_.relay_bytes_max, limits_.relay_bytes_total_max / servers_.size());
  while (server.pages_bytes > most) {
    server.pages_bytes -= server.pages.front()->text.size();
    server.pages.pop_front();
  }
}

void Federation::OnFailed(Time now, const Ask& ask, const std::string& text) {
  if (servers_[ask.to].life != ask.life) return;
  Server& failed = servers_[ask.to];
  ++failed.life;
  failed.works = false;
  failed.is_asked = failed.is_asked_servers = false;
  failed.trouble = text;
  failed.read.clear();
  Duration wait = limits_.retry_min;
  for (int i = 0; i < failed.failures && wait < limits_.retry_max; ++i) wait *= 2;
  ++failed.failures;
  // From when it was asked: packets that are dropped cost all of the patience that a question has,
  // and a link that is whole again shall be used within retry_max.
  failed.ask_at = std::max(now + Spread(limits_.retry_min),
                           failed.asked_at + Spread(std::min(wait, limits_.retry_max)));
  for (Server& server : servers_) {
    // Others are asked soon how far they have read it, and it asks no more for them.
    if (server.works) server.servers_at = std::min(server.servers_at, now + limits_.servers_soon);
    if (server.relay == ask.to) server.relay = std::nullopt;
  }
}

void Federation::OnStranger(Time now) {
  for (Server& server : servers_) {
    if (!InUse(server) || server.id || server.is_asked) continue;
    server.ask_at = std::min(server.ask_at, std::max(now, server.asked_at + limits_.retry_min));
  }
}

bool Federation::IsMember(const PeerId& id) const { return Find(id) != nullptr; }

std::vector<PagePtr> Federation::Pages(const PeerId& whose, std::uint64_t epoch,
                                       std::uint64_t after) const {
  const Server* server = Find(whose);
  if (server == nullptr) return {};
  const bool from_start = after == 0 || epoch != server->epoch;
  auto it = std::ranges::find_if(server->pages, [&](const PagePtr& page) {
    return from_start ? page->page.after == 0
                      : page->page.after <= after && page->page.cursor > after;
  });
  std::vector<PagePtr> out;
  std::size_t bytes = 0;
  for (; it != server->pages.end() && out.size() < kLogPagesMax; ++it) {
    bytes += (*it)->text.size();
    if (!out.empty() && bytes > limits_.answer_bytes_max) break;
    out.push_back(*it);
  }
  return out;
}

std::vector<ServerLine> Federation::Servers(WallTime wall) const {
  std::vector<ServerLine> out;
  out.push_back({self_, "", false, registrations_.epoch(), registrations_.log_end(), 0,
                 static_cast<std::int64_t>(registrations_.CountOf(kOurOwner)), true});
  for (const Server& server : servers_) {
    if (!InUse(server) || !server.id) continue;
    const bool is_heard = server.heard != WallTime{} && wall > server.heard;
    const auto ago = is_heard ? wall - server.heard : Duration(0);
    out.push_back(
        {*server.id, server.url, server.is_listed, server.epoch, server.cursor,
         std::chrono::duration_cast<std::chrono::seconds>(ago).count(),
         static_cast<std::int64_t>(server.copy ? registrations_.CountOf(*server.copy) : 0),
         server.works});
  }
  return out;
}

std::string Federation::TroubleOf(const PeerId& id) const {
  const Server* server = Find(id);
  return server == nullptr ? "" : server->trouble;
}

std::optional<PeerId> Federation::IdOf(Owner owner) const {
  if (owner == kOurOwner) return self_;
  const auto it = std::ranges::find_if(
      servers_, [&](const Server& server) { return InUse(server) && server.copy == owner; });
  return it == servers_.end() ? std::nullopt : it->id;
}

void Federation::Forget(Server& server) {
  if (!server.copy) return;
  registrations_.DropCopy(*server.copy);
  rows_.push_back({CopyKey(*server.copy), std::nullopt});
  server.copy = std::nullopt;
  server.epoch = server.cursor = 0;
  server.in_snapshot = server.is_replacing = false;
  server.pages.clear();
  server.pages_bytes = 0;
}

void Federation::PutRow(const Server& server) {
  if (!server.copy) return;
  // A snapshot that is not whole begins anew after a restart: what it replaces is not told apart.
  rows_.push_back(
      ToRow(CopyRow{*server.copy, *server.id, server.epoch, server.is_replacing ? 0 : server.cursor,
                    ToUnixMs(server.heard), server.url}));
}

std::vector<Row> Federation::TakeRows() { return std::exchange(rows_, {}); }

void Federation::OnNotKept(Time now) {
  for (Server& server : servers_) {
    if (!InUse(server) || !server.copy || now < server.snapshot_at) continue;
    server.snapshot_at = now + limits_.snapshot_pause;
    server.wants_snapshot = true;
  }
}

void Federation::CheckInvariants() const {
  SHOAL_CHECK(servers_.size() <= limits_.servers_max);
  for (const Server& server : servers_) {
    if (!InUse(server)) continue;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < server.pages.size(); ++i) {
      const LogPage& page = server.pages[i]->page;
      bytes += server.pages[i]->text.size();
      if (i > 0) SHOAL_CHECK(page.after <= server.pages[i - 1]->page.cursor);
    }
    SHOAL_CHECK(bytes == server.pages_bytes && bytes <= limits_.relay_bytes_max);
    if (server.copy) SHOAL_CHECK(server.id && IdOf(*server.copy) == server.id);
  }
}

}  // namespace shoal::index
