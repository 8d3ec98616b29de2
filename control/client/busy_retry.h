#pragma once

#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <utility>

#include "common/crypto/random.h"
#include "common/result.h"
#include "control/client/busy_patience.h"
#include "control/client/client.h"
#include "control/client/observer.h"

namespace penstock::control {

/// Makes the attempt until it ends in anything but SERVER_BUSY, or `config.connect_timeout` is up (BusyPatience).
/// `attempt` is given a copy of `config` that allows no more than what is left. Each refusal is told to `observer`.
/// Threads: the executor of the coroutine.
template <class Value>
asio::awaitable<Result<Value>> async_while_busy(
    const ClientConfig& config, Observer& observer,
    std::function<asio::awaitable<Result<Value>>(const ClientConfig& config)> attempt) {
  using Clock = BusyPatience::Clock;
  BusyPatience patience{Clock::now(), config.connect_timeout, Rng{crypto::random_u64()}};
  ClientConfig allowed = config;
  for (unsigned number = 1;; ++number) {
    allowed.connect_timeout = patience.left(Clock::now());
    auto result = co_await attempt(allowed);
    if (result) co_return std::move(result);
    const auto pause = patience.on_failed(result.error(), Clock::now());
    if (!pause) co_return patience.last_word(std::move(result).error());
    observer.on_reconnecting(result.error(), number);
    asio::steady_timer timer{co_await asio::this_coro::executor, *pause};
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace penstock::control
