#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// Everything an engine can be waiting for.
enum class Timer : std::uint8_t {
  ack,           // an acknowledgement is due
  loss,          // a hole below the largest acknowledged number grows too old
  probe,         // PTO
  repair,        // a generation has had its time
  persist,       // blocked by credit with nothing in flight, or waiting for data in silence: ask again
  pacing,        // the next burst may leave
  key_discard,   // the previous epoch's keys go
  close_repeat,  // say goodbye once more
  stream,        // the stream's next message may leave, or its acknowledgement is due
  challenge,     // the address that the peer seems to have moved to is asked again, or given up
  size_probe,    // nothing was heard of a probe for a larger datagram
};
inline constexpr std::size_t timer_count = static_cast<std::size_t>(Timer::size_probe) + 1;  // the last

/// One deadline for each timer; the earliest is what poll_timeout says.
class TimerTable {
 public:
  [[nodiscard]] std::optional<TimePoint>& operator[](Timer timer) { return due_[static_cast<std::size_t>(timer)]; }
  [[nodiscard]] const std::optional<TimePoint>& operator[](Timer timer) const {
    return due_[static_cast<std::size_t>(timer)];
  }
  [[nodiscard]] std::optional<TimePoint> earliest() const {
    std::optional<TimePoint> first;
    for (const auto& due : due_)
      if (due && (!first || *due < *first)) first = due;
    return first;
  }
  /// True, and the timer is cleared, when it is due.
  [[nodiscard]] bool take_if_due(Timer timer, TimePoint now) {
    auto& due = (*this)[timer];
    if (!due || *due > now) return false;
    due.reset();
    return true;
  }
  void clear() { due_.fill(std::nullopt); }

 private:
  std::array<std::optional<TimePoint>, timer_count> due_{};
};

}  // namespace penstock::engine
