#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/engine/congestion/congestion_controller.h"
#include "dataplane/engine/path_report.h"

namespace penstock::engine {

/// Finds out what a path carries and loses, then lets nothing more out: for `ping`, not for transfers. The sender needs
/// something to send all the while.
///
///   waiting --first ACK of bulk--> ramp --a smaller share arrives--> hold --two RTTs--> drain --all resolved--> calm
///                                   ^---- all of it arrived ----------'                                          |
///                                 finished <--all resolved-- settle <--a second, or packets enough--------------'
///
/// Ramp: the rate doubles (times four where a round trip is long) as long as the share that arrives does not fall.
/// Hold: a third above what arrived, so that the bottleneck is busy; what arrives for two round trips and 300 ms at
/// least is the path's rate. Drain: nothing leaves, so that queues empty. Calm: three fifths of the rate; losses count
/// here alone, since a queue that we overflow says nothing about the path.
///
/// What arrives is compared with what left, not with what was meant to leave, and a window in which less arrived than
/// before is measured again, a few times: a worker that is kept from its core is no narrow path.
/// Rates are what arrives; loss lowers them, no queue raises them.
/// Bound: ramp and hold end 1.5 s and 8 round trips after their start, but for the hold that has begun; calm after a
/// second. Threads: one owner. Integers only.
class PathMeter final : public CongestionController {
 public:
  /// `ip_overhead`: of each datagram, counted by the rates.
  PathMeter(std::uint64_t datagram_bytes, std::uint64_t ip_overhead, Duration initial_rtt);

  void on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) override;
  void on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) override;
  void on_packets_lost(const LostSample& sample) override;
  void on_spurious_loss(TimePoint sent_at) override;
  void on_datagram_size(std::uint64_t bytes) override { datagram_ = bytes; }

  [[nodiscard]] std::uint64_t cwnd() const override { return cwnd_; }
  [[nodiscard]] DataRate pacing_rate(const RttEstimator&) const override { return rate_; }
  [[nodiscard]] PathReport report() const override { return report_; }

 private:
  /// What left and what arrived between two acknowledgements, in IP bytes.
  struct Figure {
    DataRate offered;
    DataRate delivered;
  };
  /// Opened by the first ACK of a packet sent since the phase, or the step, began.
  struct Window {
    TimePoint opened;
    TimePoint first_sent_at;  // of the packet that this ACK was about
    PacketNumber first;
    std::uint64_t delivered_before;
  };
  enum class Phase : std::uint8_t { waiting, ramp, hold, drain, calm, settle, finished };

  [[nodiscard]] DataRate start_rate(Duration rtt) const;
  [[nodiscard]] Duration time_for_packets(std::uint64_t packets, DataRate rate) const;
  [[nodiscard]] Duration window_wanted(Duration rtt_min) const;
  void enter(Phase phase, TimePoint now, DataRate rate);
  void measure(const AckedSample& sample, const RttEstimator& rtt);
  void on_step_measured(TimePoint now, const Figure& figure, bool full, Duration rtt_min);
  void on_hold_measured(TimePoint now, const Figure& figure, bool full, Duration rtt_min);
  void on_exhausted(TimePoint now, Duration rtt_min);
  void on_resolved(TimePoint now, std::uint64_t bytes);
  [[nodiscard]] bool may_still_load(TimePoint now, Duration rtt_min) const;

  std::uint64_t datagram_;
  std::uint64_t ip_overhead_;
  Phase phase_ = Phase::waiting;
  DataRate rate_;
  std::uint64_t cwnd_;
  std::uint64_t in_flight_ = 0;
  PacketNumber newest_bulk_{};   // acknowledged
  std::uint64_t delivered_ = 0;  // IP bytes acknowledged so far
  TimePoint load_started_{};     // the ramp
  TimePoint phase_started_{};    // or the step of the ramp
  std::optional<Window> window_;
  std::optional<DataRate> offered_before_;  // in the last step in which that grew
  DataRate delivered_most_;                 // in any window
  int slow_steps_ = 0;                      // in a row
  int holds_repeated_ = 0;
  std::uint64_t carried_best_;             // in 1024ths: what a path that is not full delivers
  std::optional<TimePoint> calm_started_;  // from then on losses count
  std::uint64_t calm_bytes_ = 0;
  bool exhausted_ = false;
  PathReport report_;
};

}  // namespace penstock::engine
