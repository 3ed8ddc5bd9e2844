#include "agent/preheats.h"

#include <fnmatch.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "index/record.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {
namespace {

// A registry is asked what the tag means by so many hosts a second, and a writer is told by so
// many.
constexpr int kHostsASecond = 200;
constexpr Duration kTellEveryMin = std::chrono::seconds(1);
constexpr Duration kTellEveryMax = std::chrono::seconds(60);

Duration SpreadOver(std::size_t hosts) {
  return Duration(std::chrono::seconds(1)) * static_cast<std::int64_t>(hosts) / kHostsASecond;
}

}  // namespace

Preheats::Preheats(Ports ports, Rng rng) : ports_(std::move(ports)), rng_(rng) {}

// --- people ---

Result<std::string> Preheats::ChooseRoom(const std::string& image, const std::string& room) const {
  const index::RoomMask ours = ports_.rooms.Ours();
  if (ours == index::kNoRooms) {
    return Error{Code::kDenied,
                 "this host is in no room; `shoal join TOKEN` makes it a member of one"};
  }
  const index::RoomMask sees = ports_.rooms.RoomsOfImage(image);
  if (!room.empty()) {
    const index::RoomMask bit = ports_.rooms.BitOf(room) & ours;
    if (bit == index::kNoRooms) {
      return Error{Code::kInvalid,
                   "this host is in no room " + room + ", or in two; `shoal room list` names them"};
    }
    if ((bit & sees) == index::kNoRooms) {
      return Error{Code::kDenied, "room " + room + " may not see " + image +
                                      "; say in a [[share]] table that the repository is its own"};
    }
    return ports_.rooms.RecordName(bit);
  }
  if (sees == index::kNoRooms) {
    return Error{Code::kDenied, "no room may see " + image +
                                    "; say in a [[share]] table to which its repository belongs"};
  }
  if ((sees & (sees - 1)) != 0) {
    std::string names;
    for (const auto& name : ports_.rooms.Names(sees)) names += (names.empty() ? "" : ", ") + name;
    return Error{Code::kInvalid,
                 image + " is of several rooms (" + names + "); say which with --room"};
  }
  return ports_.rooms.RecordName(sees);
}

void Preheats::Begin(const std::string& image, const std::string& room, Duration life,
                     std::function<void(Result<std::string>)> done) {
  auto name = proxy::ParseImageName(image);
  if (!name) return done(name.error());
  const std::string whole = ToString(*name);
  if (life < std::chrono::minutes(1) || life > index::kFeedLifeMax) {
    return done(Error{Code::kInvalid, "a preheat stands from 1m to 168h"});
  }
  auto where = ChooseRoom(whole, room);
  if (!where) return done(where.error());
  // What does not exist is not told to a whole room.
  ports_.check(whole, [this, whole, room = *where, life, done = std::move(done)](Status there) {
    if (!there) return done(there.error());
    auto said = ports_.feeds.Publish(room, std::string(kPreheatKind), whole,
                                     EncodePreheatWord({whole, false}), life);
    if (!said) return done(said.error());
    spdlog::info("preheat {}: {} is asked of the room", said->sequence, whole);
    done(std::to_string(said->sequence));
  });
}

Status Preheats::Withdraw(const std::string& id) {
  std::uint64_t sequence = 0;
  std::from_chars(id.data(), id.data() + id.size(), sequence);
  const auto it = own_.find(sequence);
  if (it == own_.end()) {
    return Error{Code::kNotFound, "there is no preheat " + id + " of this host"};
  }
  if (it->second.withdrawn) return Ok();
  const Duration left = it->second.expires - ports_.loop.Wall();
  if (left <= Duration(0)) return Error{Code::kNotFound, "the preheat has ended by itself"};
  const std::string image = it->second.image;
  const std::string room = it->second.room;
  auto said = ports_.feeds.Publish(room, std::string(kPreheatKind), image,
                                   EncodePreheatWord({image, true}), left);
  if (!said) return said.error();
  return Ok();
}

