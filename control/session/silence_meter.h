#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "common/time.h"

namespace penstock::control {

/// How long the other end has said nothing while this end could have heard it.
/// A thread that was held up has not listened: what arrived meanwhile is read only after. So between two looks no more
/// counts than `look_max`, however far apart they are.
/// Source: PROTOCOL section 1, "Life of a session". Threads: one owner. Time: passed in, never read.
class SilenceMeter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Tuning: twice the interval at which SessionLink looks. Less would call a busy machine's timers a stall, and silence
  // would be noticed late; more would count a stall as silence.
  static constexpr Duration look_max = std::chrono::milliseconds{500};

  void on_heard() { silent_for_ = {}; }
  /// `listening`: a read was under way since the last look.
  void on_look(Time now, bool listening) {
    if (listening && last_look_) silent_for_ += std::min<Duration>(now - *last_look_, look_max);
    last_look_ = now;
  }
  [[nodiscard]] Duration silent_for() const { return silent_for_; }

 private:
  std::optional<Time> last_look_;
  Duration silent_for_{};
};

}  // namespace penstock::control
