#include "control/gate/tls_channel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/unit/control/gate/loopback.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;
using namespace std::chrono_literals;

TEST_CASE("tls channel: both ends talk, know each other's key and share exporters of their own connection") {
  Loopback loop;
  std::array<std::byte, 32> daemon_bind{};
  std::array<std::byte, 32> client_bind{};
  std::array<std::byte, 32> client_key{};
  std::string heard;
  std::string answered;
  loop.spawn([](Loopback& l, std::array<std::byte, 32>& bind, std::string& text) -> asio::awaitable<void> {
    auto channel = must(co_await l.accept_channel());
    bind = channel.exporter(exporter_label_bind);
    const auto frame = must(co_await channel.async_receive());
    text = frame.envelope.ping().payload();
    CHECK((co_await channel.async_send(ping("back"))).ok());
    CHECK(channel.peer_spki().empty());
    const auto end = co_await channel.async_receive();
    CHECK(end.error().code == ErrorCode::PEER_LOST);
    CHECK(channel.ended_cleanly());
  }(loop, daemon_bind, heard));
  loop.spawn([](Loopback& l, std::array<std::byte, 32>& bind, std::array<std::byte, 32>& key,
                std::string& text) -> asio::awaitable<void> {
    auto channel = must(co_await l.dial_channel());
    CHECK(channel.peer_pin() == daemon_identity().pin());
    CHECK(pin_of_spki(channel.peer_spki()) == daemon_identity().pin());
    CHECK(channel.smoothed_rtt());
    bind = channel.exporter(exporter_label_bind);
    key = channel.exporter(exporter_label_key);
    CHECK((co_await channel.async_send(ping("forth"))).ok());
    const auto frame = must(co_await channel.async_receive());
    text = frame.envelope.ping().payload();
    co_await channel.async_close();
    CHECK(!(co_await channel.async_receive()).ok());
  }(loop, client_bind, client_key, answered));
  loop.io.run();
  CHECK(heard == "forth");
  CHECK(answered == "back");
  CHECK(daemon_bind == client_bind);
  CHECK(client_bind != client_key);
}

TEST_CASE("tls channel: closing ends with the peer's end, also when a last frame comes in meanwhile") {
  Loopback loop;
  std::string last_words;
  bool closed = false;
  loop.spawn([](Loopback& l) -> asio::awaitable<void> {
    auto channel = must(co_await l.accept_channel());
    CHECK((co_await channel.async_send(ping("one more thing"))).ok());
    co_await channel.async_close();
  }(loop));
  const auto read_once = [](TlsChannel& from, std::string& text) -> asio::awaitable<void> {
    text = must(co_await from.async_receive()).envelope.ping().payload();
  };
  loop.spawn([](Loopback& l, const auto& reader, std::string& text, bool& done) -> asio::awaitable<void> {
    auto channel = must(co_await l.dial_channel());
    l.spawn(reader(channel, text));
    co_await asio::post(asio::use_awaitable);  // the reader is waiting now
    co_await channel.async_close(std::chrono::hours{1});
    done = true;
  }(loop, read_once, last_words, closed));
  loop.io.run();
  CHECK(last_words == "one more thing");
  CHECK(closed);
}

TEST_CASE("tls channel: a daemon with another key is refused before anything is sent to it") {
  Loopback loop;
  loop.trust.pinned = {other_identity().pin()};
  std::optional<Error> refused;
  std::optional<Error> daemon_saw;
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto channel = co_await l.accept_channel();
    if (!channel) error = channel.error();
  }(loop, daemon_saw));
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto channel = co_await l.dial_channel();
    if (!channel) error = channel.error();
  }(loop, refused));
  loop.io.run();
  REQUIRE(refused);
  CHECK(refused->code == ErrorCode::PIN_MISMATCH);
  CHECK(refused->message.find(to_string(daemon_identity().pin())) != std::string::npos);
  // The handshake itself did not complete at the daemon: no message of ours can have reached it.
  REQUIRE(daemon_saw);
  CHECK(daemon_saw->code == ErrorCode::NOT_PENSTOCK);
}

TEST_CASE("tls channel: silence ends at the deadline, for who says nothing and for who stops after TLS") {
  for (const bool speaks_tls : {false, true}) {
    CAPTURE(speaks_tls);
    Loopback loop;
    std::optional<Error> met;
    loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
      auto socket = co_await l.accept();
      auto channel = co_await TlsChannel::async_accept(std::move(socket), l.daemon_context, l.signer, 1500ms);
      if (!channel) {
        error = channel.error();
        co_return;
      }
      const auto frame = co_await channel->async_receive();
      if (!frame) error = frame.error();
    }(loop, met));
    loop.spawn([](Loopback& l, bool tls) -> asio::awaitable<void> {
      if (tls) {
        // On a machine so slow that the deadline comes first, that is as good.
        auto channel = co_await l.dial_channel();
        if (!channel) co_return;
        const auto nothing = co_await channel->async_receive();
        CHECK(!nothing.ok());
      } else {
        auto socket = co_await l.dial();
        std::array<char, 16> heard;
        std::error_code ended;
        co_await socket.async_read_some(asio::buffer(heard), asio::redirect_error(asio::use_awaitable, ended));
      }
    }(loop, speaks_tls));
    loop.io.run();
    REQUIRE(met);
    CHECK(met->code == ErrorCode::TIMED_OUT);
  }
}

