#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"

namespace penstock::io {

/// Shares out a socket at which more arrives than its thread takes in. What such a socket drops hits whoever sends just
/// then and tells of no path, so senders do not yield to it: those that came first keep what they have and late-comers
/// starve. From the first drop on, every lane that receives by the socket is granted the same window of credit, all of
/// them together a part of its buffer: equal windows in one queue are equal shares. What is on a long path comes on
/// top: for one round trip, the lane's share of the rate that this thread has reached. Windows halve with each epoch
/// that still drops, grow by an eighth in any other, and are lifted when one lane could have the whole buffer. A lane
/// that is alone is never held: to it the drops are told, and its sender's own window answers. Source: the adaptive
/// credit allocation of H. T. Kung, T. Blackwell, A. Chapman, "Credit-Based Flow Control for ATM Networks" (SIGCOMM
/// 1994). Threads: one owner. Time: passed in, never read.
class ReceiveShare {
 public:
  // Tuning. Shorter: senders that wait long for a processor are not counted; longer: late-comers wait, and drops go on.
  static constexpr Duration epoch = std::chrono::milliseconds{250};
  // Of the buffer that all windows fill together at first; the rest is for what the kernel adds, and for repeats.
  static constexpr std::uint64_t buffer_divisor = 4;
  // Less than this makes more acknowledgements than it is worth.
  static constexpr std::uint64_t window_min = 32 * KiB;
  // The rate is the best of so many epochs: a lull must not make itself true.
  static constexpr std::size_t rate_epochs = 8;

  /// Each lane has one.
  struct Mark {
    std::uint64_t epoch = 0;
  };

  /// `receive_buffer`: bytes of datagrams that the socket holds.
  explicit ReceiveShare(std::uint64_t receive_buffer) : receive_buffer_(receive_buffer) {}

  /// The socket was read. `drops_total`: SO_RXQ_OVFL, running.
  void on_read(TimePoint now, std::size_t bytes, std::uint64_t drops_total);
  /// A lane received something by it, after the on_read that brought it.
  void on_lane(Mark& mark);
  /// What a lane may have beyond what came of it: its credit. Nullopt: as much as it likes.
  [[nodiscard]] std::optional<std::uint64_t> window(Duration rtt_min) const;

 private:
  void end_epoch(TimePoint now);

  std::uint64_t receive_buffer_;
  std::uint64_t epoch_number_ = 1;
  TimePoint epoch_begin_{};
  std::uint64_t bytes_ = 0;  // in this epoch
  std::size_t lanes_ = 0;    // in this epoch
  std::uint64_t drops_before_ = 0;
  std::uint64_t drops_ = 0;

  std::size_t sharers_ = 1;                         // in the last epoch, or in this one if they are more
  std::array<std::uint64_t, rate_epochs> rates_{};  // bytes a second
  std::optional<std::uint64_t> scale_;              // of a lane's part of the buffer, in 16ths; nullopt: nobody is held
};

}  // namespace penstock::io
