#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::engine {

/// Which lane of a transfer leads, under `bbr`: the lowest one that has enough to send, and is heard. The others send
/// as it does, so together they are to the path what it is alone, N times as large: README.md, "Several lanes".
/// Threads: one owner. Time: passed in.
class LaneGuide {
 public:
  explicit LaneGuide(LanePlace place) : place_(place) {}

  /// What another lane says.
  void on_news(TimePoint now, const LaneLead& said);
  /// Who leads is believed for four round trips without a word, a quarter of a second at least.
  void on_time(TimePoint now, Duration rtt);
  /// The lane to send as; nullopt: there is none, and this one sends by its own model.
  [[nodiscard]] const std::optional<LaneLead>& leader() const { return leader_; }

  /// What the others are to hear: that this lane leads, if it does, when that is news or half a round trip is over; and
  /// once that it does no longer. `worthy`: it has enough to send, so that its model is the path's.
  [[nodiscard]] std::optional<LaneLead> tell(TimePoint now, LaneLead own, bool worthy, Duration rtt);

 private:
  LanePlace place_;
  std::optional<LaneLead> leader_;
  TimePoint heard_at_{};
  std::optional<LaneLead> told_;  // while it leads
  TimePoint told_at_{};
};

}  // namespace penstock::engine
