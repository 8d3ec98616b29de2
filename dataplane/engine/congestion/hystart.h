#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

/// HyStart++: says when slow start has filled the path, by the growth of the RTT from round to round, before loss does.
/// Source: RFC 9406, with L unbounded since we pace (section 4.3). One difference: the RFC compares the minimum of the
/// whole round so far, which keeps the low samples of its beginning and so sees a queue a round trip late; we compare
/// the minimum of the last four samples. Threads: one owner.
class HyStart {
 public:
  enum class Phase : std::uint8_t { slow_start, conservative, done };

  /// One RTT sample, from the ACK of `largest`; `next` is the number that is sent next.
  void on_sample(PacketNumber largest, PacketNumber next, Duration rtt);
  void restart() { *this = {}; }
  [[nodiscard]] Phase phase() const { return phase_; }

 private:
  void begin_round(PacketNumber next);

  Phase phase_ = Phase::slow_start;
  std::optional<PacketNumber> round_end_;
  std::optional<Duration> last_round_rtt_;
  std::optional<Duration> this_round_rtt_;
  std::array<Duration, 4> recent_{};  // our ACKs come eight to a round trip; the RFC takes 8 of one for each packet
  Duration baseline_rtt_{};           // of the round that made us careful
  std::uint64_t samples_ = 0;
  std::uint32_t careful_rounds_ = 0;
};

}  // namespace penstock::engine
