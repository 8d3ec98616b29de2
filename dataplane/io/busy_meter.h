#pragma once

#include <chrono>
#include <cstdint>

#include "common/time.h"

namespace penstock::io {

/// How much of its time a thread does not rest: what it computes, and what it waits for a processor. A receiver that is
/// slower than its path can not be told from a slow path by the sender, whose window keeps the queue short; by this it
/// can. Threads: one owner. Time: passed in, never read.
class BusyMeter {
 public:
  /// Tuning: as long as the window over which a sender judges what holds it back (engine/lane/limit_meter.h).
  static constexpr Duration window = std::chrono::milliseconds{250};

  /// It asked for rest at `begin` and worked again from `end` on.
  void on_rested(TimePoint begin, TimePoint end) {
    if (window_begin_ == TimePoint{}) window_begin_ = begin;
    rested_ += end - begin;
    if (end - window_begin_ < window) return;
    percent_ = static_cast<std::uint8_t>(100 - rested_ * 100 / (end - window_begin_));
    window_begin_ = end;
    rested_ = {};
  }
  /// Of the last window that is over.
  [[nodiscard]] std::uint8_t percent() const { return percent_; }

 private:
  TimePoint window_begin_{};
  Duration rested_{};
  std::uint8_t percent_ = 0;
};

}  // namespace penstock::io
