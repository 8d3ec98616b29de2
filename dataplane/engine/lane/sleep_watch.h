#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// Did this machine sleep (a suspended virtual machine, a stopped process, a clock that jumped)? Then ACKs lay in the
/// socket, and when they were read says nothing of the path: a round trip of the night would be its round trip for
/// seconds after. Who sleeps misses what it asked to be woken for, and while anything is on its way it asks for that
/// within a quarter of a second, or a PTO. Bound: one number. Threads: one owner. Time: passed in, never read.
class SleepWatch {
 public:
  /// Something happens now. `due`: when silence asks for a probe, nullopt: never. `next`: the number that is sent next.
  void on_time(TimePoint now, std::optional<TimePoint> due, std::uint64_t next) {
    if (due && now - *due > late_max) awake_from_ = next;
  }
  /// The packet left after the last sleep: the arrival of its ACK was not slept through.
  [[nodiscard]] bool is_timely(std::uint64_t number) const { return number >= awake_from_; }

 private:
  // Shorter: a busy machine's late turns are taken for sleep, and its round trips, which are what they are, not
  // measured; a deadline may also move so far towards the past when silence ends. Longer: one sample counts an eighth.
  static constexpr Duration late_max = std::chrono::seconds{1};

  std::uint64_t awake_from_ = 0;
};

}  // namespace penstock::engine
