#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"

namespace penstock::io {

/// Decides when a socket is looked at next: as soon as something arrives, or after a rest in which what arrives is left
/// to gather. A wake-up costs some microseconds however little it brings, and where the path joins no packets (no GRO)
/// each packet is one. So a socket that keeps waking us for little is polled at the pace at which its lanes need to see
/// their datagrams, and watched again as soon as a rest has gathered nothing worth resting for.
/// A rest is bounded by what the lanes say they can do without (`patience`) and by the socket's buffer at the rate
/// measured. It may always be ended early; its owner does so when a lane's deadline is due.
/// Source: NAPI of Linux; J. Mogul, K. Ramakrishnan, "Eliminating Receive Livelock" (1997).
/// Threads: one owner. Time: passed in, never read.
class ReceiveModeration {
 public:
  // Tuning. Longer: a hurried lane on the same socket, and closures that the rest delays, notice; shorter: more than
  // some thousand wake-ups a second.
  static constexpr Duration rest_max = std::chrono::milliseconds{1};
  // A timer costs as much as the wake-up that it saves.
  static constexpr Duration rest_min = std::chrono::microseconds{50};
  // Wake-ups in a row that brought little, each sooner than a rest is long. Fewer: the first packets of a lane, whose
  // round trips count most, wait; more: moderation comes late.
  static constexpr std::uint32_t busy_reads_min = 16;
  // A wake-up that brings so much is worth its cost.
  static constexpr std::size_t little = 32 * KiB;
  // For so long one lane that can not wait speaks for all of its socket.
  static constexpr Duration patience_memory = std::chrono::milliseconds{50};
  // Of the receive buffer a rest may fill a quarter: the rest is for when we come late.
  static constexpr std::uint64_t buffer_divisor = 4;
  // What the kernel's bookkeeping adds to a message in the buffer (sk_buff's truesize), about.
  static constexpr std::uint64_t message_overhead = 1 * KiB;

  /// What one look at the socket brought.
  struct Read {
    std::size_t messages = 0;  // from the kernel: without us each would have been a wake-up
    std::size_t bytes = 0;
    bool emptied = true;  // nothing was left behind
    Duration patience{};  // how long the least patient of those lanes could have waited; see Lane::patience
  };

  /// `receive_buffer`: of the socket, as the kernel granted it.
  explicit ReceiveModeration(std::size_t receive_buffer) : receive_buffer_(receive_buffer) {}

  void on_read(TimePoint now, const Read& read);
  /// When the socket is to be read next, whether anything is known to be there or not. Nullopt: as soon as it is
  /// readable.
  [[nodiscard]] std::optional<TimePoint> rest_until() const { return rest_until_; }

 private:
  void note_patience(TimePoint now, const Read& read);
  void watch();
  [[nodiscard]] Duration longest_rest(TimePoint now) const;

  std::uint64_t receive_buffer_;
  std::optional<TimePoint> rest_until_;
  std::optional<TimePoint> last_read_;
  std::uint32_t busy_reads_ = 0;
  // Since `gathering_from_`: the first busy read in a row, or the beginning of the rest.
  TimePoint gathering_from_{};
  std::uint64_t gathered_messages_ = 0;
  std::uint64_t gathered_bytes_ = 0;
  Duration patience_ = rest_max;
  TimePoint patience_until_{};
};

}  // namespace penstock::io
