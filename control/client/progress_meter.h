#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "common/time.h"
#include "control/client/observer.h"
#include "control/client/transfer_tally.h"
#include "control/session/transfer_run.h"

namespace penstock::control {

/// Makes what the user sees of a transfer under way out of what the run counts: adds the rate of the last seconds, and
/// from it the time that is left. Time: passed in, never decreases. Bound: the samples of `rate_window`.
/// Threads: one owner.
class ProgressMeter {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // Tuning: shorter, and the rate jumps with every burst of a disk; longer, and it lags behind a change.
  static constexpr Duration rate_window = std::chrono::seconds{3};

  /// One sample, shown. `sender`: of whichever end sends. `limited_by` is kept as it is given. What was shown as done
  /// stays so while a new session finds it again, and while a repair round does.
  [[nodiscard]] Progress sample(TimePoint now, const RunStats& stats, const SenderNumbers& sender,
                                std::string_view limited_by);

 private:
  /// Bit/s of first-time bytes; nothing before there is a tenth of a second to judge by.
  std::uint64_t rate_at(TimePoint now, std::uint64_t moved);

  struct Sample {
    TimePoint at;
    std::uint64_t bytes;
  };
  std::deque<Sample> samples_;
  std::uint64_t bytes_shown_ = 0;
  std::uint64_t files_shown_ = 0;
};

/// How long nothing has become durable: what --timeout counts. Time: passed in, never decreases.
class StallWatch {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  explicit StallWatch(TimePoint begun) : last_(begun) {}

  /// The counts of a session begin at zero; the time goes on.
  void on_session_begun() { durable_ = 0; }
  /// `durable`: all that this session has made durable so far, in whatever unit grows.
  void on_durable(TimePoint now, std::uint64_t durable) {
    if (durable <= durable_) return;
    durable_ = durable;
    last_ = now;
  }
  [[nodiscard]] Duration stalled(TimePoint now) const { return std::chrono::duration_cast<Duration>(now - last_); }

 private:
  std::uint64_t durable_ = 0;
  TimePoint last_;
};

}  // namespace penstock::control
