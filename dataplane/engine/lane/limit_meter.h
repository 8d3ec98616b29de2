#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "dataplane/engine/events.h"

namespace penstock::engine {

/// What holds a sender back, told from the moments at which it was asked for a batch and from what each gave.
/// A sender that catches up with its window, its pacer, its source or its credit again and again is held back by that,
/// however busy it is in between; only if it hardly ever does, its own processor is the limit: the thread seals and
/// sends without a break, waits for others on its core, or comes too late for the moment at which the pacer would have
/// let it go on. Likewise a window stands before the pacer, which spreads what the window lets out.
/// So once a `window` of time: the worst of window, credit and source, if together they took a tenth of it; else the
/// pacer, if that did; else sender_cpu. Before the first one is over, what it is at the moment.
/// Threads: one owner. Time: passed in, never read.
class LimitMeter {
 public:
  // Tuning: longer hides what changes, shorter sees less than a round trip.
  static constexpr Duration window = std::chrono::milliseconds{250};
  static constexpr int regular_share = 10;  // of the window: less is not worth a name, since little would be gained

  /// No more can leave at `now`, because of `why`. `until`: when that ends by itself, if it does.
  void on_blocked(TimePoint now, SenderLimit why, std::optional<TimePoint> until = std::nullopt);
  /// Nothing but our own speed holds the sender back: a batch left at `now` that only its size ended, or the pacer
  /// waits for much that we did not send in time.
  void on_busy(TimePoint now);

  [[nodiscard]] SenderLimit limit() const { return judged_ ? *judged_ : state_; }

 private:
  static constexpr std::size_t limit_count = static_cast<std::size_t>(SenderLimit::sender_cpu) + 1;
  void enter(TimePoint now, SenderLimit state, std::optional<TimePoint> until);
  [[nodiscard]] Duration& spent(SenderLimit limit) { return spent_[static_cast<std::size_t>(limit)]; }
  [[nodiscard]] SenderLimit judge();

  SenderLimit state_ = SenderLimit::nothing_to_send;
  std::optional<TimePoint> since_;  // of the state, as far as its time is not counted yet
  std::optional<TimePoint> until_;
  TimePoint window_begin_{};
  std::array<Duration, limit_count> spent_{};
  std::optional<SenderLimit> judged_;
};

}  // namespace penstock::engine
