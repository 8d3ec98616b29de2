#pragma once

#include <asio/awaitable.hpp>
#include <asio/thread_pool.hpp>
#include <atomic>
#include <cstddef>
#include <functional>

#include "common/result.h"

namespace penstock::control {

/// Where RSA signatures (2.5 ms each) are made: one thread of low priority (nice 5) behind a bounded queue, so that a
/// crowd of strangers at the gate costs the sessions inside nothing but a share of one core.
/// Threads: async_run may be called from any. Lifetime: destroyed before the io_context of its callers, and when no
/// thread runs that any more; callers still waiting are then destroyed with it.
class HandshakeExecutor {
 public:
  /// Tuning: as many as the waiting room has places, so that a hundred clients who come at one moment all get in. They
  /// are 0.6 s of work; on two cores beside five busy threads nice 5 gets an eighth of a core and 5 s for them, half of
  /// what a client has. (Nice 10 would take 15 s.)
  static constexpr std::size_t queue_max_default = 256;
  explicit HandshakeExecutor(std::size_t queue_max = queue_max_default);
  /// Lets the job that runs end, drops the others.
  ~HandshakeExecutor();
  HandshakeExecutor(const HandshakeExecutor&) = delete;
  HandshakeExecutor& operator=(const HandshakeExecutor&) = delete;

  /// Runs `work` on the thread and resumes the caller on its own executor. SERVER_BUSY, without running anything, when
  /// `queue_max` jobs wait or run. `work` must own what it uses: it may run after a destroyed caller.
  asio::awaitable<Status> async_run(std::function<void()> work);
  /// The same, never refused: for who has been let in before and would lose what was spent on him. The caller bounds
  /// how many there are.
  asio::awaitable<void> async_go_on(std::function<void()> work);
  /// Jobs waiting or running.
  [[nodiscard]] std::size_t load() const { return load_.load(std::memory_order_relaxed); }

 private:
  asio::awaitable<void> async_work(std::function<void()> work);

  const std::size_t queue_max_;
  std::atomic<std::size_t> load_{0};
  asio::thread_pool pool_;
};

}  // namespace penstock::control
