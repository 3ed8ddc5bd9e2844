#include "fetch/transport/relay_service.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/json.h"
#include "fetch/transport/http_head.h"

namespace shoal::fetch {
namespace {

constexpr std::string_view kPeerSuffix = ".peer.shoal:443";
constexpr std::string_view kCallSuffix = ".call.shoal:443";

HttpReply Calls(const std::vector<RelayDesk::CircuitId>& calls) {
  Json body = Json::object();
  body["calls"] = Json::array(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    body["calls"][i] = Json::number(static_cast<std::int64_t>(calls[i]));
  }
  HttpReply reply;
  reply.headers = {{"Content-Type", "application/json"}};
  reply.body.push_back({body.serialize(), nullptr, {}, {}});
  return reply;
}

HttpReply Refusal(const Error& error) {
  return ErrorReply(error.code == Code::kExhausted ? 503 : 404, error.text);
}

}  // namespace

void RelayService::Reserve(const PeerId& peer, Duration wait, HttpServer::Responder respond) {
  ports_.loop.Post([self = shared_from_this(), peer, wait = std::min(wait, kReserveWaitMax),
                    respond = std::move(respond)] {
    if (self->splicer_ == nullptr || !self->ports_.can_serve()) {
      return respond(ErrorReply(404, "this peer is no relay"));
    }
    if (Status taken = self->desk_.OnReserve(self->ports_.loop.Now(), peer); !taken) {
      ++self->refused_;
      return respond(Refusal(taken.error()));
    }
    self->Schedule();
    // One request of a peer waits; it has given up an older one.
    if (const auto it = self->polls_.find(peer); it != self->polls_.end()) {
      std::exchange(it->second.respond, nullptr)(Calls({}));
      self->polls_.erase(it);
    }
    auto calls = self->desk_.TakeCalls(peer);
    if (!calls.empty() || wait <= Duration(0)) return respond(Calls(calls));
    const std::uint64_t number = ++self->polls_made_;
    self->polls_[peer] = {number, respond};
    self->ports_.loop.After(wait, [self, peer, number] {
      const auto it = self->polls_.find(peer);
      if (it == self->polls_.end() || it->second.number != number) return;
      const auto answer = std::move(it->second.respond);
      self->polls_.erase(it);
      answer(Calls({}));
    });
  });
}

void RelayService::Release(const PeerId& peer, HttpServer::Responder respond) {
  ports_.loop.Post([self = shared_from_this(), peer, respond = std::move(respond)] {
    std::vector<CircuitId> ended;
    self->desk_.OnRelease(peer, ended);
    self->EndAll(ended);
    if (const auto it = self->polls_.find(peer); it != self->polls_.end()) {
      const auto answer = std::move(it->second.respond);
      self->polls_.erase(it);
      answer(Calls({}));
    }
    respond(Calls({}));
  });
}

void RelayService::Connect(const PeerId& peer, const std::string& target,
                           HttpServer::Responder respond) {
  const std::string_view text = target;
  if (text.ends_with(kPeerSuffix)) {
    const auto callee = ParsePeerId(text.substr(0, text.size() - kPeerSuffix.size()));
    if (!callee) return respond(ErrorReply(400, callee.error().text));
    ports_.loop.Post([self = shared_from_this(), peer, callee = *callee,
                      respond = std::move(respond)] { self->Call(peer, callee, respond); });
    return;
  }
  CircuitId id = 0;
  const std::string_view number =
      text.ends_with(kCallSuffix) ? text.substr(0, text.size() - kCallSuffix.size()) : "";
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), id);
  if (number.empty() || error != std::errc() || end != number.data() + number.size()) {
    return respond(ErrorReply(400, "a relay connects to peers and to calls only"));
  }
  ports_.loop.Post([self = shared_from_this(), peer, id, respond = std::move(respond)] {
    self->Take(peer, id, respond);
  });
}

