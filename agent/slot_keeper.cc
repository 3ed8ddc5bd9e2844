#include "agent/slot_keeper.h"

#include <openssl/evp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::agent {

using proxy::SlotShare;

Digest RegistryKey(const std::string& registry) {
  const std::string text = "shoal-registry-v1\n" + registry;
  Digest digest;
  unsigned length = 0;
  const int ok =
      EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
                 &length, EVP_sha256(), nullptr);
  SHOAL_CHECK(ok == 1 && length == digest.bytes.size());
  return digest;
}

void SlotKeeper::OnUse(CallId call, const std::string& registry) {
  if (stopped_) return;
  const auto use = ports_.use_of(call);
  SlotShare::Out out;
  if (!calls_.contains(call)) {
    if (!use) return;  // it was over before we heard of it
    calls_.emplace(call, registry);
    share_.OnCall(ports_.loop.Now(), call, registry, ports_.bound(registry), out);
  }
  Tell(call, use, out);
  Carry(std::move(out));
}

void SlotKeeper::Tell(CallId call, const std::optional<Use>& use, SlotShare::Out& out) {
  if (!calls_.contains(call)) return;
  const Use told = use.value_or(Use{.begun = true, .over = true});
  if (!use || (told.over && told.open == 0)) calls_.erase(call);
  share_.OnUse(ports_.loop.Now(), call, told, out);
}

void SlotKeeper::Carry(SlotShare::Out out) {
  // What calls do with a share may change those of others, and what is to be asked.
  while (!stopped_ && !(out.shares.empty() && out.asks.empty())) {
    SlotShare::Out more;
    for (const auto& share : out.shares) {
      Tell(share.call, ports_.set_share(share.call, share.connections), more);
    }
    for (const auto& ask : out.asks) Ask(ask);
    out = std::move(more);
  }
  Schedule();
}

void SlotKeeper::Ask(const SlotShare::Ask& ask) {
  index::SwarmAsk message;
  message.peer = ports_.self;
  message.digest = RegistryKey(ask.registry);
  message.slots = ask.slots;
  ports_.ask(message, [weak = weak_from_this(), registry = ask.registry](const auto& answer) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    // Never inside the asking: an arbiter that is this host answers at once.
    self->ports_.loop.Post([weak, registry, slots = answer ? answer->slots : std::nullopt] {
      const auto keeper = weak.lock();
      if (keeper == nullptr || keeper->stopped_) return;
      SlotShare::Out out;
      spdlog::debug("connections to {}: {} granted, {} held", registry,
                    slots ? std::to_string(*slots) : "nothing is", keeper->HeldOf(registry));
      keeper->share_.OnAnswer(keeper->ports_.loop.Now(), registry, slots, out);
      keeper->Carry(std::move(out));
    });
  });
}

void SlotKeeper::Schedule() {
  const Time next = share_.NextDeadline();
  if (stopped_ || next == kNever || next >= scheduled_) return;
  scheduled_ = next;
  const Time now = ports_.loop.Now();
  ports_.loop.After(std::max(next - now, Duration(1000)), [weak = weak_from_this(), next] {
    const auto self = weak.lock();
    if (self == nullptr || self->stopped_ || self->scheduled_ != next) return;
    self->scheduled_ = kNever;
    SlotShare::Out out;
    self->share_.OnDeadline(self->ports_.loop.Now(), out);
    self->Carry(std::move(out));
  });
}

}  // namespace shoal::agent
