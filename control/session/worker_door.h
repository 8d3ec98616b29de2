#pragma once

#include <functional>
#include <memory>
#include <shared_mutex>
#include <utility>

#include "dataplane/io/worker.h"
#include "dataplane/storage/executor.h"

namespace penstock::control {

/// The way from storage threads to the worker, which can be shut before the worker goes: storage's tasks may outlive
/// it. Order at the end: close(), destroy the worker, destroy the storage executor. Threads: any. Posting never waits
/// for another poster: the lock is shared by all, and exclusive in close() alone.
class WorkerDoor {
 public:
  explicit WorkerDoor(io::Worker& worker) : worker_(&worker) {}

  /// What storage posts by.
  static storage::PostToWorker poster(const std::shared_ptr<WorkerDoor>& door) {
    return [door](std::function<void()> act) { door->post(std::move(act)); };
  }
  void close() {
    const std::unique_lock lock{mutex_};
    worker_ = nullptr;
  }

 private:
  void post(std::function<void()> act) {
    const std::shared_lock lock{mutex_};
    if (worker_ != nullptr) worker_->post(std::move(act));
  }

  std::shared_mutex mutex_;
  io::Worker* worker_;
};

}  // namespace penstock::control
