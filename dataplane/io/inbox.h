#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "common/unique_fd.h"

namespace penstock::io {

/// Closures from any thread for one thread, which sleeps in epoll and is woken by a descriptor.
/// Bound: `max` closures. Full: the caller waits until the owner takes some; the owner itself never waits, since nobody
/// else would make room. Nor do owners of other inboxes, since two could wait for each other: what workers tell each
/// other is bounded by what they tell (a slab's worth of bytes, an acknowledgement, 64 moves). Order: that of each
/// caller.
class Inbox {
 public:
  using Task = std::function<void()>;

  explicit Inbox(std::size_t max);

  /// Readable while closures wait.
  [[nodiscard]] int fd() const { return wake_.get(); }
  /// The calling thread is the one that takes. Once, before it first posts.
  void adopt();
  [[nodiscard]] bool owned_by_caller() const;

  /// False: closed, and `task` is dropped.
  bool post(Task task);
  /// Never waits, whoever calls. False: closed, or half full, and `task` is dropped: the other half is for those who
  /// wait.
  bool try_post(Task task);
  /// Whether closures wait; costs no lock. What was posted before something that the owner has seen since (such as a
  /// datagram sent after the post) counts.
  [[nodiscard]] bool has_tasks() const { return has_tasks_.load(std::memory_order_acquire); }
  /// All that wait, oldest first, into `out` (which is cleared). Owner only.
  void take(std::vector<Task>& out);
  /// Nothing more comes in; those who wait for room give up. What is inside can still be taken.
  void close();
  [[nodiscard]] bool closed() const;

 private:
  void wake() const;
  /// Under the lock. Whether the owner sleeps, as far as it can be told from here.
  bool add(Task task);

  const std::size_t max_;
  UniqueFd wake_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Task> tasks_;
  std::thread::id owner_;
  bool closed_ = false;
  std::atomic<bool> has_tasks_{false};  // follows tasks_, under the lock
};

}  // namespace penstock::io
