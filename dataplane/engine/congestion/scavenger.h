#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "dataplane/engine/congestion/congestion_controller.h"
#include "dataplane/engine/congestion/delivery_log.h"
#include "dataplane/engine/congestion/loss_floor.h"
#include "dataplane/engine/congestion/queue_watch.h"
#include "dataplane/engine/congestion/receiver_window.h"
#include "dataplane/engine/congestion/rtt_floor.h"

namespace penstock::engine {

/// Takes what others leave: keeps a small delay at the bottleneck, and shrinks as soon as others fill it.
/// Source: the idea of RFC 6817 (LEDBAT), with the RTT in place of the one-way delay. Differences: the target is a
/// fraction of the round trip (RFC: 100 ms, which is more than many a queue holds, so that LEDBAT there is no scavenger
/// at all); growth and shrinking are shares of the window, once a round trip, so that a long fat path is filled in
/// tens of round trips and left in a few: first by the queue that may be our own, then by up to a half, for who else
/// fills it; loss counts only above what the path loses by chance (loss_floor.h), and neither that of an outage nor
/// that of the receiver's own socket, whose window is one of its own (receiver_window.h); every 10 s the window is cut
/// for a moment, to see the path without our own queue (RFC: base delay of the last minutes, by which a late-comer
/// takes the queue that it finds for the path). Threads: one owner.
class Scavenger final : public CongestionController {
 public:
  Scavenger(std::uint64_t datagram_bytes, Duration initial_rtt);

  void on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) override;
  void on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) override;
  void on_packets_lost(const LostSample& sample) override;
  void on_packets_marked(const MarkedSample& sample) override;
  void on_marks_withdrawn(TimePoint now) override;
  void on_spurious_loss(TimePoint) override { log_.on_spurious_loss(datagram_); }
  void on_datagram_size(std::uint64_t bytes) override {
    datagram_ = bytes;
    cwnd_ = std::max(cwnd_, window_min());  // with nothing in flight no ACK would do it
  }
  void on_app_limited(std::uint64_t in_flight) override { log_.on_app_limited(in_flight); }
  void on_receiver_drops(std::uint64_t packets) override { receiver_.on_drops(packets); }

  [[nodiscard]] std::uint64_t cwnd() const override {
    return probing() ? window_min() : std::min(cwnd_, receiver_.bytes().value_or(cwnd_));
  }
  [[nodiscard]] DataRate pacing_rate(const RttEstimator& rtt) const override;

 private:
  [[nodiscard]] std::uint64_t window_min() const { return 2 * datagram_; }  // RFC 6817: MIN_CWND
  [[nodiscard]] bool probing() const { return probe_until_.has_value(); }
  [[nodiscard]] Duration target() const;
  void on_round(TimePoint now, const DeliverySample& flight, std::uint64_t in_flight_peak);

  std::uint64_t datagram_;
  Duration initial_rtt_;
  std::uint64_t cwnd_;
  bool slow_start_ = true;
  DeliveryLog log_;
  LossFloor loss_;
  RttFloor floor_;
  LossTally pending_;
  ReceiverWindow receiver_;
  bool marked_ = false;  // this round trip: a queue said that it is too long
  std::uint64_t cwnd_before_marks_ = 0;
  bool slow_start_before_marks_ = false;
  Duration smoothed_rtt_;
  std::optional<Duration> round_rtt_;  // the lowest of this round trip
  bool above_ = false;                 // the one before showed more queue than we want
  std::uint64_t round_end_delivered_ = 0;
  std::uint64_t peak_in_flight_ = 0;  // of this round trip
  std::optional<TimePoint> probe_until_;
};

}  // namespace penstock::engine
