#include "control/session/session_link.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <asio/socket_base.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "control/gate/framing.h"
#include "control/session/async_event.h"
#include "tests/unit/control/gate/loopback.h"

namespace penstock::control::test {
namespace {

proto::Envelope request() {
  proto::Envelope envelope;
  envelope.mutable_stat();
  return envelope;
}

/// A peer that has sent `messages` and then a request in one piece, and has not read anything yet.
asio::awaitable<TlsChannel> async_send_all(Loopback& loop, std::string messages) {
  auto channel = must(co_await loop.dial_channel());
  channel.set_proven();
  channel.expire_never();
  messages += encode_frame(request());
  if (const auto sent = co_await channel.async_send_frame(std::move(messages)); !sent) FAIL(sent.error().message);
  co_return std::move(channel);
}

std::string repeated(const proto::Envelope& message, std::size_t times) {
  std::string all;
  for (std::size_t number = 0; number < times; ++number) all += encode_frame(message);
  return all;
}

/// One of the answers, once the link has room.
asio::awaitable<void> async_answer(SessionLink& link, std::size_t bytes) {
  co_await link.async_room();
  proto::Envelope answer;
  answer.mutable_failure()->set_message(std::string(bytes, 'a'));
  link.send(std::move(answer));
}

/// What a peer that does not read leaves under way: answers, and bytes of them that wait for the socket.
struct UnderWay {
  std::size_t answers = 0;
  std::size_t waiting = 0;
};

/// A link answers each of `requests` with `answer_bytes`, having waited for room, to a peer that begins to read when
/// none comes any more.
UnderWay answers_under_way(std::size_t requests, std::size_t answer_bytes) {
  Loopback loop;
  std::size_t answered = 0;
  std::size_t read = 0;
  UnderWay under_way;
  std::shared_ptr<SessionLink> link;
  const auto serve = [&]() -> asio::awaitable<void> {
    auto channel = must(co_await loop.accept_channel());
    channel.set_proven();
    channel.expire_never();
    link = SessionLink::make(std::move(channel));
    SessionLink::Handler handler = [&](proto::Envelope) -> asio::awaitable<Status> {
      co_await async_answer(*link, answer_bytes);
      under_way.answers = std::max(under_way.answers, ++answered - read);
      co_return Status{};
    };
    (void)co_await link->async_run(std::move(handler));
  };
  const auto read_all = [&]() -> asio::awaitable<void> {
    auto channel = co_await async_send_all(loop, repeated(request(), requests - 1));
    // Until it asks for no more: the queue is full, and stays as it is.
    for (bool stuck = false; !stuck && answered < requests;) {
      asio::steady_timer pause{loop.io, std::chrono::milliseconds{10}};
      co_await pause.async_wait(asio::use_awaitable);
      const std::size_t before = std::exchange(under_way.waiting, link ? link->channel().send_queue_bytes() : 0);
      stuck = before > answers_waiting_max && under_way.waiting == before;
    }
    while (read < requests) {
      const auto frame = must(co_await channel.async_receive());
      if (frame.envelope.has_failure()) ++read;
    }
    channel.abort();
  };
  loop.spawn(serve());
  loop.spawn(read_all());
  loop.io.run();
  return under_way;
}

/// What waits for the socket of a link that was pinged so often, by a peer that does not read the answers.
std::size_t waiting_after_pings(std::size_t pings) {
  Loopback loop;
  // So that the kernels do not hold all of it.
  loop.acceptor.set_option(asio::socket_base::send_buffer_size{64 * 1024});
  std::size_t waiting = 0;
  AsyncEvent all_heard{loop.io.get_executor()};
  const auto serve = [&]() -> asio::awaitable<void> {
    auto channel = must(co_await loop.accept_channel());
    channel.set_proven();
    channel.expire_never();
    const auto link = SessionLink::make(std::move(channel));
    SessionLink::Handler handler = [&, used = link.get()](proto::Envelope) -> asio::awaitable<Status> {
      waiting = used->channel().send_queue_bytes();
      all_heard.notify();
      co_return Status{};
    };
    (void)co_await link->async_run(std::move(handler));
  };
  const auto ping_only = [&]() -> asio::awaitable<void> {
    auto channel = co_await async_send_all(loop, repeated(ping(std::string(64, 'p')), pings));
    co_await all_heard.async_wait();
    channel.abort();
  };
  loop.spawn(serve());
  loop.spawn(ping_only());
  loop.io.run();
  return waiting;
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
    auto channel = co_await async_send_all(loop, repeated(request(), 999));
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
  // Half a MiB waits in the channel before the next request is looked at, and more in the kernels: at 0.6 MB/s for
  // longer than the link puts up with silence.
  const auto [outcome, read] = end_of_a_slow_reader(std::chrono::seconds{1}, 50, std::chrono::milliseconds{100});
  REQUIRE(!outcome);
  CHECK(outcome.error().code == ErrorCode::PEER_LOST);
  CHECK(read == 50);
}

TEST_CASE("session link: who asks without reading the answers is not read from, until it reads") {
  constexpr std::size_t requests = 1000;
  constexpr std::size_t answer = 64 * 1024;
  const auto under_way = answers_under_way(requests, answer);
  // Two ends' queues and kernels hold some of the 64 MB.
  CHECK(under_way.answers < requests / 2);
  CHECK(under_way.waiting > answers_waiting_max);
  CHECK(under_way.waiting <= answers_waiting_max + answer + 1024);  // one more, and what TLS and pings add
}

TEST_CASE("session link: who pings without reading the answers keeps no more of our memory than who asks") {
  const std::size_t waiting = waiting_after_pings(20'000);  // whose answers are 2 MB
  CHECK(waiting > answers_waiting_max);
  // TLS adds 22 bytes to each, which has 74.
  CHECK(waiting <= answers_waiting_max + answers_waiting_max / 3);
}

}  // namespace
}  // namespace penstock::control::test