void RelayService::Call(const PeerId& caller, const PeerId& callee, HttpServer::Responder respond) {
  if (splicer_ == nullptr) return respond(ErrorReply(404, "this relay stops"));
  // We may call one ourselves; it has shown to be in a room with us.
  if (caller != self_ && !ports_.in_one_room(caller, callee)) {
    ++refused_;
    return respond(ErrorReply(403, "you share no room of this relay with that peer"));
  }
  const auto id = desk_.OnCall(ports_.loop.Now(), caller, callee);
  if (!id) {
    ++refused_;
    return respond(Refusal(id.error()));
  }
  circuits_[*id].caller = std::move(respond);
  Schedule();
  Tell(callee);
}

void RelayService::Tell(const PeerId& callee) {
  const auto it = polls_.find(callee);
  if (it == polls_.end()) return;  // it asks again at once
  const auto respond = std::move(it->second.respond);
  polls_.erase(it);
  respond(Calls(desk_.TakeCalls(callee)));
}

void RelayService::Take(const PeerId& callee, CircuitId id, const HttpServer::Responder& respond) {
  const auto it = circuits_.find(id);
  const Status taken = desk_.OnTake(ports_.loop.Now(), callee, id);
  if (!taken || it == circuits_.end()) {
    ++refused_;
    return respond(ErrorReply(404, "there is no such call to you"));
  }
  ++calls_;
  Schedule();
  const auto side = [self = shared_from_this(), id] {
    HttpReply reply;
    reply.take = [self, id](std::unique_ptr<RawConnection> connection) {
      auto shared = std::make_shared<std::unique_ptr<RawConnection>>(std::move(connection));
      self->ports_.loop.Post([self, id, shared] { self->OnSide(id, std::move(*shared)); });
    };
    return reply;
  };
  const auto caller = std::exchange(it->second.caller, nullptr);
  respond(side());
  caller(side());
  // A side that is gone meanwhile never comes.
  ports_.loop.After(desk_.limits().accept, [self = shared_from_this(), id] {
    const auto late = self->circuits_.find(id);
    if (late != self->circuits_.end() && !late->second.runs) self->EndAll({id});
  });
}

void RelayService::OnSide(CircuitId id, std::unique_ptr<RawConnection> connection) {
  const auto it = circuits_.find(id);
  if (it == circuits_.end() || splicer_ == nullptr) return;  // closes it
  if (it->second.side == nullptr) {
    it->second.side = std::move(connection);
    return;
  }
  it->second.runs = true;
  splicer_->Splice(id, std::move(it->second.side), std::move(connection),
                   [self = shared_from_this(), id] {
                     self->ports_.loop.Post([self, id] {
                       self->desk_.OnEnd(id);
                       self->circuits_.erase(id);
                     });
                   });
}

void RelayService::EndAll(const std::vector<CircuitId>& ended) {
  for (const CircuitId id : ended) {
    desk_.OnEnd(id);
    const auto it = circuits_.find(id);
    if (it == circuits_.end()) continue;
    if (it->second.runs) {
      if (splicer_ != nullptr) splicer_->Cut(id);  // its end comes from there
      continue;
    }
    const auto caller = std::move(it->second.caller);
    circuits_.erase(it);
    if (caller) caller(ErrorReply(504, "that peer does not take the call"));
  }
}

void RelayService::Schedule() {
  const Time next = desk_.NextDeadline();
  if (next == kNever || next >= scheduled_) return;
  scheduled_ = next;
  const Time now = ports_.loop.Now();
  ports_.loop.After(std::max(next - now, Duration(0)), [self = shared_from_this(), next] {
    if (self->scheduled_ != next) return;
    self->scheduled_ = kNever;
    std::vector<CircuitId> ended;
    self->desk_.OnDeadline(self->ports_.loop.Now(), ended);
    self->EndAll(ended);
    self->Schedule();
  });
}

RelayService::View RelayService::view() const {
  View view;
  for (const auto& place : desk_.Reservations()) view.peers.push_back(place.peer);
  view.slots = desk_.limits().slots;
  view.circuits = desk_.circuits();
  view.bytes = splicer_ == nullptr ? 0 : splicer_->bytes();
  view.calls = calls_;
  view.refused = refused_;
  return view;
}

void RelayService::Stop() {
  polls_.clear();
  circuits_.clear();
  splicer_.reset();
}

}  // namespace shoal::fetch