TEST_CASE("tls channel: a client whose daemon falls silent is TIMED_OUT") {
  Loopback loop;
  std::optional<Error> met;
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto socket = co_await l.dial();
    auto channel = co_await TlsChannel::async_connect(std::move(socket), l.client_context, l.trust, 200ms);
    if (!channel) error = channel.error();
  }(loop, met));
  loop.io.run();  // nobody accepts; the kernel's backlog does
  REQUIRE(met);
  CHECK(met->code == ErrorCode::TIMED_OUT);
}

TEST_CASE(
    "tls channel: many megabytes from several senders arrive whole and in each one's order, behind a bounded queue") {
  Loopback loop;
  constexpr int senders = 4;
  constexpr int messages = 40;
  std::size_t queue_seen = 0;
  int done = 0;
  std::array<int, senders> next{};
  loop.spawn([](Loopback& l, std::size_t& seen, int& finished) -> asio::awaitable<void> {
    auto channel = std::make_shared<TlsChannel>(must(co_await l.accept_channel()));
    channel->set_proven();
    for (int sender = 0; sender < senders; ++sender) {
      asio::co_spawn(
          l.io,
          [](std::shared_ptr<TlsChannel> to, int who, std::size_t& most, int& ended) -> asio::awaitable<void> {
            for (int i = 0; i < messages; ++i) {
              auto envelope = ping(std::string(500'000, static_cast<char>('a' + who)));
              envelope.set_id(static_cast<std::uint64_t>(i));
              CHECK((co_await to->async_send(envelope)).ok());
              most = std::max(most, to->send_queue_bytes());
            }
            if (++ended == senders) co_await to->async_close();
          }(channel, sender, seen, finished),
          asio::detached);
    }
  }(loop, queue_seen, done));
  loop.spawn([](Loopback& l, std::array<int, senders>& expected) -> asio::awaitable<void> {
    auto channel = must(co_await l.dial_channel());
    channel.set_proven();
    for (;;) {
      const auto frame = co_await channel.async_receive();
      if (!frame) break;
      const auto& payload = frame->envelope.ping().payload();
      CHECK(payload.size() == 500'000);
      auto& number = expected[static_cast<std::size_t>(payload[0] - 'a')];
      CHECK(frame->envelope.id() == static_cast<std::uint64_t>(number));
      ++number;
    }
    CHECK(channel.ended_cleanly());
  }(loop, next));
  loop.io.run();
  for (const int count : next) CHECK(count == messages);
  CHECK(queue_seen <= send_queue_max + senders * (message_size_max + 1024));
}

TEST_CASE("tls channel: abort wakes a receiver and a blocked sender with its reason") {
  Loopback loop;
  std::optional<Error> receiver;
  std::optional<Error> sender;
  loop.spawn([](Loopback& l, std::optional<Error>& received, std::optional<Error>& sent) -> asio::awaitable<void> {
    auto channel = std::make_shared<TlsChannel>(must(co_await l.accept_channel()));
    asio::co_spawn(
        l.io,
        [](std::shared_ptr<TlsChannel> c, std::optional<Error>& error) -> asio::awaitable<void> {
          const auto frame = co_await c->async_receive();
          if (!frame) error = frame.error();
        }(channel, received),
        asio::detached);
    asio::co_spawn(
        l.io,
        [](std::shared_ptr<TlsChannel> c, std::optional<Error>& error) -> asio::awaitable<void> {
          for (;;) {  // nobody reads at the other end
            const auto done = co_await c->async_send(ping(std::string(900'000, 'x')));
            if (!done) {
              error = done.error();
              co_return;
            }
            if (c->send_queue_bytes() > send_queue_max / 2)
              asio::post(c->executor(), [c] {
                c->abort({ErrorCode::REVOKED, "the operator has revoked this client"});
              });
          }
        }(channel, sent),
        asio::detached);
  }(loop, receiver, sender));
  loop.spawn([](Loopback& l) -> asio::awaitable<void> {
    auto channel = must(co_await l.dial_channel());
    // The frame is longer than an unproven end takes, so the first one already ends this side; until then it is silent.
    asio::steady_timer pause{l.io, 50ms};
    co_await pause.async_wait(asio::use_awaitable);
    const auto too_long = co_await channel.async_receive();
    CHECK(!too_long.ok());
  }(loop));
  loop.io.run();
  REQUIRE(receiver);
  REQUIRE(sender);
  CHECK(receiver->code == ErrorCode::REVOKED);
  CHECK(sender->code == ErrorCode::REVOKED);
}

TEST_CASE("tls channel: a full signer queue turns the next one away with SERVER_BUSY at both ends") {
  Loopback loop{0};
  std::optional<Error> daemon_error;
  std::optional<Error> client_error;
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto channel = co_await l.accept_channel();
    if (!channel) error = channel.error();
  }(loop, daemon_error));
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto channel = co_await l.dial_channel();
    if (!channel) error = channel.error();
  }(loop, client_error));
  loop.io.run();
  REQUIRE(daemon_error);
  REQUIRE(client_error);
  CHECK(daemon_error->code == ErrorCode::SERVER_BUSY);
  CHECK(client_error->code == ErrorCode::SERVER_BUSY);
}
