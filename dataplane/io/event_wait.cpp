#include "dataplane/io/event_wait.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>

#include "dataplane/io/monotonic_now.h"

namespace penstock::io {
namespace {

int sleep_until_event(int epoll, std::span<epoll_event> events, std::optional<Duration> timeout) {
  const int capacity = static_cast<int>(events.size());
  if (!timeout) return ::epoll_wait(epoll, events.data(), capacity, -1);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
  const timespec span{.tv_sec = seconds.count(), .tv_nsec = (*timeout - seconds).count()};
  const int count = ::epoll_pwait2(epoll, events.data(), capacity, &span, nullptr);
  if (count >= 0 || errno != ENOSYS) return count;
  // Before Linux 5.11. Rounded up: waking early would spin until the deadline.
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(*timeout).count();
  return ::epoll_wait(epoll, events.data(), capacity, static_cast<int>(std::min<std::int64_t>(milliseconds, 60'000)));
}

}  // namespace

int EventWait::wait(int epoll, std::span<epoll_event> events, std::optional<Duration> timeout) const {
  const Duration spin = timeout ? std::min(busy_poll_, *timeout) : busy_poll_;
  if (spin > Duration::zero()) {
    const TimePoint begun = monotonic_now();
    Duration spent{};
    do {
      const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 0);
      if (count != 0) return count;
      spent = monotonic_now() - begun;
    } while (spent < spin);
    if (timeout) {
      if (spent >= *timeout) return 0;
      *timeout -= spent;
    }
  }
  return sleep_until_event(epoll, events, timeout);
}

}  // namespace penstock::io
