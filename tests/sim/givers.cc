#include "tests/sim/givers.h"

#include <algorithm>
#include <utility>

namespace shoal::sim {
namespace {

// docs/PROTOCOL.md, "Maps".
constexpr Duration kFirstMapWait = std::chrono::milliseconds(200);
constexpr Duration kMapWait = std::chrono::seconds(10);

Message AnswerTo(const Message& ask, MessageKind kind) {
  Message answer;
  answer.kind = kind;
  answer.from = ask.to;
  answer.to = ask.from;
  answer.blob = ask.blob;
  answer.fetch = ask.fetch;
  answer.request = ask.request;
  return answer;
}

}  // namespace

Givers::Givers(World& world) : world_(world) {
  for (const Duration wait : {kFirstMapWait, kMapWait}) {
    Line line;
    line.wait = wait;
    lines_.push_back(line);
  }
}

void Givers::Refuse(const Message& ask, MessageKind kind, Error error) {
  Message answer = AnswerTo(ask, kind);
  answer.error = std::move(error);
  world_.Send(std::move(answer));
}

void Givers::ReplyMap(const Message& ask, std::shared_ptr<const fetch::HolderMap> map) {
  Message answer = AnswerTo(ask, MessageKind::kMapAnswer);
  answer.map = std::move(map);
  world_.Send(std::move(answer));
}

void Givers::OnMapAsk(const Message& ask) {
  ++maps_;
  Host& host = world_.hosts[ask.to];
  if (host.lie != Lie::kHonest) return MapOfLiar(ask);
  if (const auto whole = host.whole.find(ask.blob); whole != host.whole.end()) {
    return ReplyMap(ask, whole->second->makes[kTrue].whole);
  }
  if (const auto found = host.fetching.find(ask.blob); found != host.fetching.end()) {
    // Whoever asks for the first time fetches it too.
    if (ask.count == 0) world_.fetches->OnMembers(ask.to, ask.blob, {ask.from});
    if (!host.fetching.contains(ask.blob)) return OnMapAsk(ask);
    Fetch& fetch = (*world_.fetches)[found->second];
    const bool begins = ask.count == 0 && fetch.download->leads();
    if (fetch.cut == nullptr && begins) return Hold(ask, found->second, true);
    if (fetch.cut != nullptr) {
      if (fetch.download->have().count() > ask.count) {
        return ReplyMap(ask, world_.fetches->MapOf(fetch));
      }
      return Hold(ask, found->second, ask.count == 0);
    }
  } else if (const auto left = host.partial.find(ask.blob); left != host.partial.end()) {
    return ReplyMap(ask, std::make_shared<const fetch::HolderMap>(
                             fetch::HolderMap{left->second.chain, left->second.have}));
  }
  Refuse(ask, MessageKind::kMapAnswer, {Code::kNotFound, "nothing of it is here"});
}

void Givers::MapOfLiar(const Message& ask) {
  const Host& host = world_.hosts[ask.to];
  const Cut& cut = world_.CutAt(ask.to, ask.blob);
  const bool forges = host.lie == Lie::kForgedChain && cut.makes.size() > 1;
  ReplyMap(ask, cut.makes[forges ? 1 : 0].whole);
}

void Givers::Hold(const Message& ask, FetchId id, bool first) {
  Poll poll;
  poll.from = ask.from;
  poll.to = ask.to;
  poll.blob = ask.blob;
  poll.fetch = ask.fetch;
  poll.request = ask.request;
  poll.count = ask.count;
  poll.line = first ? 0 : 1;
  Line& line = lines_[poll.line];
  poll.due = world_.now() + line.wait;
  poll.before = line.last;
  const std::uint32_t slot = polls_.Add(poll);
  (line.last == kNoPoll ? line.first : polls_[line.last].after) = slot;
  line.last = slot;
  PlanLine(poll.line);
  (*world_.fetches)[id].polls.push_back(slot);
  polls_peak_ = std::max(polls_peak_, ++world_.hosts[ask.to].polls);
}

void Givers::PlanLine(std::uint32_t at) {
  Line& line = lines_[at];
  if (line.planned || line.first == kNoPoll) return;
  line.planned = true;
  world_.Plan(polls_[line.first].due, EventKind::kPoll, at);
}

Givers::Poll Givers::TakePoll(std::uint32_t slot) {
  const Poll poll = polls_[slot];
  Line& line = lines_[poll.line];
  (poll.before == kNoPoll ? line.first : polls_[poll.before].after) = poll.after;
  (poll.after == kNoPoll ? line.last : polls_[poll.after].before) = poll.before;
  polls_.Free(slot);
  --world_.hosts[poll.to].polls;
  return poll;
}

void Givers::SettlePoll(std::uint32_t slot) {
  const Poll poll = TakePoll(slot);
  Message ask;
  ask.from = poll.from;
  ask.to = poll.to;
  ask.blob = poll.blob;
  ask.fetch = poll.fetch;
  ask.request = poll.request;
  const Host& host = world_.hosts[ask.to];
  if (const auto whole = host.whole.find(ask.blob); whole != host.whole.end()) {
    return ReplyMap(ask, whole->second->makes[kTrue].whole);
  }
  const auto found = host.fetching.find(ask.blob);
  Fetch* fetch = found == host.fetching.end() ? nullptr : &(*world_.fetches)[found->second];
  if (fetch != nullptr && fetch->cut != nullptr) {
    return ReplyMap(ask, world_.fetches->MapOf(*fetch));
  }
  Refuse(ask, MessageKind::kMapAnswer, {Code::kNotFound, "it is not here any more"});
}

void Givers::OnPoll(std::uint32_t at) {
  Line& line = lines_[at];
  line.planned = false;
  while (line.first != kNoPoll && polls_[line.first].due <= world_.now()) {
    const std::uint32_t slot = line.first;
    const Host& host = world_.hosts[polls_[slot].to];
    if (const auto found = host.fetching.find(polls_[slot].blob); found != host.fetching.end()) {
      std::erase((*world_.fetches)[found->second].polls, slot);
    }
    SettlePoll(slot);
  }
  PlanLine(at);
}

void Givers::OnNews(FetchId id) {
  Fetch& fetch = (*world_.fetches)[id];
  const std::int32_t has = fetch.download->have().count();
  for (std::size_t i = 0; i < fetch.polls.size();) {
    const std::uint32_t slot = fetch.polls[i];
    if (polls_[slot].count >= has) {
      ++i;
      continue;
    }
    fetch.polls[i] = fetch.polls.back();
    fetch.polls.pop_back();
    SettlePoll(slot);
  }
}

void Givers::OnEnded(FetchId id) {
  for (const std::uint32_t slot : std::exchange((*world_.fetches)[id].polls, {})) SettlePoll(slot);
}

bool Givers::Has(HostId host_id, BlobId blob, fetch::PieceIndex piece) const {
  const Host& host = world_.hosts[host_id];
  if (host.whole.contains(blob)) return true;
  const fetch::PieceMap* have = nullptr;
  if (const auto found = host.fetching.find(blob); found != host.fetching.end()) {
    have = &(*world_.fetches)[found->second].download->have();
  } else if (const auto left = host.partial.find(blob); left != host.partial.end()) {
    have = &left->second.have;
  }
  return have != nullptr && piece.value < have->size() && have->Has(piece);
}

// What a host that fetches the blob has beyond what the asker of a piece knows of it.
std::shared_ptr<const fetch::HolderMap> Givers::NewsFor(const Message& ask) {
  const Host& host = world_.hosts[ask.to];
  if (ask.known == 0 || host.lie != Lie::kHonest) return nullptr;
  if (const auto whole = host.whole.find(ask.blob); whole != host.whole.end()) {
    ++told_;
    return whole->second->makes[kTrue].whole;
  }
  const auto found = host.fetching.find(ask.blob);
  if (found == host.fetching.end()) return nullptr;
  Fetch& fetch = (*world_.fetches)[found->second];
  if (fetch.cut == nullptr || fetch.download->have().count() <= ask.known) return nullptr;
  ++told_;
  return world_.fetches->MapOf(fetch);
}

void Givers::OnPieceAsk(const Message& ask) {
  Fetch* asker = world_.fetches->Find(ask.fetch);
  if (asker == nullptr || Fetches::FindOpen(*asker, ask.request) == nullptr) return;
  ++asked_;
  Host& host = world_.hosts[ask.to];
  if (host.lie == Lie::kMute) return;
  const bool claims = host.lie == Lie::kWrongBytes || host.lie == Lie::kForgedChain;
  std::vector<fetch::PieceIndex> wanted;
  if (claims || Has(ask.to, ask.blob, ask.first)) wanted.push_back(ask.first);
  for (const fetch::PieceIndex piece : ask.options) {
    if (piece != ask.first && (claims || Has(ask.to, ask.blob, piece))) wanted.push_back(piece);
  }
  if (wanted.empty() || host.lie == Lie::kOverclaims) {
    return Refuse(ask, MessageKind::kPieceFailed, {Code::kCorrupt, "416: it is not here"});
  }
  const auto own = host.fetching.find(ask.blob);
  const fetch::PieceMap* const firsthand =
      own == host.fetching.end() ? nullptr : (*world_.fetches)[own->second].download->firsthand();
  const auto given =
      host.desk->OnAsk(world_.now(), world_.hosts[ask.from].id, world_.blobs.digest(ask.blob),
                       ask.cut->geometry, wanted, 1, firsthand);
  if (const auto* busy = std::get_if<fetch::UploadBusy>(&given)) {
    Message reply = AnswerTo(ask, MessageKind::kPieceBusy);
    reply.retry = busy->retry;
    reply.map = NewsFor(ask);
    for (const PeerId& peer : busy->others) reply.hosts.push_back(world_.HostOf(peer));
    ++busy_;
    return world_.Send(std::move(reply));
  }
  const auto& grant = std::get<fetch::UploadGrant>(given);
  Answer answer;
  answer.from = ask.to;
  answer.to = ask.from;
  answer.fetch = ask.fetch;
  answer.request = ask.request;
  answer.blob = ask.blob;
  answer.cut = ask.cut;
  answer.first = answer.next = grant.first;
  answer.end = grant.first + grant.count;
  answer.upload = grant.id;
  Message head = AnswerTo(ask, MessageKind::kPieceHead);
  head.first = grant.first;
  head.map = NewsFor(ask);
  NextMark(Begin(answer, kUncapped));
  CheckSlots(host);
  world_.Send(std::move(head));
}

// As the desk's rules have it, with those that are slow.
void Givers::CheckSlots(const Host& host) {
  const auto slots = static_cast<std::size_t>(fetch::UploadLimits{}.slots);
  std::size_t taken = 0;
  for (const AnswerId id : host.giving) taken += answers_[id].upload != 0 ? 1 : 0;
  if (taken > slots * (1 + fetch::kSlowAnswerFactor)) {
    world_.checker.Fail(world_.now(), "more answers under way than the desk allows");
  }
}

AnswerId Givers::Begin(Answer answer, double cap) {
  Host& from = world_.hosts[answer.from];
  const LinkId to = world_.hosts[answer.to].down;
  const FetchRef fetch = answer.fetch;
  const fetch::RequestId request = answer.request;
  const bool blocked = !world_.Connects(answer.from, answer.to);
  const AnswerId id = answers_.Add(answer);
  answers_[id].flow = world_.network.Start(from.up, to, cap, id);
  if (blocked) world_.network.SetBlocked(answers_[id].flow, true);
  from.giving.push_back(id);
  world_.fetches->SetAnswer(fetch, request, id, Bytes(0));
  return id;
}

void Givers::Continue(AnswerId id, const Cut& cut) {
  Answer& answer = answers_[id];
  answer.cut = &cut;
  answer.end = std::min(answer.end, fetch::PieceIndex{cut.geometry.count()});
  NextMark(id);
}

void Givers::NextMark(AnswerId id) {
  const Answer& answer = answers_[id];
  const fetch::Geometry& geometry = answer.cut->geometry;
  Bytes length = geometry.LengthOf(answer.next);
  if (answer.breaks_in == answer.next) length = Bytes(length.count() / 2);
  world_.network.SetMark(answer.flow,
                         geometry.OffsetOf(answer.next) - geometry.OffsetOf(answer.first) + length);
}

void Givers::OnFlow(AnswerId id) {
  Answer& answer = answers_[id];
  Message message;
  message.from = answer.from;
  message.to = answer.to;
  message.blob = answer.blob;
  message.fetch = answer.fetch;
  message.request = answer.request;
  message.cut = answer.cut;
  if (answer.breaks_in == answer.next) {
    message.kind = MessageKind::kPieceFailed;
    message.error = Error{Code::kRetryLater, "the connection was cut"};
    End(id);
    return world_.Send(std::move(message));
  }
  message.kind = MessageKind::kPieceCame;
  message.first = answer.next;
  message.version = VersionOf(answer);
  ++answer.next;
  message.last = answer.next == answer.end;
  if (message.last) {
    const Bytes moved = End(id);
    world_.fetches->SetAnswer(message.fetch, message.request, std::nullopt, moved);
  } else {
    NextMark(id);
  }
  world_.Send(std::move(message));
}

Version Givers::VersionOf(const Answer& answer) const {
  const Host& host = world_.hosts[answer.from];
  if (host.lie == Lie::kWrongBytes) return kGarbage;
  if (host.lie == Lie::kForgedChain) return answer.cut->makes.size() > 1 ? 1 : kTrue;
  const auto found = host.fetching.find(answer.blob);
  if (found == host.fetching.end()) return kTrue;
  const auto& wrong = (*world_.fetches)[found->second].wrong;
  const auto version = wrong.find(answer.next.value);
  return version == wrong.end() ? kTrue : version->second;
}

Bytes Givers::End(AnswerId id) {
  const Answer answer = answers_[id];
  Host& from = world_.hosts[answer.from];
  const Bytes moved = world_.network.Moved(answer.flow);
  from.given += moved;
  world_.network.Stop(answer.flow);
  if (answer.upload != 0) from.desk->OnSent(world_.now(), answer.upload, moved);
  std::erase(from.giving, id);
  answers_.Free(id);
  return moved;
}

void Givers::OnCancel(const Message& cancel) {
  for (const AnswerId id : world_.hosts[cancel.to].giving) {
    const Answer& answer = answers_[id];
    if (answer.request != cancel.request || answer.fetch.at != cancel.fetch.at ||
        answer.fetch.generation != cancel.fetch.generation) {
      continue;
    }
    if (world_.IsAgent(cancel.to)) ++taken_back_;
    End(id);
    return;
  }
  const auto found = world_.hosts[cancel.to].fetching.find(cancel.blob);
  if (found == world_.hosts[cancel.to].fetching.end()) return;
  auto& polls = (*world_.fetches)[found->second].polls;
  for (std::size_t i = 0; i < polls.size(); ++i) {
    const Poll& poll = polls_[polls[i]];
    if (poll.request != cancel.request || poll.fetch.at != cancel.fetch.at) continue;
    TakePoll(polls[i]);
    polls[i] = polls.back();
    polls.pop_back();
    return;
  }
}

void Givers::Crash(HostId host) {
  for (const AnswerId id : std::vector<AnswerId>(world_.hosts[host].giving)) {
    const Answer answer = answers_[id];
    const Bytes moved = End(id);
    world_.fetches->SetAnswer(answer.fetch, answer.request, std::nullopt, moved);
    Message reset;
    reset.kind = MessageKind::kPieceFailed;
    reset.from = answer.from;
    reset.to = answer.to;
    reset.blob = answer.blob;
    reset.fetch = answer.fetch;
    reset.request = answer.request;
    reset.error = Error{Code::kRetryLater, "connection reset"};
    world_.Send(std::move(reset));
  }
}

void Givers::Reblock() {
  for (const Host& host : world_.hosts) {
    for (const AnswerId id : std::vector<AnswerId>(host.giving)) {
      const Answer& answer = answers_[id];
      const bool blocked = !world_.Connects(answer.from, answer.to);
      world_.network.SetBlocked(answer.flow, blocked);
      // The asker may have closed it meanwhile: the holder finds out now.
      Fetch* asker = world_.fetches->Find(answer.fetch);
      const bool open = asker != nullptr && Fetches::FindOpen(*asker, answer.request) != nullptr;
      if (!blocked && !open) End(id);
    }
  }
}

std::optional<HostId> Givers::LongestFrom(HostId host) const {
  std::optional<HostId> longest;
  Bytes most;
  for (const AnswerId id : world_.hosts[host].giving) {
    const Bytes moved = world_.network.Moved(answers_[id].flow);
    if (longest && moved <= most) continue;
    longest = answers_[id].to;
    most = moved;
  }
  return longest;
}

}  // namespace shoal::sim
