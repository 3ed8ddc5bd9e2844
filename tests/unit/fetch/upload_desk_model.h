// The upload desk written naively: everything is a list that is read from end to end. The oracle of
// the randomised test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "fetch/upload_desk.h"

namespace shoal::fetch {

class UploadDeskModel {
 public:
  explicit UploadDeskModel(UploadLimits limits) : limits_(limits) {}

  std::variant<UploadGrant, UploadBusy> OnAsk(Time now, const PeerId& peer, const Digest& digest,
                                              const Geometry& geometry,
                                              const std::vector<PieceIndex>& wanted,
                                              std::int32_t count) {
    Advance(now);
    asked_[peer] = now;
    const Bytes length = Length(geometry, wanted.front(), count);
    if (length > kSmallAnswer && !HasSlotFor(now, peer)) return Refuse(now, peer, digest, length);

    Blob& blob = Touch(now, digest, geometry.count());
    std::vector<std::uint64_t> sums;
    for (const PieceIndex first : wanted) {
      std::uint64_t sum = 0;
      for (int i = 0; i < count; ++i) sum += blob.sent[At(first + i)];
      sums.push_back(sum);
    }
    const PieceIndex best =
        wanted[static_cast<std::size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin())];
    for (int i = 0; i < count; ++i) ++blob.sent[At(best + i)];
    blob.given.push_back(peer);
    refused_.erase(peer);
    if (length <= kSmallAnswer) return UploadGrant{0, best, count};
    const Bytes exact = Length(geometry, best, count);
    const Time slow_at =
        now + (pace_ ? std::max(kSlowAnswerMin, Expected(exact) * kSlowAnswerFactor)
                     : kSlowAnswerUnknown);
    answers_.push_back(
        {next_, peer, digest, blob.born, best, count, exact, now, slow_at, Held() + 1, false});
    return UploadGrant{next_++, best, count};
  }

  void OnSent(Time now, UploadId id, Bytes sent) {
    Advance(now);
    const auto found = std::find_if(answers_.begin(), answers_.end(),
                                    [&](const Answer& answer) { return answer.id == id; });
    const Answer answer = *found;
    if (sent > kSmallAnswer) {
      double pace = static_cast<double>((now - answer.since).count()) / 1e6 /
                    (static_cast<double>(sent.count()) / (1 << 20));
      const int crowd = std::max(answer.crowd, Held());
      pace *= std::max(1.0, static_cast<double>(limits_.slots) / crowd);
      if (pace_) pace = std::min(pace, *pace_ * kSlowAnswerFactor);
      pace_ = pace_ ? *pace_ * 0.75 + pace * 0.25 : pace;
    }
    answers_.erase(found);
    for (Blob& blob : blobs_) {
      if (blob.born != answer.born) continue;
      blob.used = now;
      blob.turn = ++turns_;
      if (sent >= answer.length) continue;
      for (int i = 0; i < answer.count; ++i) --blob.sent[At(answer.first + i)];
    }
  }

  int busy_slots(Time now) {
    Advance(now);
    return Held();
  }
  std::vector<UploadId> under_way() const {
    std::vector<UploadId> ids;
    for (const Answer& answer : answers_) ids.push_back(answer.id);
    return ids;
  }
  Bytes LengthOf(UploadId id) const {
    for (const Answer& answer : answers_) {
      if (answer.id == id) return answer.length;
    }
    return Bytes(0);
  }

 private:
  struct Answer {
    UploadId id;
    PeerId peer;
    Digest digest;
    std::uint64_t born;
    PieceIndex first;
    int count;
    Bytes length;
    Time since;
    Time slow_at;
    int crowd;
    bool slow;
  };
  struct Blob {
    Digest digest;
    std::uint64_t born;
    std::vector<std::uint32_t> sent;
    std::vector<PeerId> given;  // all, in order
    Time used;
    std::uint64_t turn;
  };

  static std::size_t At(PieceIndex i) { return static_cast<std::size_t>(i.value); }
  static Bytes Length(const Geometry& geometry, PieceIndex first, int count) {
    Bytes sum;
    for (int i = 0; i < count; ++i) sum += geometry.LengthOf(first + i);
    return sum;
  }
  Duration Expected(Bytes length) const {
    const double seconds = *pace_ * static_cast<double>(length.count()) / (1 << 20);
    return Duration(static_cast<Duration::rep>(seconds * 1e6));
  }
  int Held() const {
    return static_cast<int>(std::count_if(answers_.begin(), answers_.end(),
                                          [](const Answer& answer) { return !answer.slow; }));
  }

