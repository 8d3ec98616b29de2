#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace penstock::storage {

/// Runs a functor on the worker that owns the windows; given by the caller, callable from any thread, never blocks.
/// Functors run in the order in which one thread posted them.
using PostToWorker = std::function<void(std::function<void()>)>;

/// The threads on which everything that can block happens: reads, writes, syncs, digests.
/// Threads: post from any. The destructor runs what is queued, then joins; nothing may be posted during it from
/// outside. Bound: owners bound what they queue (Strand); the executor itself takes all.
class StorageExecutor {
 public:
  using Task = std::function<void()>;

  explicit StorageExecutor(std::size_t threads = 2);
  ~StorageExecutor();
  StorageExecutor(const StorageExecutor&) = delete;
  StorageExecutor& operator=(const StorageExecutor&) = delete;

  /// Tasks must not throw.
  void post(Task task);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Runs its tasks one after another, in order, on the threads of an executor: one per transfer side, so that the state
/// behind it needs no lock. The last task may outlive the strand object; the executor must outlive both.
/// Threads: post from any. Bound: `queue_max` tasks for try_post; post is for the few that may not be refused, whose
/// number the owner bounds by other means (slabs, one request in flight).
class Strand {
 public:
  using Task = StorageExecutor::Task;

  explicit Strand(StorageExecutor& executor, std::size_t queue_max = 1024);

  void post(Task task);
  /// False: the queue is full, and `task` was not taken.
  [[nodiscard]] bool try_post(Task task);
  /// Tasks waiting or running.
  [[nodiscard]] std::size_t depth() const;

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace penstock::storage
