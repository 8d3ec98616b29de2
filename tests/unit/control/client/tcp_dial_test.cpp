#include "control/client/tcp_dial.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <utility>

namespace penstock::control::test {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;

constexpr auto plenty = 30s;

/// A listener whose queue is full: SYNs are dropped in silence until somebody is let in.
struct FullHouse {
  explicit FullHouse(asio::io_context& io) : acceptor(io), guest(io), first(io) {
    acceptor.open(tcp::v4());
    acceptor.bind({asio::ip::address_v4::loopback(), 0});
    acceptor.listen(0);  // one waits, and no more
    first.connect(acceptor.local_endpoint());
  }
  void let_in() { guest = acceptor.accept(); }

  tcp::acceptor acceptor;
  tcp::socket guest;
  tcp::socket first;
};

Dialled dial(asio::io_context& io, std::vector<tcp::endpoint> candidates, std::optional<Duration> rtt,
             std::chrono::steady_clock::duration patience = plenty) {
  Dialled result;
  const auto run = [&]() -> asio::awaitable<void> {
    RememberedRtt remembered = [rtt](const asio::ip::address&) { return rtt; };
    result =
        co_await async_dial(std::move(candidates), std::chrono::steady_clock::now() + patience, std::move(remembered));
  };
  asio::co_spawn(io, run, asio::detached);
  io.restart();
  io.run();
  return result;
}

/// A port of loopback on which nobody listens.
tcp::endpoint deserted(asio::io_context& io) {
  tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  return acceptor.local_endpoint();
}

}  // namespace

TEST_CASE("dial: an answer is taken, with one SYN") {
  asio::io_context io;
  tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  const auto dialled = dial(io, {acceptor.local_endpoint()}, 10ms);
  REQUIRE(dialled.socket);
  CHECK(!dialled.by_second_syn);
  CHECK(dialled.socket->remote_endpoint() == acceptor.local_endpoint());
}

TEST_CASE("dial: a SYN that was lost is followed by a second one where the RTT is remembered") {
  asio::io_context io;
  FullHouse house{io};
  asio::steady_timer timer{io, 50ms};  // after the first SYN, before the second, which is long before the kernel's
  timer.async_wait([&](std::error_code) { house.let_in(); });
  const auto dialled = dial(io, {house.acceptor.local_endpoint()}, 10ms);
  REQUIRE(dialled.socket);
  CHECK(dialled.by_second_syn);
}

TEST_CASE("dial: without a remembered RTT there is no second SYN") {
  asio::io_context io;
  FullHouse house{io};
  asio::steady_timer timer{io, 50ms};
  timer.async_wait([&](std::error_code) { house.let_in(); });
  const auto dialled = dial(io, {house.acceptor.local_endpoint()}, std::nullopt);
  REQUIRE(dialled.socket);  // by the kernel's own repetition
  CHECK(!dialled.by_second_syn);
}

TEST_CASE("dial: an address that refuses makes room for the next at once, and so does one that is silent, in time") {
  asio::io_context io;
  tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  const auto after_refusal = dial(io, {deserted(io), acceptor.local_endpoint()}, 10ms);
  REQUIRE(after_refusal.socket);
  CHECK(after_refusal.socket->remote_endpoint() == acceptor.local_endpoint());

  const FullHouse house{io};
  const auto after_silence = dial(io, {house.acceptor.local_endpoint(), acceptor.local_endpoint()}, 10ms, 600ms);
  REQUIRE(after_silence.socket);
  CHECK(after_silence.socket->remote_endpoint() == acceptor.local_endpoint());
}

TEST_CASE("dial: what refuses and what is silent are told apart, and nobody to ask is said") {
  asio::io_context io;
  const auto refused = dial(io, {deserted(io)}, 10ms);
  CHECK(!refused.socket);
  CHECK(refused.reason == "Connection refused");

  const FullHouse house{io};
  for (const std::optional<Duration> rtt : {std::optional<Duration>{10ms}, std::optional<Duration>{}}) {
    const auto silent = dial(io, {house.acceptor.local_endpoint()}, rtt, 300ms);
    CHECK(!silent.socket);
    CHECK(silent.reason == "no answer");
  }
  CHECK(dial(io, {}, 10ms).reason == "no address");
}

}  // namespace penstock::control::test
