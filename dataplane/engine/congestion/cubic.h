#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "dataplane/engine/congestion/congestion_controller.h"
#include "dataplane/engine/congestion/hystart.h"

namespace penstock::engine {

inline constexpr std::uint64_t initial_window_packets = 64;  // PROTOCOL section 4
// RFC 9438 falls to 2. Fewer leave no acknowledgements to detect loss by and crawl for ever where loss is random; more
// keep a thin link's queue full.
inline constexpr std::uint64_t window_min_packets = 8;

/// How long CUBIC needs after a loss with so many packets in flight until it has as many again: K of RFC 9438 section
/// 4.2, cbrt(0.3 / 0.4 packets) seconds.
[[nodiscard]] Duration cubic_recovery(std::uint64_t packets);

/// CUBIC with HyStart++, in integers. Source: RFC 9438, RFC 9406. One reduction for each round trip with losses; no
/// collapse after an outage (PROTOCOL section 4: no persistent congestion); a reduction whose losses all turn out to
/// have been spurious is taken back.
/// Coupled: N lanes of one transfer take one flow's share. Each grows an Nth as steeply (C / N, alpha / N, initial
/// window / N) and reduces at the losses of every lane; why that is exactly one flow: dataplane/README.md, "More
/// cores". All lanes count the losses of an event, so each finds out by itself that all of them were spurious.
/// Threads: one owner.
class Cubic final : public CongestionController {
 public:
  Cubic(std::uint64_t datagram_bytes, Duration initial_rtt, std::size_t lanes = 1);

  void on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) override;
  void on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) override;
  void on_packets_lost(const LostSample& sample) override;
  void on_spurious_loss(TimePoint sent_at) override;
  void on_packets_marked(const MarkedSample& sample) override;
  void on_marks_withdrawn(TimePoint now) override;
  void on_datagram_size(std::uint64_t bytes) override {
    datagram_ = bytes;
    cwnd_ = std::max(cwnd_, window_min());  // with nothing in flight no ACK would do it
  }
  [[nodiscard]] std::optional<CongestionNews> take_news() override;
  void on_sibling_news(TimePoint now, const CongestionNews& news) override;

  [[nodiscard]] std::uint64_t cwnd() const override { return cwnd_; }
  [[nodiscard]] DataRate pacing_rate(const RttEstimator& rtt) const override;

  [[nodiscard]] bool in_slow_start() const { return !ssthresh_ || cwnd_ < *ssthresh_; }

 private:
  struct Curve {                     // one epoch of congestion avoidance; RFC 9438 section 4.2
    std::optional<TimePoint> start;  // of the epoch
    std::uint64_t w_max = 0;         // window before the last reduction
    std::uint64_t w_est = 0;         // what Reno would have (section 4.3)
    Duration k{};                    // from the start until w_max is reached again
  };
  struct Undo {  // what the last reduction replaced
    std::uint64_t cwnd;
    std::optional<std::uint64_t> ssthresh;
    Curve curve;
    std::uint64_t losses;  // that are not known to be spurious
  };
  void grow_slow_start(const AckedSample& sample, const RttEstimator& rtt);
  void grow_avoidance(const AckedSample& sample, const RttEstimator& rtt);
  void begin_epoch(TimePoint now);
  [[nodiscard]] std::uint64_t window_at(Duration since_start) const;
  void reduce(TimePoint now, TimePoint newest_sent_at, std::uint64_t packets);
  void reduce_for_marks(TimePoint now, TimePoint newest_sent_at);
  void begin_recovery(TimePoint now, std::uint64_t percent);
  void restore(const Undo& undo);
  void take_back(TimePoint sent_at, std::uint64_t packets);
  /// Of all lanes; but a lane of less than two packets stands still.
  [[nodiscard]] std::uint64_t window_min() const {
    return std::max<std::uint64_t>(window_min_packets / lanes_, 2) * datagram_;
  }

  std::uint64_t lanes_;
  std::uint64_t datagram_;
  Duration initial_rtt_;
  std::uint64_t cwnd_;
  std::optional<std::uint64_t> ssthresh_;
  std::optional<TimePoint> recovery_start_;
  Curve curve_;
  std::optional<Undo> undo_;
  std::optional<Undo> before_marks_;  // since which no packet came without one
  HyStart hystart_;
  std::uint64_t peak_in_flight_ = 0;    // of this round trip
  std::uint64_t peak_before_ = 0;       // of the one before
  TimePoint heard_at_{};                // the last ACK
  PacketNumber round_end_;              // first number of the next round trip
  PacketNumber next_;                   // one past the last sent
  std::optional<CongestionNews> news_;  // with siblings: not told yet
  std::uint64_t slow_starts_over_ = 0;  // likewise: of all lanes, by their own word
};

}  // namespace penstock::engine
