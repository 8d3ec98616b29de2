#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// The receiver's own limit: what its socket drops for want of a processor (SO_RXQ_OVFL, as ACKs report) is no word of
/// the path. So many of the losses still to come are excused, and set a window of their own: seven eighths of what was
/// allowed, at most once a round trip, and an eighth more after each tenth of a second without another.
/// Bound: a fixed size. Threads: one owner. Time: passed in, never read.
class ReceiverWindow {
 public:
  /// What was allowed when losses came to light.
  struct Allowed {
    std::uint64_t cwnd;
    std::uint64_t least;  // the window is never smaller
    Duration round_trip;
  };

  /// The peer tells of so many more, which may be lost to us already or show later.
  void on_drops(std::uint64_t packets) { drops_ += packets; }
  /// Each round trip: drops that showed in no loss of ours were another lane's.
  void on_round() { drops_ /= 2; }

  /// Were so many lost packets all dropped by the receiver? Changes nothing.
  [[nodiscard]] bool explains(std::uint64_t packets) const { return packets <= drops_; }
  /// So many were lost. How many of them the receiver dropped; those are used up, and the window shrinks for them.
  [[nodiscard]] std::uint64_t excuse(TimePoint now, std::uint64_t packets, const Allowed& allowed) {
    const std::uint64_t excused = std::min(drops_, packets);
    drops_ -= excused;
    if (excused > 0 && (!window_ || now - changed_at_ > allowed.round_trip)) {
      const std::uint64_t held = window_.value_or(allowed.cwnd);
      window_ = std::max(std::min(held, allowed.cwnd) * 7 / 8, allowed.least);
      changed_at_ = now;
    }
    return excused;
  }
  /// Each ACK: grows, and is no more once it is more than twice what the path allows.
  void on_acked(TimePoint now, std::uint64_t cwnd) {
    if (!window_ || now - changed_at_ <= recovery) return;
    changed_at_ = now;
    window_ = *window_ + *window_ / 8;
    if (*window_ > 2 * cwnd) window_.reset();
  }

  /// Bytes in flight at most; nullopt: the receiver keeps up.
  [[nodiscard]] std::optional<std::uint64_t> bytes() const { return window_; }

 private:
  // Sooner: the socket overflows again before its reader was given a processor; later: a short pause of his costs rate
  // for long.
  static constexpr Duration recovery = std::chrono::milliseconds{100};

  std::uint64_t drops_ = 0;  // losses still to come that were no path's
  std::optional<std::uint64_t> window_;
  TimePoint changed_at_{};
};

}  // namespace penstock::engine
