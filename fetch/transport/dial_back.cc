#include "fetch/transport/dial_back.h"

#include <utility>

#include "base/json.h"
#include "fetch/transport/http_head.h"

namespace shoal::fetch {
namespace {

constexpr std::size_t kAskersMax = 1000;

HttpReply Said(bool dialled, const std::string& endpoint) {
  Json body = Json::object();
  body["dialled"] = Json::boolean(dialled);
  if (dialled) body["endpoint"] = Json::string(endpoint);
  HttpReply reply;
  reply.headers = {{"Content-Type", "application/json"}};
  reply.body.push_back({body.serialize(), nullptr, {}, {}});
  return reply;
}

}  // namespace

void DialBack::Answer(const index::SignedRecord& record, HttpServer::Responder respond) {
  loop_.Post([self = shared_from_this(), record, respond = std::move(respond)] {
    const Time now = self->loop_.Now();
    std::erase_if(self->askers_, [now](const auto& entry) {
      return !entry.second.under_way && entry.second.next <= now;
    });
    if (self->under_way_ >= kDialBacksMax || self->askers_.contains(record.id()) ||
        self->askers_.size() >= kAskersMax) {
      return respond(ErrorReply(503, "ask again in ten seconds, or ask others"));
    }
    self->askers_[record.id()] = {now + kDialBackPace, true};
    ++self->under_way_;
    self->Next(record, 0, respond);
  });
}

void DialBack::Next(const index::SignedRecord& record, std::size_t endpoint,
                    const HttpServer::Responder& respond) {
  const auto& endpoints = record.record().endpoints;
  if (endpoint >= endpoints.size() || endpoint >= kDialledMax) {
    End(record.id());
    return respond(Said(false, ""));
  }
  client_.Probe(record.id(), endpoints[endpoint],
                [self = shared_from_this(), record, endpoint, respond](const Status& reached) {
                  self->loop_.Post([self, record, endpoint, respond, reached] {
                    if (!reached) return self->Next(record, endpoint + 1, respond);
                    self->End(record.id());
                    respond(Said(true, ToString(record.record().endpoints[endpoint])));
                  });
                });
}

void DialBack::End(const PeerId& peer) {
  --under_way_;
  if (const auto it = askers_.find(peer); it != askers_.end()) it->second.under_way = false;
}

}  // namespace shoal::fetch