  void Advance(Time now) {
    std::erase_if(blobs_, [&](const Blob& blob) { return blob.used + kCountLife < now; });
    for (;;) {
      Answer* next = nullptr;
      for (Answer& answer : answers_) {
        if (answer.slow || answer.slow_at > now) continue;
        if (next == nullptr || answer.slow_at < next->slow_at) next = &answer;
      }
      const int slow = static_cast<int>(answers_.size()) - Held();
      if (next == nullptr || slow >= limits_.slots * kSlowAnswerFactor) return;
      next->slow = true;
    }
  }

  bool HasSlotFor(Time now, const PeerId& peer) const {
    const auto mine = std::count_if(answers_.begin(), answers_.end(),
                                    [&](const Answer& answer) { return answer.peer == peer; });
    const bool waiting = std::any_of(refused_.begin(), refused_.end(), [&](const auto& entry) {
      return entry.first != peer && entry.second + kRefusedLately >= now;
    });
    const auto askers = std::count_if(asked_.begin(), asked_.end(), [&](const auto& entry) {
      return entry.second + kAskedLately >= now;
    });
    const auto share = waiting ? std::max<std::int64_t>(1, limits_.slots / askers) : limits_.slots;
    return Held() < limits_.slots && mine < share;
  }

  UploadBusy Refuse(Time now, const PeerId& peer, const Digest& digest, Bytes length) {
    refused_[peer] = now;
    UploadBusy busy{kBusyRetryUnknown, {}};
    if (pace_) {
      if (next_turn_ < now) next_turn_ = now;
      next_turn_ += Expected(length) / (limits_.slots * kTriesPerEnd);
      if (next_turn_ > now + kBusyRetryMax) next_turn_ = now + kBusyRetryMax;
      busy.retry = std::max(kBusyRetryMin, next_turn_ - now);
    }
    for (const Blob& blob : blobs_) {
      if (blob.digest != digest) continue;
      std::vector<PeerId> latest;
      for (auto it = blob.given.rbegin(); it != blob.given.rend(); ++it) {
        if (std::find(latest.begin(), latest.end(), *it) == latest.end()) latest.push_back(*it);
      }
      if (latest.size() > kTryMax + 1) latest.resize(kTryMax + 1);
      std::erase(latest, peer);
      if (latest.size() > kTryMax) latest.resize(kTryMax);
      busy.others = latest;
    }
    return busy;
  }

  Blob& Touch(Time now, const Digest& digest, std::int32_t count) {
    const auto pieces = static_cast<std::size_t>(count);
    std::erase_if(blobs_, [&](const Blob& blob) {
      return blob.digest == digest && blob.sent.size() != pieces;
    });
    auto found = std::find_if(blobs_.begin(), blobs_.end(),
                              [&](const Blob& blob) { return blob.digest == digest; });
    while (found == blobs_.end() && !blobs_.empty()) {
      std::size_t counts = pieces;
      for (const Blob& blob : blobs_) counts += blob.sent.size();
      if (blobs_.size() < limits_.blobs_max && counts <= limits_.counts_max) break;
      blobs_.erase(std::min_element(blobs_.begin(), blobs_.end(),
                                    [](const Blob& a, const Blob& b) { return a.turn < b.turn; }));
      found = blobs_.end();
    }
    if (found == blobs_.end()) {
      blobs_.push_back({digest, ++births_, std::vector<std::uint32_t>(pieces), {}, now, 0});
      found = std::prev(blobs_.end());
    }
    found->used = now;
    found->turn = ++turns_;
    return *found;
  }

  UploadLimits limits_;
  UploadId next_ = 1;
  std::uint64_t births_ = 0;
  std::uint64_t turns_ = 0;
  std::vector<Answer> answers_;
  std::vector<Blob> blobs_;
  std::map<PeerId, Time> asked_;
  std::map<PeerId, Time> refused_;
  std::optional<double> pace_;
  Time next_turn_{};
};

}  // namespace shoal::fetch
