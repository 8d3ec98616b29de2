#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::sim {

/// What TCP's bbr of version 1 does about policers: two stretches of at least four round trips, each of which lost a
/// fifth and more, and that carried the same within an eighth, are taken for one's work; then their mean is the rate
/// for 48 round trips, and no probe is sent.
/// Source: Linux' tcp_bbr.c, bbr_lt_bw_sampling ("long-term bandwidth"). Integers only. Time: passed in.
class TcpBbrPoliced {
 public:
  /// One ACK. Counts are of packets since the beginning.
  struct Ack {
    TimePoint at;
    std::uint64_t delivered = 0;
    std::uint64_t lost = 0;
    bool round_start = false;
    bool shows_loss = false;
    bool probes_bandwidth = false;  // the mode
  };

  void on_ack(const Ack& ack);
  /// Packets a second, while a policer is believed in.
  [[nodiscard]] std::optional<std::uint64_t> rate() const { return in_use_ ? rate_ : std::nullopt; }

 private:
  void begin_stretch(const Ack& ack);
  void end_stretch(const Ack& ack, std::uint64_t rate);

  std::optional<std::uint64_t> rate_;  // of the last stretch, or in use
  bool in_use_ = false;
  bool measuring_ = false;
  std::uint32_t rounds_ = 0;  // of the stretch, or of use
  Ack began_;
};

}  // namespace penstock::sim
