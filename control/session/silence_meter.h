#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "common/time.h"

namespace penstock::control {

/// How long the other end has said nothing while this end could have heard it, and when to look again.
/// A thread that was held up has not listened: what arrived meanwhile is read only after. So a look counts no more than
/// the time it was planned for, and `late_max`, however late it comes. Looks are far apart only after a word was heard,
/// so that a thousand quiet sessions do not wake their thread four times a second each.
/// Source: PROTOCOL section 1, "Life of a session". Threads: one owner. Time: passed in, never read.
class SilenceMeter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Tuning: how late silence may be noticed; less costs more wake-ups of what is silent already.
  static constexpr Duration look_every = std::chrono::milliseconds{250};
  // Tuning: less would call a busy machine's timers a stall, and silence would be noticed late; more would count a
  // stall as silence.
  static constexpr Duration late_max = std::chrono::milliseconds{250};

  void on_heard(Time now) {
    silent_for_ = {};
    counted_to_ = now;
    heard_ = true;
  }
  /// `listening`: a read was under way since the last look.
  void on_look(Time now, bool listening) {
    if (listening && counted_to_) silent_for_ += std::clamp<Duration>(now - *counted_to_, {}, planned_ + late_max);
    counted_to_ = now;
  }
  /// How long until the next look, which is then held against this: up to `idle` where something was heard since the
  /// last one.
  [[nodiscard]] Duration plan_look(Duration idle) {
    planned_ = std::exchange(heard_, false) ? std::max(idle, look_every) : look_every;
    return planned_;
  }
  [[nodiscard]] Duration silent_for() const { return silent_for_; }

 private:
  std::optional<Time> counted_to_;
  Duration planned_ = look_every;
  Duration silent_for_{};
  bool heard_ = false;
};

}  // namespace penstock::control
