#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::storage {

/// Runs a functor on the worker that owns the windows; given by the caller, callable from any thread, never blocks.
/// Functors run in the order in which one thread posted them.
using PostToWorker = std::function<void(std::function<void()>)>;

/// How many threads an executor has of each kind.
struct ExecutorThreads {
  std::size_t work = 2;  // reads, writes, digests
  std::size_t sync = 2;  // fsync and its kin: two, so that one dead file system does not hold up the others
};

/// The threads on which everything that can block happens: reads, writes, digests, and on threads of their own syncs. A
/// sync waits for a disk, for seconds if that is slow, and costs no processor: on the same threads a few of them would
/// stop every other transfer's reading and writing.
/// Threads: post from any. The destructor runs what is queued, then joins; nothing may be posted during it from
/// outside. Bound: owners bound what they queue (Strand; a sink has one sync in flight); the executor itself takes all.
class StorageExecutor {
 public:
  using Task = std::function<void()>;

  explicit StorageExecutor(std::size_t work_threads = 2) : StorageExecutor(ExecutorThreads{.work = work_threads}) {}
  explicit StorageExecutor(ExecutorThreads threads);
  ~StorageExecutor();
  StorageExecutor(const StorageExecutor&) = delete;
  StorageExecutor& operator=(const StorageExecutor&) = delete;

  /// Tasks must not throw.
  void post(Task task) { post(work_, std::move(task)); }
  /// For what does little but wait for a sync.
  void post_sync(Task task) { post(sync_, std::move(task)); }

 private:
  struct Queue {
    std::deque<Task> tasks;
    std::condition_variable wake;
  };
  void post(Queue& queue, Task task);
  void run(Queue& queue);

  std::mutex mutex_;
  std::condition_variable idle_;
  Queue work_;
  Queue sync_;
  std::size_t outstanding_ = 0;  // queued or running, of both kinds: the one posts to the other
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
