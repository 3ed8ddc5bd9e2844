#include "index/rendezvous/federation_client.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace shoal::index {
namespace {

std::string LogTarget(const Federation::Ask& ask) {
  const auto wait_ms = std::chrono::duration_cast<std::chrono::milliseconds>(ask.wait).count();
  return "/v1/log?server=" + ask.whose->Hex() + "&epoch=" + std::to_string(ask.epoch) +
         "&after=" + std::to_string(ask.after) +
         (wait_ms > 0 ? "&wait_ms=" + std::to_string(wait_ms) : "");
}

}  // namespace

FederationClient::FederationClient(OwnCertificate certificate, std::unique_ptr<PinFile> pins,
                                   std::string pin_file, Ports ports)
    : certificate_(std::move(certificate)),
      pins_(std::move(pins)),
      pin_file_(std::move(pin_file)),
      ports_(std::make_shared<const Ports>(std::move(ports))) {}

Result<ServerUrl> FederationClient::Known(const std::string& url) const {
  auto parsed = ParseServerUrl(url);
  if (parsed && !parsed->pin) parsed->pin = pins_->Find(parsed->target);
  return parsed;
}

void FederationClient::Do(const Federation::Out& out) {
  for (const auto place : out.gone) links_.erase(place);
  for (const auto& link : out.links) {
    auto url = ParseServerUrl(link.url);
    if (!url) continue;  // what it is asked fails
    url->pin = link.pin;
    links_[link.place] = {std::make_shared<ServerLink>(*url, pin_file_, certificate_, kPatience),
                          link.pin.has_value()};
  }
  for (const auto& ask : out.asks) Send(ask);
}

void FederationClient::Trust(std::size_t place, const PeerId& met) {
  const auto it = links_.find(place);
  if (it == links_.end() || it->second.is_pinned) return;
  it->second.is_pinned = true;
  if (auto kept = pins_->Remember(it->second.link->target(), met); !kept) {
    spdlog::warn("index server {}: its identity is not remembered: {}", it->second.link->target(),
                 kept.error().text);
  }
}

void FederationClient::Send(const Federation::Ask& ask) {
  const auto it = links_.find(ask.to);
  if (it == links_.end()) {
    ports_->gate->Post([ports = ports_, ask] { ports->on_failed(ask, "its URL is none"); });
    return;
  }
  const auto link = it->second.link;
  const auto whose = ask.whose;
  link->Get(whose ? LogTarget(ask) : "/v1/servers", ask.wait > Duration(0),
            [ports = ports_, ask, link](Result<std::string> text) {
              const auto fail = [&](const std::string& why) {
                ports->gate->Post([ports, ask, why] { ports->on_failed(ask, why); });
              };
              if (!text) return fail(text.error().text);
              const auto met = link->id();
              if (!met) return fail("it has no identity");
              if (!ask.whose) {
                auto lines = DecodeServers(*text);
                if (!lines) return fail(lines.error().text);
                ports->gate->Post([ports, ask, met = *met, lines = *std::move(lines)] {
                  ports->on_servers(ask, met, lines);
                });
                return;
              }
              auto read = DecodePages(*text, *ask.whose, ports->records->Reader());
              if (!read) return fail(read.error().text);
              if (!read->error.ok()) {
                return fail("index server " + link->target() + ": " +
                            std::string(ToString(read->error.status)) + ": " + read->error.text);
              }
              ports->gate->Post(
                  [ports, ask, pages = std::move(read->pages)] { ports->on_pages(ask, pages); });
            });
}

}  // namespace shoal::index
