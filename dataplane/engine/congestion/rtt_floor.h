#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// min_rtt: the round trip of the path with its queue empty, and when to doubt it.
/// Source: draft-ietf-ccwg-bbr sections "BBR.min_rtt" and "ProbeRTT". Differences (PROTOCOL section 4): any sample
/// close to the minimum confirms it, so that a drained queue spares the path a ProbeRTT; and where the floor of the RTT
/// stays raised while it costs throughput, less is kept in flight, below a BDP, for three round trips: if the RTT does
/// not follow, it was no queue of ours, and the minimum begins anew. Threads: one owner.
class RttFloor {
 public:
  struct Round {
    std::uint64_t in_flight_max = 0;  // bytes, seen at the ACKs of this round trip
    /// What is in flight, or arrives, is what the model wants: a raised RTT does not hurt, or is our own doing.
    bool content = true;
  };

  void on_sample(TimePoint now, Duration rtt);
  /// A round trip is over.
  void on_round(TimePoint now, const Round& round);
  /// While a round trip is probed with little in flight. The end replaces a minimum that nothing confirmed for 10 s.
  void begin_probe() { probed_.reset(); }
  void end_probe(TimePoint now);

  /// Zero before the first sample.
  [[nodiscard]] Duration minimum() const { return minimum_; }
  /// Too little above the minimum for a queue that matters.
  [[nodiscard]] bool is_near(Duration rtt) const;
  /// So close to the minimum that it confirms it: not even a short queue stands.
  [[nodiscard]] bool confirms(Duration rtt) const;
  /// A quarter above the minimum: a queue of that much, or a path that has become longer.
  [[nodiscard]] bool is_raised(Duration rtt) const;
  /// The last sample that confirmed the minimum, or the end of the last probe.
  [[nodiscard]] TimePoint confirmed_at() const { return confirmed_at_; }
  /// The minimum may be a matter of the past: that is being found out, or about to be.
  [[nodiscard]] bool is_doubtful() const { return cap_ || (raised_rounds_ > 0 && rest_rounds_ == 0); }
  /// At most so much is to be in flight: the doubt is being settled.
  [[nodiscard]] std::optional<std::uint64_t> in_flight_cap() const { return cap_; }

 private:
  void restart(TimePoint now, Duration rtt);

  Duration minimum_{};
  TimePoint confirmed_at_{};     // by a sample, or a probe
  TimePoint minimum_seen_at_{};  // by a sample alone
  std::optional<Duration> round_minimum_;
  std::optional<Duration> probed_;         // in this probe
  std::optional<Duration> probed_before_;  // in the last one
  std::uint32_t raised_rounds_ = 0;
  std::optional<std::uint64_t> cap_;  // a doubt is being settled
  std::uint32_t capped_rounds_ = 0;
  Duration doubted_{};             // the RTT's floor when that began
  std::uint32_t rest_rounds_ = 0;  // until there may be doubt again
};

}  // namespace penstock::engine
