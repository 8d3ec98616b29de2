#pragma once

#include "dataplane/engine/congestion/congestion_controller.h"

namespace penstock::engine {

/// Sends at the rate it is told, whatever is lost. Inflight is bounded only so that a dead path is not shouted at for
/// ever: what the rate makes in two smoothed RTTs and 100 ms. Threads: one owner.
class Fixed final : public CongestionController {
 public:
  explicit Fixed(DataRate rate, Duration initial_rtt);

  void on_packets_sent(TimePoint, PacketNumber, std::uint64_t, std::uint64_t) override {}
  void on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) override;
  void on_packets_lost(const LostSample&) override {}
  void on_spurious_loss(TimePoint) override {}
  void on_datagram_size(std::uint64_t) override {}

  [[nodiscard]] std::uint64_t cwnd() const override { return cwnd_; }
  [[nodiscard]] DataRate pacing_rate(const RttEstimator&) const override { return rate_; }

 private:
  [[nodiscard]] std::uint64_t window_for(Duration rtt) const;

  DataRate rate_;
  std::uint64_t cwnd_;
};

}  // namespace penstock::engine
