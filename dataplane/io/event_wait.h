#pragma once

#include <sys/epoll.h>

#include <optional>
#include <span>

#include "common/time.h"

namespace penstock::io {

/// A worker's sleep: until an epoll instance has events or a time has passed, to the nanosecond. With busy polling it
/// asks again and again for a while before it sleeps: that saves the wake-up, some 5 to 50 us on a sleeping core, and
/// burns the core for as long after each burst. Threads: one owner.
class EventWait {
 public:
  /// `busy_poll` zero: sleep at once.
  explicit EventWait(Duration busy_poll = Duration::zero()) : busy_poll_(busy_poll) {}

  /// As epoll_wait(2): how many of `events` were filled, or -1 with errno. `timeout` nullopt: for ever.
  /// Requires: timeout >= 0.
  int wait(int epoll, std::span<epoll_event> events, std::optional<Duration> timeout) const;

 private:
  Duration busy_poll_;
};

}  // namespace penstock::io
