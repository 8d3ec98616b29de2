#pragma once

#include <algorithm>
#include <chrono>

#include "common/time.h"

namespace penstock::io {

/// Until when a worker knows all that came in: time-outs are judged by that moment, never by a later one. A thread that
/// is put off its core between the kernel's answer and its own next look at the clock would otherwise take for silence
/// what waits in its sockets. Threads: one owner.
class Heard {
 public:
  /// How long sockets that are never empty can hold time-outs up. Less than a full receive buffer takes to read:
  /// acknowledgements that wait in it look lost; more: a flood stops the clock for longer.
  static constexpr Duration unheard_max = std::chrono::milliseconds{25};

  /// The kernel was asked at `asked_at`, or later, which sockets hold something, and those were read: each until it was
  /// empty (`all_read`), or in part.
  void on_read(TimePoint asked_at, bool all_read) {
    until_ = std::max(until_, all_read ? asked_at : asked_at - unheard_max);
  }
  /// Never decreases.
  [[nodiscard]] TimePoint until() const { return until_; }

 private:
  TimePoint until_{};
};

}  // namespace penstock::io
