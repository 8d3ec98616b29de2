#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "common/error.h"
#include "common/random.h"
#include "common/time.h"

namespace penstock::control {

// Tuning: before the second attempt, and what pauses double up to. Shorter ones are more work for a daemon that has too
// much already; longer ones leave room unused that has become free.
inline constexpr Duration busy_pause_first = std::chrono::milliseconds{250};
inline constexpr Duration busy_pause_last = std::chrono::seconds{4};
// Tuning: what an attempt needs at the least; with less time left none is begun.
inline constexpr Duration busy_attempt_min = std::chrono::milliseconds{500};

/// When a daemon that says SERVER_BUSY is asked again: after pauses that double, within the time that the user allows
/// for a connection. Each is drawn from its upper half, so that those who were turned away together do not come back
/// together. Whatever else a daemon says is its last word.
/// Source: exponential back-off with jitter, as for TCP's SYN or in "Exponential Backoff And Jitter" (M. Brooker,
/// 2015). Threads: one owner. Time: passed in, never read.
class BusyPatience {
 public:
  using Clock = std::chrono::steady_clock;

  BusyPatience(Clock::time_point now, Duration connect_timeout, Rng rng)
      : deadline_(now + std::chrono::duration_cast<Clock::duration>(std::min<Duration>(connect_timeout, time_max))),
        rng_(rng) {}

  /// What is left for the next attempt, the first included.
  [[nodiscard]] Duration left(Clock::time_point now) const {
    return std::max<Duration>(deadline_ - now, std::chrono::milliseconds{1});
  }
  /// An attempt ended so: how long to wait before the next one. Nullopt: this was the last.
  [[nodiscard]] std::optional<Duration> on_failed(const Error& error, Clock::time_point now) {
    time_is_up_ = now + busy_attempt_min > deadline_;
    if (error.code != ErrorCode::SERVER_BUSY) return std::nullopt;
    ++refusals_;
    busy_ = error;
    const auto most = static_cast<std::uint64_t>(grown_.count());
    const Duration pause{static_cast<Duration::rep>(rng_.between(most / 2, most))};
    grown_ = std::min(2 * grown_, busy_pause_last);
    if (now + pause + busy_attempt_min > deadline_) return std::nullopt;
    return pause;
  }
  /// What is told of the last attempt: that it was not the only one. A later attempt has less time than the first, so
  /// where a daemon that was busy does not answer one in time, that it is busy is what there is to tell.
  [[nodiscard]] Error last_word(Error error) const {
    const bool unanswered = time_is_up_ && error.side == ErrorSide::local &&
                            (error.code == ErrorCode::TIMED_OUT || error.code == ErrorCode::CONNECT_REFUSED);
    if (unanswered && busy_) error = *busy_;
    if (error.code == ErrorCode::SERVER_BUSY && refusals_ > 1)
      error.message = reason_of(error) + " (so it said " + std::to_string(refusals_) +
                      " times); try again later, or wait longer with --connect-timeout";
    return error;
  }
  /// The error without its advice to try again, which is what we do.
  [[nodiscard]] static std::string reason_of(const Error& error) {
    return error.message.substr(0, error.message.find("; try again"));
  }

 private:
  static constexpr Duration time_max = std::chrono::hours{24 * 365};  // far from the end of a clock

  Clock::time_point deadline_;
  Rng rng_;
  Duration grown_ = busy_pause_first;
  bool time_is_up_ = false;  // as of the last attempt's end
  unsigned refusals_ = 0;
  std::optional<Error> busy_;  // the last of them
};

}  // namespace penstock::control
