#include "control/session/session_link.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <optional>
#include <string>
#include <utility>

#include "control/gate/framing.h"
#include "control/session/async_event.h"
#include "tests/unit/control/gate/loopback.h"

namespace penstock::control::test {
namespace {

/// A peer that has sent so many requests in one piece, and has not read anything yet.
asio::awaitable<TlsChannel> async_ask(Loopback& loop, std::size_t requests) {
  auto channel = must(co_await loop.dial_channel());
  channel.set_proven();
  channel.expire_never();
  proto::Envelope request;
  request.mutable_stat();
  std::string all;
  for (std::size_t number = 0; number < requests; ++number) all += encode_frame(request);
  if (const auto sent = co_await channel.async_send_frame(std::move(all)); !sent) FAIL(sent.error().message);
  co_return std::move(channel);
}

/// One of the answers, once the link has room.
asio::awaitable<void> async_answer(SessionLink& link, std::size_t bytes) {
  co_await link.async_room();
  proto::Envelope answer;
  answer.mutable_failure()->set_message(std::string(bytes, 'a'));
  link.send(std::move(answer));
}

/// A link answers each of `requests` with `answer_bytes`, having waited for room, to a peer that begins to read when
/// there is none. The most answers that were under way at once.
std::size_t answers_under_way(std::size_t requests, std::size_t answer_bytes) {
  Loopback loop;
  std::size_t answered = 0;
  std::size_t read = 0;
  std::size_t most = 0;
  AsyncEvent full{loop.io.get_executor()};
  const auto serve = [&]() -> asio::awaitable<void> {
    auto channel = must(co_await loop.accept_channel());
    channel.set_proven();
    channel.expire_never();
    const auto link = SessionLink::make(std::move(channel));
    SessionLink* const used = link.get();
    SessionLink::Handler handler = [&, used](proto::Envelope) -> asio::awaitable<Status> {
      co_await async_answer(*used, answer_bytes);
      most = std::max(most, ++answered - read);
      if (!used->has_room() || answered == requests) full.notify();
      co_return Status{};
    };
    (void)co_await link->async_run(std::move(handler));
  };
  const auto read_all = [&]() -> asio::awaitable<void> {
    auto channel = co_await async_ask(loop, requests);
    co_await full.async_wait();
    while (read < requests) {
      const auto frame = must(co_await channel.async_receive());
      if (frame.envelope.has_failure()) ++read;
    }
    channel.abort();
  };
  loop.spawn(serve());
  loop.spawn(read_all());
  loop.io.run();
  return most;
}

/// How a link ends that calls `silence` PEER_LOST, and answers 64 KiB each to a peer that asks a thousand times, says
/// nothing more, and reads `read_max` answers, one in `pace`, before it reads no more. Second: how many it has read
/// before that.
std::pair<Status, std::size_t> end_of_a_slow_reader(Duration silence, std::size_t read_max, Duration pace) {
  Loopback loop;
  std::optional<Status> outcome;
  std::size_t read = 0;
  AsyncEvent over{loop.io.get_executor()};
  const auto serve = [&]() -> asio::awaitable<void> {
    auto channel = must(co_await loop.accept_channel());
    channel.set_proven();
    channel.expire_never();
    const auto link = SessionLink::make(std::move(channel), silence);
    SessionLink* const used = link.get();
    SessionLink::Handler handler = [used](proto::Envelope) -> asio::awaitable<Status> {
      co_await async_answer(*used, std::size_t{64} * 1024);
      co_return Status{};
    };
    outcome = co_await link->async_run(std::move(handler));
    over.notify();
  };
  const auto read_slowly = [&]() -> asio::awaitable<void> {
    auto channel = co_await async_ask(loop, 1000);
    while (read < read_max) {
      const auto frame = co_await channel.async_receive();
      if (!frame || outcome) break;  // what is still on the way when the link has ended does not count
      if (!frame->envelope.has_failure()) continue;
      ++read;
      asio::steady_timer pause{loop.io, pace};
      co_await pause.async_wait(asio::use_awaitable);
    }
    // The connection stays open for as long as the other end wants it, unless that is far too long.
    if (!outcome) co_await over.async_wait(std::chrono::minutes{1});
    if (!outcome) FAIL_CHECK("the link has not ended by itself");
    channel.abort();
  };
  loop.spawn(serve());
  loop.spawn(read_slowly());
  loop.io.run();
  return {*std::move(outcome), read};
}

TEST_CASE("session link: who asks and never reads the answers is lost like one that is silent") {
  const auto [outcome, read] = end_of_a_slow_reader(std::chrono::milliseconds{500}, 0, {});
  REQUIRE(!outcome);
  CHECK(outcome.error().code == ErrorCode::PEER_LOST);
}

TEST_CASE("session link: who reads its answers slowly is not lost before it stops reading") {
  // 4 MiB wait in the channel before the next request is looked at: at 0.6 MB/s for far longer than the link puts up
  // with silence.
  const auto [outcome, read] = end_of_a_slow_reader(std::chrono::seconds{1}, 50, std::chrono::milliseconds{100});
  REQUIRE(!outcome);
  CHECK(outcome.error().code == ErrorCode::PEER_LOST);
  CHECK(read == 50);
}

TEST_CASE("session link: who asks without reading the answers is not read from, until it reads") {
  constexpr std::size_t requests = 1000;
  constexpr std::size_t answer = 64 * 1024;
  // Two ends' queues and kernels hold some of the 64 MB.
  CHECK(answers_under_way(requests, answer) < requests / 2);
}

}  // namespace
}  // namespace penstock::control::test
