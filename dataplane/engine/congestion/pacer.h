#pragma once

#include <cstdint>

#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

/// Spreads packets over time: a bucket of bytes that fills at the pacing rate.
/// Bucket: max(2 packets, min(64 KiB, rate x 250 us)); up to 1 ms of the rate above 2 Gbit/s, 1 MiB at most (PROTOCOL
/// section 4). May go into debt for packets that do not wait (probes). Threads: one owner.
class Pacer {
 public:
  /// `packet_bytes`: a full datagram with its IP overhead.
  explicit Pacer(std::uint64_t packet_bytes) : packet_bytes_(packet_bytes) {}

  /// What has accrued so far counts at the old rate. Requires: a rate above zero.
  void set_rate(TimePoint now, DataRate rate);
  void set_packet_bytes(std::uint64_t bytes) { packet_bytes_ = bytes; }
  [[nodiscard]] std::uint64_t packet_bytes() const { return packet_bytes_; }
  [[nodiscard]] DataRate rate() const { return rate_; }

  /// Bytes that may leave now, IP overhead included.
  [[nodiscard]] std::uint64_t available(TimePoint now) const;
  void on_sent(TimePoint now, std::uint64_t bytes);
  /// Less is not worth a batch: half a bucket, one packet at least, 64 KiB at most.
  [[nodiscard]] std::uint64_t worthwhile() const;
  /// When so much will be there.
  [[nodiscard]] TimePoint ready_at(TimePoint now) const;
  [[nodiscard]] std::uint64_t burst() const;

 private:
  [[nodiscard]] std::int64_t level(TimePoint now) const;

  DataRate rate_ = DataRate::megabits_per_second(1);
  std::uint64_t packet_bytes_;
  std::int64_t level_ = 0;
  bool started_ = false;
  TimePoint at_{};
};

}  // namespace penstock::engine