PreheatView Preheats::ViewOf(std::uint64_t sequence, const Own& own) const {
  PreheatView view{
      std::to_string(sequence), own.image, own.room, own.withdrawn, true, own.expires, {}};
  const Time now = ports_.loop.Now();
  const auto members = ports_.feeds.Members(own.room);
  std::set<PeerId> ids(members.begin(), members.end());
  ids.insert(ports_.self);
  for (const auto& [peer, answer] : own.answers) ids.insert(peer);
  const Duration silent = std::max(kSilentAfter + SpreadOver(ids.size()), TellEvery(own.room) * 3);
  for (const PeerId& id : ids) {
    PreheatHost host{id, {}, false};
    Time heard = own.begun;
    if (const auto it = own.answers.find(id); it != own.answers.end()) {
      host.report = it->second.report;
      heard = it->second.at;
    }
    host.silent = !IsFinal(host.report.state) && now - heard > silent;
    if (!IsFinal(host.report.state) && !host.silent) view.ended = false;
    view.hosts.push_back(std::move(host));
  }
  if (own.withdrawn) view.ended = true;
  return view;
}

std::optional<PreheatView> Preheats::Find(const std::string& id) const {
  std::uint64_t sequence = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), sequence);
  const auto it = own_.find(sequence);
  if (error != std::errc() || end != id.data() + id.size() || it == own_.end()) {
    return std::nullopt;
  }
  return ViewOf(sequence, it->second);
}

std::vector<PreheatView> Preheats::List() const {
  std::vector<PreheatView> views;
  for (auto it = own_.rbegin(); it != own_.rend(); ++it) {
    views.push_back(ViewOf(it->first, it->second));
  }
  return views;
}

// --- the feed ---

std::string Preheats::WhyNot(const std::string& room, const std::string& image) const {
  if (room == index::kOpenRoom && !ports_.open) {
    return "it takes no preheats of the open room (preheat.open)";
  }
  const bool wanted = std::ranges::any_of(ports_.wanted, [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), image.c_str(), 0) == 0;
  });
  if (!wanted) return "its preheat.images does not name the image";
  if ((ports_.rooms.RoomsOfImage(image) & ports_.rooms.BitOf(room)) == index::kNoRooms) {
    return "the image is not the room's by its [[share]] rules";
  }
  return "";
}

Duration Preheats::TellEvery(const std::string& room) const {
  return std::clamp(SpreadOver(ports_.feeds.Members(room).size()), kTellEveryMin, kTellEveryMax);
}

void Preheats::Replace(const std::string& room, const index::FeedName& name,
                       const std::string& image, bool withdrawn) {
  for (auto it = tasks_.begin(); it != tasks_.end();) {
    const Task& task = it->second;
    if (task.room != room || task.name.writer != name.writer || task.image != image) {
      ++it;
      continue;
    }
    const auto pull = task.pull;
    it = tasks_.erase(it);
    if (!withdrawn || !pull || pull->joined) continue;
    const bool shared = std::ranges::any_of(tasks_, [&](const auto& other) {
      return other.second.pull && other.second.pull->id == pull->id;
    });
    if (!shared) ports_.cancel(pull->id);
  }
}

void Preheats::OnMessage(const std::string& room, const index::SharedFeedMessage& message) {
  if (message->word().kind != kPreheatKind) return;
  const auto word = DecodePreheatWord(message->word().body);
  // Only on its own topic does a later word take the place of an earlier one.
  if (!word || word->image != message->word().topic) {
    spdlog::debug("a preheat of {} is not understood", message->writer().Short());
    return;
  }
  const index::FeedName name = message->name();
  Replace(room, name, word->image, word->withdrawn);
  if (name.writer == ports_.self) {
    for (auto& [sequence, own] : own_) {
      if (own.room == room && own.image == word->image && word->withdrawn) own.withdrawn = true;
    }
    if (!word->withdrawn) {
      own_[name.sequence] = {word->image,       room,  message->word().expires,
                             ports_.loop.Now(), false, {}};
      while (own_.size() > kPreheatsKept) own_.erase(own_.begin());
    }
  }
  if (word->withdrawn) return;
  Task task;
  task.room = room;
  task.name = name;
  task.image = word->image;
  const auto spread =
      static_cast<std::uint64_t>(SpreadOver(ports_.feeds.Members(room).size()).count());
  task.start = ports_.loop.Now() + Duration(static_cast<std::int64_t>(rng_.Below(spread + 1)));
  if (std::string why = WhyNot(room, word->image); !why.empty()) {
    task.report = {PreheatState::kDeclined, Bytes(0), Bytes(0), std::move(why)};
  }
  tasks_[{room, name}] = std::move(task);
  TickSoon();
}

