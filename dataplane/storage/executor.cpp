#include "dataplane/storage/executor.h"

#include <utility>

#include "common/check.h"

namespace penstock::storage {

namespace {
// A strand gives its thread back after so many tasks, so that one busy transfer does not starve the others; fewer costs
// a queue operation each, more lets small transfers wait longer.
constexpr int tasks_per_turn = 16;
}  // namespace

StorageExecutor::StorageExecutor(ExecutorThreads threads) {
  PENSTOCK_CHECK(threads.work > 0 && threads.sync > 0);
  threads_.reserve(threads.work + threads.sync);
  for (std::size_t i = 0; i < threads.work; ++i) threads_.emplace_back([this] { run(work_); });
  for (std::size_t i = 0; i < threads.sync; ++i) threads_.emplace_back([this] { run(sync_); });
}

StorageExecutor::~StorageExecutor() {
  {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return outstanding_ == 0; });
    stopping_ = true;
  }
  work_.wake.notify_all();
  sync_.wake.notify_all();
  for (auto& thread : threads_) thread.join();
}

void StorageExecutor::post(Queue& queue, Task task) {
  {
    const std::lock_guard lock(mutex_);
    queue.tasks.push_back(std::move(task));
    ++outstanding_;
  }
  queue.wake.notify_one();
}

void StorageExecutor::run(Queue& queue) {
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      queue.wake.wait(lock, [&] { return stopping_ || !queue.tasks.empty(); });
      if (queue.tasks.empty()) return;
      task = std::move(queue.tasks.front());
      queue.tasks.pop_front();
    }
    task();
    task = {};  // what it holds may post while it goes
    const std::lock_guard lock(mutex_);
    if (--outstanding_ == 0) idle_.notify_all();
  }
}

struct Strand::State {
  State(StorageExecutor& runs_on, std::size_t tasks_max) : executor(runs_on), queue_max(tasks_max) {}
  StorageExecutor& executor;
  const std::size_t queue_max;
  std::mutex mutex;
  std::deque<Task> queue;
  bool scheduled = false;  // a turn is queued or running
};

Strand::Strand(StorageExecutor& executor, std::size_t queue_max)
    : state_(std::make_shared<State>(executor, queue_max)) {}

void Strand::post(Task task) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->queue.push_back(std::move(task));
    if (std::exchange(state_->scheduled, true)) return;
  }
  state_->executor.post([state = state_] { run(state); });
}

bool Strand::try_post(Task task) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->queue.size() >= state_->queue_max) return false;
    state_->queue.push_back(std::move(task));
    if (std::exchange(state_->scheduled, true)) return true;
  }
  state_->executor.post([state = state_] { run(state); });
  return true;
}

std::size_t Strand::depth() const {
  const std::lock_guard lock(state_->mutex);
  return state_->queue.size() + (state_->scheduled ? 1 : 0);
}

void Strand::run(const std::shared_ptr<State>& state) {
  for (int i = 0; i < tasks_per_turn; ++i) {
    Task task;
    {
      const std::lock_guard lock(state->mutex);
      if (state->queue.empty()) {
        state->scheduled = false;
        return;
      }
      task = std::move(state->queue.front());
      state->queue.pop_front();
    }
    task();
  }
  state->executor.post([state] { run(state); });
}

}  // namespace penstock::storage
