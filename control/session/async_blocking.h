#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "control/session/async_event.h"
#include "dataplane/storage/executor.h"

namespace penstock::control {

/// Runs `work` on a thread of `threads` and resumes the caller on its own executor with the result. `work` must own
/// what it uses: it runs to its end even when the caller has gone. The caller's executor must outlive `threads`' tasks.
template <class Work>
asio::awaitable<std::invoke_result_t<Work&>> async_blocking(storage::StorageExecutor& threads, Work work) {
  using Value = std::invoke_result_t<Work&>;
  struct State {
    explicit State(const asio::any_io_executor& executor) : done(executor) {}
    std::optional<Value> value;
    bool ready = false;
    AsyncEvent done;
  };
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto state = std::make_shared<State>(executor);
  auto shared = std::make_shared<Work>(std::move(work));
  threads.post([state, shared, executor] {
    state->value.emplace((*shared)());
    asio::post(executor, [state] {
      state->ready = true;
      state->done.notify();
    });
  });
  while (!state->ready) co_await state->done.async_wait();
  co_return std::move(*state->value);
}

}  // namespace penstock::control