Status Preheats::OnAnswer(const PeerId& from, const std::string& room, std::uint64_t sequence,
                          std::string_view body) {
  const auto it = own_.find(sequence);
  if (it == own_.end() || it->second.room != room) {
    return Error{Code::kNotFound, "there is no such preheat of this host"};
  }
  auto report = DecodePreheatReport(body);
  if (!report) return report.error();
  it->second.answers[from] = {*std::move(report), ports_.loop.Now()};
  return Ok();
}

// --- the work ---

void Preheats::TickSoon() {
  if (ticking_) return;
  ticking_ = true;
  // Not inside of whatever gave the message.
  ports_.loop.Post([this] { Tick(); });
}

void Preheats::Tick() {
  ticking_ = false;
  auto pulling = static_cast<std::size_t>(std::ranges::count_if(tasks_, [](const auto& entry) {
    return entry.second.report.state == PreheatState::kRunning;
  }));
  for (auto it = tasks_.begin(); it != tasks_.end();) {
    Task& task = it->second;
    if (IsFinal(task.report.state) && !task.telling && task.tries >= kAnswersTried) {
      it = tasks_.erase(it);
      continue;
    }
    Work(task, pulling);
    ++it;
  }
  if (tasks_.empty() || ticking_) return;
  ticking_ = true;
  ports_.loop.After(kTick, [this] { Tick(); });
}

void Preheats::Work(Task& task, std::size_t& pulling) {
  const Time now = ports_.loop.Now();
  if (task.report.state == PreheatState::kWaiting) {
    if (task.start <= now && pulling < kPreheatPullsAtOnce) {
      auto pull = ports_.pull(task.image);
      if (pull) {
        task.pull = *pull;
        task.report.state = PreheatState::kRunning;
        ++pulling;
      } else {
        OnPull(task, {PreheatState::kFailed, Bytes(0), Bytes(0), pull.error().text});
      }
    }
  } else if (task.report.state == PreheatState::kRunning) {
    auto report = ports_.progress(task.pull->id);
    OnPull(task, report ? *std::move(report)
                        : PreheatReport{PreheatState::kFailed, Bytes(0), Bytes(0),
                                        "its pull is known no more"});
    if (task.report.state != PreheatState::kRunning) --pulling;
  }
  if (task.telling) return;
  const bool is_news = task.told_state != task.report.state;
  const Duration every = IsFinal(task.report.state) ? kAnswerAgain : TellEvery(task.room);
  if (is_news || now - task.told >= every) Tell(task);
}

// A host that has just come may know nobody yet, and a registry may be away for a moment.
void Preheats::OnPull(Task& task, PreheatReport report) {
  task.report = std::move(report);
  if (task.report.state != PreheatState::kFailed || ++task.pulls_failed >= kPullsTried) return;
  task.report.state = PreheatState::kWaiting;
  task.start = ports_.loop.Now() + kPullAgain * task.pulls_failed;
}

void Preheats::Tell(Task& task) {
  task.told = ports_.loop.Now();
  task.told_state = task.report.state;
  const std::string body = EncodePreheatReport(task.report);
  const auto key = std::make_pair(task.room, task.name);
  if (task.name.writer == ports_.self) {
    (void)OnAnswer(ports_.self, task.room, task.name.sequence, body);
    if (IsFinal(task.report.state)) task.tries = kAnswersTried;
    return;
  }
  task.telling = true;
  ports_.answer(task.name.writer, task.room, task.name.sequence, body,
                [this, key, last = IsFinal(task.report.state)](Status told) {
                  const auto it = tasks_.find(key);
                  if (it == tasks_.end()) return;
                  it->second.telling = false;
                  if (!last) return;
                  const bool heard = told.ok() || told.error().code == Code::kDenied;
                  it->second.tries = heard ? kAnswersTried : it->second.tries + 1;
                });
}

}  // namespace shoal::agent
