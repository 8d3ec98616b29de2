#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/events.h"

namespace penstock::engine {

// Specification: the control stream of a direction is messages, each with its length (4) in front. A message is 1 byte
// to control_message_max; at most control_window bytes of the stream may be sent beyond the oldest not acknowledged.
inline constexpr std::size_t control_message_max = 1 * MiB;
inline constexpr std::uint64_t control_window = 256 * KiB;
/// Tuning: bytes queued and not acknowledged. Two of the largest messages fit.
inline constexpr std::size_t control_queue_max = 2 * (control_message_max + 4);

/// The sending end of a control stream: keeps what is not acknowledged. Threads: one owner.
class ControlSender {
 public:
  /// False: empty, too long, or the queue is full.
  [[nodiscard]] bool queue(std::span<const std::byte> message);

  struct Chunk {
    std::uint64_t offset;
    std::span<const std::byte> data;  // dies at the next non-const call
  };
  /// What leaves next: lost bytes first, then new ones within the window. nullopt: nothing.
  [[nodiscard]] std::optional<Chunk> next(std::size_t length_max) const;
  /// The chunk that next() gave was sent.
  void on_sent(const Chunk& chunk);
  void on_acked(bytes::Interval range);
  void on_lost(bytes::Interval range);
  /// A probe is due: the oldest bytes that wait for their ACK are sent again. False: none do.
  bool resend_oldest();
  [[nodiscard]] bool has_something() const { return next(1).has_value(); }
  [[nodiscard]] std::uint64_t queued() const { return end() - first_; }

 private:
  [[nodiscard]] std::uint64_t end() const { return first_ + (buffer_.size() - head_); }

  std::vector<std::byte> buffer_;  // stream bytes [first_, end()) from head_ on
  std::size_t head_ = 0;
  std::uint64_t first_ = 0;     // oldest not acknowledged
  std::uint64_t frontier_ = 0;  // never sent from here on
  bytes::IntervalSet acked_;    // beyond first_
  bytes::IntervalSet lost_;
};

/// The receiving end: puts the stream together and cuts it into messages.
/// Bound: control_window bytes out of order, in at most control_holes_max pieces, and one message. Memory is taken when
/// it is needed. Threads: one owner.
class ControlReceiver {
 public:
  /// Appends the messages that became complete to `messages`. An error ends the lane.
  [[nodiscard]] TransportError on_data(std::uint64_t offset, std::span<const std::byte> data,
                                       std::vector<std::vector<std::byte>>& messages);

 private:
  [[nodiscard]] bool deliver(std::span<const std::byte> data, std::vector<std::vector<std::byte>>& messages);

  static constexpr std::size_t control_holes_max = 4096;

  std::uint64_t delivered_ = 0;   // stream bytes taken in order
  std::vector<std::byte> ahead_;  // stream byte n lies at n modulo control_window; empty until needed
  bytes::IntervalSet ahead_ranges_{control_holes_max};
  std::vector<std::byte> message_;  // length and what came of the current message
};

}  // namespace penstock::engine
