#include "control/session/session_link.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "control/gate/framing.h"
#include "control/session/async_event.h"
#include "tests/unit/control/gate/loopback.h"

namespace penstock::control::test {
namespace {

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
      co_await used->async_room();
      proto::Envelope answer;
      answer.mutable_failure()->set_message(std::string(answer_bytes, 'a'));
      used->send(std::move(answer));
      most = std::max(most, ++answered - read);
      if (!used->has_room() || answered == requests) full.notify();
      co_return Status{};
    };
    (void)co_await link->async_run(std::move(handler));
  };
  const auto ask = [&]() -> asio::awaitable<void> {
    auto channel = must(co_await loop.dial_channel());
    channel.set_proven();
    channel.expire_never();
    proto::Envelope request;
    request.mutable_stat();
    std::string all;
    for (std::size_t number = 0; number < requests; ++number) all += encode_frame(request);
    if (const auto sent = co_await channel.async_send_frame(std::move(all)); !sent) FAIL(sent.error().message);
    co_await full.async_wait();
    while (read < requests) {
      const auto frame = must(co_await channel.async_receive());
      if (frame.envelope.has_failure()) ++read;
    }
    channel.abort();
  };
  loop.spawn(serve());
  loop.spawn(ask());
  loop.io.run();
  return most;
}

TEST_CASE("session link: who asks without reading the answers is not read from, until it reads") {
  constexpr std::size_t requests = 1000;
  constexpr std::size_t answer = 64 * 1024;
  // Two ends' queues and kernels hold some of the 64 MB.
  CHECK(answers_under_way(requests, answer) < requests / 2);
}

}  // namespace
}  // namespace penstock::control::test
