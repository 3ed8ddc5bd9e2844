// RangePlan: by how many connections a blob's bytes are fetched from its registry, and which of
// them each asks for. Owns no connection: it is told what comes, and says what to ask.
//
// Rules
// - One stream to the end at first. While kLargeRest or more is left, a further connection is
//   tried, up to limits.lanes_max; it is kept when all together are at least kWorthWhile times as
//   fast as before, measured over kMeasure each. One that was not worth while is the last that is
//   tried.
// - With several, each asks for the next kRange that nobody has asked for. At most limits.lanes_max
//   ranges are under way or waiting behind the first that is not complete, so what waits is
//   bounded.
// - The first stream asked for everything: it is cut where the second's range begins. Where the
//   second is refused before that, it goes on as if nothing had been.
// - A further connection that is refused (the registry ignores ranges, or forbids them) is the end
//   of trying: what is left is read by one stream. One that is cut is asked again for the rest of
//   its range, with one connection less; after kCutsMax in a row without kCutsForgiven the whole
//   fails, and whoever asked begins where it ended.
// - Where connections are bounded (SetMost) there are no more than that, as those that are too many
//   end; a further one that is not to be had is waited for before anything is measured.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace shoal::proxy {

inline constexpr Bytes kRange{4 << 20};
inline constexpr Bytes kLargeRest{16 << 20};
// Slow start is over before a measurement begins; a second is several ranges and round trips.
inline constexpr Duration kSettle = std::chrono::milliseconds(500);
inline constexpr Duration kMeasure = std::chrono::seconds(1);
inline constexpr double kWorthWhile = 1.25;
inline constexpr int kCutsMax = 3;
inline constexpr Bytes kCutsForgiven{1 << 20};

class RangePlan {
 public:
  struct Limits {
    int lanes_max = 4;
  };
  using LaneId = std::uint64_t;

  struct Ask {
    LaneId lane = 0;
    Bytes begin;
    std::optional<Bytes> end;  // nullopt: to the end
    bool exact = false;        // an answer that is no range is of no use
  };

  explicit RangePlan(Limits limits) : limits_(limits), most_(limits.lanes_max) {}

  // The first stream, of [begin, end); end is what is asked for, or the blob's.
  Ask Start(Bytes begin);
  // Its answer says how much there is. Once.
  void OnSize(Bytes end);
  // `count` bytes came. Returns how many of them are the lane's, and in `done` whether it has all
  // it needs: it is over, and its request is to be ended if it brings more.
  Bytes OnBytes(Time now, LaneId lane, Bytes count, bool* done);
  // The lane ended early. refused: as a range, rather than cut. False: the whole fails.
  bool OnFailed(LaneId lane, bool refused);
  // What to ask now. room: ranges that may be asked ahead of the first that is not complete.
  // connections: that may be opened now.
  std::vector<Ask> Next(int room, int connections);
  // How many connections there may be from now on, all together; at least 1.
  void SetMost(int connections) { most_ = connections; }
  // How many there should be.
  [[nodiscard]] int Wish() const { return target_; }

  // Where a lane's next byte belongs.
  [[nodiscard]] std::optional<Bytes> PositionOf(LaneId lane) const;
  [[nodiscard]] bool Complete() const { return end_ && lanes_.empty() && Front() == *end_; }
  // Everything before it is here.
  [[nodiscard]] Bytes Front() const;
  [[nodiscard]] int lanes() const { return static_cast<int>(lanes_.size()); }
  void CheckInvariants() const;

 private:
  struct Lane {
    Bytes begin;
    Bytes at;
    Bytes stop;
    bool open = false;  // asked for everything
  };

  [[nodiscard]] Bytes Left() const;
  void Measure(Time now);
  Ask Begin(Bytes begin, Bytes stop, bool open);

  Limits limits_;
  LaneId next_id_ = 1;
  std::optional<Bytes> end_;
  Bytes asked_;  // up to here somebody was asked, but for gaps_
  std::map<LaneId, Lane> lanes_;
  std::map<Bytes, Bytes> gaps_;  // asked for, and lost: begin to end
  int target_ = 1;
  int most_ = 1;        // set by the constructor
  bool tried_ = false;  // no further connection will be tried
  bool ranges_ = true;  // none was refused

  Bytes received_;
  std::optional<Time> measure_from_;  // the next measurement begins
  Bytes measured_;                    // received before it
  bool measuring_ = false;
  std::optional<double> rate_;  // with one connection less than target_
  int cuts_ = 0;
  Bytes since_cut_;
};

}  // namespace shoal::proxy
