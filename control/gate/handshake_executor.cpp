#include "control/gate/handshake_executor.h"

#include <sys/resource.h>
#include <unistd.h>

#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <memory>
#include <utility>

namespace penstock::control {
namespace {
constexpr int nice_of_signer = 5;
}

HandshakeExecutor::HandshakeExecutor(std::size_t queue_max) : queue_max_(queue_max), pool_(1) {
  // On Linux a nice value belongs to the thread. Failure only costs the preference.
  asio::post(pool_, [] { (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), nice_of_signer); });
}

HandshakeExecutor::~HandshakeExecutor() {
  pool_.stop();
  pool_.join();
}

asio::awaitable<Status> HandshakeExecutor::async_run(std::function<void()> work) {
  if (load_.fetch_add(1, std::memory_order_relaxed) >= queue_max_) {
    load_.fetch_sub(1, std::memory_order_relaxed);
    co_return Error{ErrorCode::SERVER_BUSY, "too many handshakes wait; try again in a moment"};
  }
  co_await async_work(std::move(work));
  co_return Status{};
}

asio::awaitable<void> HandshakeExecutor::async_go_on(std::function<void()> work) {
  load_.fetch_add(1, std::memory_order_relaxed);
  co_await async_work(std::move(work));
}

asio::awaitable<void> HandshakeExecutor::async_work(std::function<void()> work) {
  // The coroutine itself never leaves its executor: only the job crosses threads, and the completion is posted back.
  auto initiate = [this, job = std::move(work)](auto handler) mutable {
    auto home = asio::make_work_guard(asio::get_associated_executor(handler));
    // asio::post wants a copyable-or-movable function object; shared_ptr keeps g++ 12 from moving the handler twice.
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    asio::post(pool_, [this, job = std::move(job), shared = std::move(shared), home = std::move(home)]() mutable {
      job();
      job = nullptr;  // what the work owned is gone before the caller goes on
      load_.fetch_sub(1, std::memory_order_relaxed);
      asio::post(home.get_executor(), [shared = std::move(shared)]() mutable { std::move (*shared)(); });
      home.reset();
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(initiate), asio::use_awaitable);
}

}  // namespace penstock::control
