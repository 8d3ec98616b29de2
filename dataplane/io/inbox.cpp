#include "dataplane/io/inbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "common/check.h"

namespace penstock::io {
namespace {
thread_local bool owns_an_inbox = false;
}  // namespace

Inbox::Inbox(std::size_t max) : max_(max), wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  // Fails only when the process is out of descriptors before it has begun.
  PENSTOCK_CHECK(wake_);
}

void Inbox::adopt() {
  const std::lock_guard lock{mutex_};
  owner_ = std::this_thread::get_id();
  owns_an_inbox = true;
}

bool Inbox::owned_by_caller() const {
  const std::lock_guard lock{mutex_};
  return owner_ == std::this_thread::get_id();
}

bool Inbox::post(Task task) {
  bool first = false;
  {
    std::unique_lock lock{mutex_};
    if (!owns_an_inbox) room_.wait(lock, [&] { return closed_ || tasks_.size() < max_; });
    if (closed_) return false;
    first = add(std::move(task));
  }
  if (first) wake();
  return true;
}

bool Inbox::try_post(Task task) {
  bool first = false;
  {
    const std::lock_guard lock{mutex_};
    if (closed_ || tasks_.size() >= (max_ + 1) / 2) return false;
    first = add(std::move(task));
  }
  if (first) wake();
  return true;
}

bool Inbox::add(Task task) {
  tasks_.push_back(std::move(task));
  has_tasks_.store(true, std::memory_order_release);
  return tasks_.size() == 1;
}

void Inbox::take(std::vector<Task>& out) {
  out.clear();
  // Before the swap: a closure posted after it makes the descriptor readable again.
  std::uint64_t count = 0;
  [[maybe_unused]] const auto ignored = ::read(wake_.get(), &count, sizeof count);
  {
    const std::lock_guard lock{mutex_};
    out.swap(tasks_);
    has_tasks_.store(false, std::memory_order_release);
  }
  room_.notify_all();
}

void Inbox::close() {
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
  }
  room_.notify_all();
  wake();
}

bool Inbox::closed() const {
  const std::lock_guard lock{mutex_};
  return closed_;
}

void Inbox::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(wake_.get(), &one, sizeof one);
}

}  // namespace penstock::io
