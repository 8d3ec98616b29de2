#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "common/error.h"
#include "common/result.h"
#include "common/time.h"
#include "control/session/async_event.h"

namespace penstock::control {

// Tuning. A lost packet of a handshake costs a time-out of the kernel's, some round trips long; where a packet in five
// is lost on both ways two handshakes in three lose one. More attempts: more that the daemon signs in vain (2.5 ms
// each).
inline constexpr std::uint32_t race_loss_permille = 30;        // two attempts from here on
inline constexpr std::uint32_t race_loss_high_permille = 100;  // three
// So far apart that one burst of losses does not hit all of them, and far less than a time-out.
inline constexpr Duration race_spacing = std::chrono::milliseconds{10};

/// How many connections are begun at once where so much of what is sent gets lost.
constexpr std::size_t race_attempts(std::uint32_t loss_permille) {
  return loss_permille >= race_loss_high_permille ? 3 : loss_permille >= race_loss_permille ? 2 : 1;
}

/// Whether all attempts would hear the same. A connection that broke off, stayed silent or found no place at the
/// daemon, as three at once do sooner than one, says nothing of the others.
constexpr bool is_verdict(ErrorCode code) {
  switch (code) {
    case ErrorCode::PEER_LOST:
    case ErrorCode::TIMED_OUT:
    case ErrorCode::CONNECT_REFUSED:
    case ErrorCode::NOT_PENSTOCK:  // somebody hung up on us
    case ErrorCode::SERVER_BUSY:
    case ErrorCode::DRAINING:
      return false;
    default:
      return true;
  }
}

/// What the attempts of one race share with who waits for them.
template <class Value>
struct RaceState {
  explicit RaceState(const asio::any_io_executor& executor) : news(executor) {}

  [[nodiscard]] bool is_decided() const {
    return thrown || (outcome && (*outcome || is_verdict(outcome->error().code)));
  }
  void stop_all() {
    for (auto& stop : stops) stop.emit(asio::cancellation_type::terminal);
  }

  AsyncEvent news;
  std::deque<asio::cancellation_signal> stops;  // one an attempt; their addresses hold
  std::size_t running = 0;
  std::optional<Result<Value>> outcome;
  std::exception_ptr thrown;
};

/// Makes `attempts` attempts at the same thing, race_spacing apart, and takes the first that succeeds, or is refused
/// (is_verdict); with none, the last error. All others have ended by then: they were cancelled, which unwinds them at
/// their next wait. Requires: whatever an attempt waits for can be cancelled.
/// Source: "Happy Eyeballs" (RFC 8305), for the losses of one address instead of several addresses.
/// Threads: the executor of the coroutine, which runs one handler at a time.
template <class Value>
asio::awaitable<Result<Value>> async_race(std::size_t attempts,
                                          std::function<asio::awaitable<Result<Value>>()> attempt) {
  if (attempts <= 1) co_return co_await attempt();
  const auto executor = co_await asio::this_coro::executor;
  const auto state = std::make_shared<RaceState<Value>>(executor);
  const auto run = [state, &attempt]() -> asio::awaitable<void> {
    auto result = co_await attempt();
    if (!state->is_decided()) state->outcome = std::move(result);
  };
  auto next_at = std::chrono::steady_clock::now();
  while (state->running > 0 || (state->stops.size() < attempts && !state->is_decided())) {
    std::optional<Duration> at_most;
    if (state->is_decided()) {
      state->stop_all();
    } else if (state->stops.size() < attempts) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= next_at) {
        next_at = now + race_spacing;
        ++state->running;
        asio::co_spawn(
            executor, run,
            asio::bind_cancellation_slot(state->stops.emplace_back().slot(), [state](std::exception_ptr thrown) {
              --state->running;
              if (thrown && !state->is_decided()) state->thrown = std::move(thrown);
              state->news.notify();
            }));
        continue;
      }
      at_most = next_at - now;
    }
    co_await state->news.async_wait(at_most);
  }
  if (state->thrown) std::rethrow_exception(state->thrown);
  co_return std::move(*state->outcome);
}

}  // namespace penstock::control
