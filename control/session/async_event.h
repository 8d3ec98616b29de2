#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <list>
#include <optional>
#include <system_error>

#include "common/time.h"

namespace penstock::control {

/// Lets coroutines of one thread wait for each other: a condition variable without lost wake-ups.
/// Threads: everything on the executor that it was made with. Lifetime: outlives whoever waits.
class AsyncEvent {
 public:
  explicit AsyncEvent(const asio::any_io_executor& executor) : executor_(executor) {}

  /// Wakes all who wait; if nobody does, the next wait returns at once.
  void notify() {
    raised_ = true;
    for (auto* waiter : waiters_) waiter->cancel();
  }
  /// Until notify(), or for `at_most`. May also return early: callers look at their own condition.
  asio::awaitable<void> async_wait(std::optional<Duration> at_most = std::nullopt) {
    if (!raised_) {
      asio::steady_timer timer{executor_};
      if (at_most) {
        timer.expires_after(*at_most);
      } else {
        timer.expires_at(std::chrono::steady_clock::time_point::max());
      }
      const auto place = waiters_.insert(waiters_.end(), &timer);
      std::error_code ignored;  // a cancelled timer is the wake-up itself
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      waiters_.erase(place);
    }
    raised_ = false;
  }

 private:
  asio::any_io_executor executor_;
  std::list<asio::steady_timer*> waiters_;
  bool raised_ = false;
};

}  // namespace penstock::control
