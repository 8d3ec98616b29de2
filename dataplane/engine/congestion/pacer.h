#pragma once

#include <cstdint>

#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

/// Spreads packets over time: a bucket of bytes that fills at the pacing rate.
/// Bucket: max(2 packets, min(64 KiB, rate x 250 us)); up to 1 ms of the rate above 2 Gbit/s, 1 MiB at most (PROTOCOL
/// section 4). May go into debt for packets that do not wait (probes).
///
/// Bank: a thread that wakes late finds the bucket full, and what ran over would be lost rate. While there is more to
/// send, it is banked instead, 25 ms of the rate at most, and paid back by filling the bucket a quarter faster; a burst
/// is never longer for it. So in any time t at one rate no more leaves than rate x (t + 25 ms) and one bucket: over any
/// quarter of a second at most 9/8 of the rate, down to 4 Mbit/s (there the bucket is two packets of 1500 bytes); nor
/// more than 5/4 of the rate and a bucket over any time however short. Threads: one owner.
class Pacer {
 public:
  /// `packet_bytes`: a full datagram with its IP overhead.
  explicit Pacer(std::uint64_t packet_bytes) : packet_bytes_(packet_bytes) {}

  /// What has accrued so far counts at the old rate. Requires: a rate above zero.
  void set_rate(TimePoint now, DataRate rate);
  void set_packet_bytes(std::uint64_t bytes) { packet_bytes_ = bytes; }
  [[nodiscard]] std::uint64_t packet_bytes() const { return packet_bytes_; }
  [[nodiscard]] DataRate rate() const { return rate_; }

  /// From now on the pacer alone holds the sender back: time that it misses is banked.
  void on_backlog(TimePoint now);
  /// From now on something else does, or there is nothing to send: no time is banked, and what was is forgotten.
  void on_idle(TimePoint now);

  /// Bytes that may leave now, IP overhead included.
  [[nodiscard]] std::uint64_t available(TimePoint now) const;
  void on_sent(TimePoint now, std::uint64_t bytes);
  /// Less is not worth a batch: whole packets, one at least and 64 KiB at most, of seven eighths of a bucket; of three
  /// quarters while more than a bucket is banked, so that being a little late again does not run over again.
  [[nodiscard]] std::uint64_t worthwhile() const;
  /// When so much will be there.
  [[nodiscard]] TimePoint ready_at(TimePoint now) const;
  [[nodiscard]] std::uint64_t burst() const;
  /// Bytes that are still to be paid back.
  [[nodiscard]] std::uint64_t banked(TimePoint now) const;
  /// More than half of what can be banked is: the thread comes so late, or so seldom, that the rate is hardly kept.
  [[nodiscard]] bool far_behind(TimePoint now) const;
  /// No more can be banked: the thread came too late, and the rate is not kept.
  [[nodiscard]] bool loses_rate(TimePoint now) const;

 private:
  struct Account {
    std::int64_t level = 0;  // in the bucket; negative: debt
    std::uint64_t bank = 0;
  };
  [[nodiscard]] Account account(TimePoint now) const;
  void settle(TimePoint now);

  DataRate rate_ = DataRate::megabits_per_second(1);
  std::uint64_t packet_bytes_;
  Account settled_;  // at `at_`
  bool started_ = false;
  bool backlogged_ = false;
  TimePoint at_{};
};

}  // namespace penstock::engine
