#pragma once

#include <cstdint>

namespace penstock::engine {

/// How often what was repeated is sent once more, while there is nothing else to send and the window has room.
/// Repeats alone need about ln N / ln(1/p) round trips until the last of N packets is there: each waits until the one
/// before is known to be lost. With k copies it takes a k-th of that. Source: PROTOCOL section 4, "the tail".
/// Bound: of all packets ever sent one in tail_copies_divisor, and a quarter of a window. Threads: one owner.
class TailCopies {
 public:
  struct Outlook {
    std::uint64_t sent = 0;               // packets, so far
    std::uint64_t lost = 0;               // of those
    std::uint64_t in_flight = 0;          // packets
    std::uint64_t repeats_in_flight = 0;  // of those, the latest of their bytes that were sent before
    std::uint64_t window = 0;             // packets
  };
  /// Copies that each repeat deserves now.
  [[nodiscard]] std::uint64_t wanted(const Outlook& outlook) const;
  void on_copy_sent() { ++sent_; }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }

 private:
  std::uint64_t sent_ = 0;
};

// Tuning. Less: more waste, of which DESIGN section 5 allows 1 % in all; more: a tail after much loss is repeated in
// round trips.
inline constexpr std::uint64_t tail_copies_divisor = 256;
inline constexpr std::uint64_t tail_copies_max = 8;  // of one repeat

}  // namespace penstock::engine
