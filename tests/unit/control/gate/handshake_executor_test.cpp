#include "control/gate/handshake_executor.h"

#include <doctest/doctest.h>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

using namespace penstock;
using namespace penstock::control;

TEST_CASE("handshake executor: a full queue refuses newcomers, and nobody who was let in before") {
  asio::io_context io{1};
  HandshakeExecutor signer{1};
  std::promise<void> release;
  std::vector<std::string> done;
  const auto spawn = [&](asio::awaitable<void> coroutine) { asio::co_spawn(io, std::move(coroutine), asio::detached); };
  spawn([](HandshakeExecutor& s, std::promise<void>& go, std::vector<std::string>& said) -> asio::awaitable<void> {
    std::function<void()> wait = [&go] { go.get_future().wait(); };
    CHECK((co_await s.async_run(std::move(wait))).ok());
    said.emplace_back("first");
  }(signer, release, done));
  spawn([](HandshakeExecutor& s, std::vector<std::string>& said) -> asio::awaitable<void> {
    std::function<void()> nothing = [] {};
    const auto refused = co_await s.async_run(std::move(nothing));
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == ErrorCode::SERVER_BUSY);
    said.emplace_back("refused");
  }(signer, done));
  spawn([](HandshakeExecutor& s, std::promise<void>& go, std::vector<std::string>& said) -> asio::awaitable<void> {
    asio::post(co_await asio::this_coro::executor, [&go] { go.set_value(); });
    std::function<void()> nothing = [] {};
    co_await s.async_go_on(std::move(nothing));
    said.emplace_back("went on");
  }(signer, release, done));
  io.run();
  CHECK(done == std::vector<std::string>{"refused", "first", "went on"});
  CHECK(signer.load() == 0);
}
