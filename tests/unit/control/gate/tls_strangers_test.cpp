// Who does not speak as we do: either end names him NOT_PENSTOCK, and an unproven one gets little.
#include <doctest/doctest.h>

#include <array>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "tests/unit/control/gate/loopback.h"

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

// A server of another kind: says `greeting` once it has heard something, or at once, and hangs up.
asio::awaitable<void> foreign_server(Loopback& loop, std::string greeting) {
  auto socket = co_await loop.accept();
  std::error_code ignored;
  std::array<char, 4096> heard;
  co_await socket.async_read_some(asio::buffer(heard), asio::redirect_error(asio::use_awaitable, ignored));
  co_await asio::async_write(socket, asio::buffer(greeting), asio::redirect_error(asio::use_awaitable, ignored));
  socket.shutdown(tcp::socket::shutdown_send, ignored);
  while (!ignored)
    co_await socket.async_read_some(asio::buffer(heard), asio::redirect_error(asio::use_awaitable, ignored));
}

// What a daemon's accept says of a client that only writes `text`.
Error daemon_meets(const std::string& text) {
  Loopback loop;
  std::optional<Error> met;
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto channel = co_await l.accept_channel();
    if (!channel) error = channel.error();
  }(loop, met));
  loop.spawn([](Loopback& l, std::string words) -> asio::awaitable<void> {
    auto socket = co_await l.dial();
    std::error_code ignored;
    co_await asio::async_write(socket, asio::buffer(words), asio::redirect_error(asio::use_awaitable, ignored));
    socket.shutdown(tcp::socket::shutdown_send, ignored);
    std::array<char, 4096> heard;
    while (!ignored)
      co_await socket.async_read_some(asio::buffer(heard), asio::redirect_error(asio::use_awaitable, ignored));
  }(loop, text));
  loop.io.run();
  REQUIRE(met);
  return *met;
}

}  // namespace

TEST_CASE("tls channel: a client tells what answers in plain text, HTTP or not at all: NOT_PENSTOCK") {
  for (const std::string& greeting :
       {std::string{"SSH-2.0-OpenSSH_9.2\r\n"}, std::string{"HTTP/1.1 400 Bad Request\r\n\r\n"},
        std::string{"220 mail\r\n"}, std::string{}, std::string(70000, 'x')}) {
    CAPTURE(greeting.substr(0, 30));
    Loopback loop;
    std::optional<Error> met;
    loop.spawn(foreign_server(loop, greeting));
    loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
      auto channel = co_await l.dial_channel();
      if (!channel) error = channel.error();
    }(loop, met));
    loop.io.run();
    REQUIRE(met);
    CHECK(met->code == ErrorCode::NOT_PENSTOCK);
    CHECK(met->message.find("host") != std::string::npos);
  }
}

TEST_CASE("tls channel: who hangs up where our daemon has been met is busy or being restarted: worth another try") {
  for (const std::string& greeting : {std::string{}, std::string{"SSH-2.0-OpenSSH_9.2\r\n"}}) {
    CAPTURE(greeting);
    Loopback loop;
    loop.trust.met_here = true;
    std::optional<Error> met;
    loop.spawn(foreign_server(loop, greeting));
    loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
      auto channel = co_await l.dial_channel();
      if (!channel) error = channel.error();
    }(loop, met));
    loop.io.run();
    REQUIRE(met);
    CHECK(met->code == (greeting.empty() ? ErrorCode::SERVER_BUSY : ErrorCode::NOT_PENSTOCK));
    CHECK(error_traits(met->code).retryable == greeting.empty());
  }
}

TEST_CASE("tls channel: a TLS server of another kind (older, or without our ALPN) is NOT_PENSTOCK to the client") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    CAPTURE(version);
    Loopback loop;
    std::optional<Error> met;
    std::thread server{[&loop, version] {
      asio::io_context io;
      tcp::socket socket{io};
      tcp::acceptor acceptor{io, loop.acceptor.local_endpoint().protocol(), ::dup(loop.acceptor.native_handle())};
      acceptor.accept(socket);
      const SslContextHandle context{SSL_CTX_new(TLS_server_method())};
      SSL_CTX_set_max_proto_version(context.get(), version);
      SSL_CTX_use_certificate(context.get(), daemon_identity().chain().front().get());
      SSL_CTX_use_PrivateKey(context.get(), daemon_identity().key().native());
      const SslHandle ssl{SSL_new(context.get())};
      SSL_set_fd(ssl.get(), socket.native_handle());
      SSL_accept(ssl.get());
      char byte = 0;
      SSL_read(ssl.get(), &byte, 1);
    }};
    loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
      auto channel = co_await l.dial_channel();
      if (!channel) error = channel.error();
    }(loop, met));
    loop.io.run();
    server.join();
    REQUIRE(met);
    CHECK(met->code == ErrorCode::NOT_PENSTOCK);
  }
}

TEST_CASE("tls channel: the daemon refuses plain text, HTTP, a 4 GiB length and silence followed by nothing") {
  CHECK(daemon_meets("GET / HTTP/1.1\r\nHost: x\r\n\r\n").message.find("HTTP") != std::string::npos);
  CHECK(daemon_meets("hello there, is this penstock?\n").code == ErrorCode::NOT_PENSTOCK);
  CHECK(daemon_meets("\xff\xff\xff\xff and more than that").code == ErrorCode::NOT_PENSTOCK);
  CHECK(daemon_meets(std::string(300'000, '\x16')).code == ErrorCode::NOT_PENSTOCK);
  CHECK(daemon_meets("").message == "nothing was said");
}

TEST_CASE("tls channel: the daemon refuses TLS 1.2, TLS without ALPN and with another ALPN") {
  const std::string http{"\x08http/1.1"};
  const std::string next{"\x0apenstock/2"};
  for (const auto& foreign : {ForeignClient{.version_max = TLS1_2_VERSION, .alpn = "\x0apenstock/1"}, ForeignClient{},
                              ForeignClient{.alpn = http}, ForeignClient{.alpn = next}}) {
    Loopback loop;
    std::optional<Error> met;
    ForeignOutcome outcome;
    std::thread client{[&] { outcome = run_foreign_client(loop.acceptor.local_endpoint().port(), foreign); }};
    loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
      auto channel = co_await l.accept_channel();
      if (!channel) error = channel.error();
    }(loop, met));
    loop.io.run();
    client.join();
    REQUIRE(met);
    CHECK(met->code == ErrorCode::NOT_PENSTOCK);
    CHECK(outcome.received.empty());
  }
}

TEST_CASE("tls channel: a 4 GiB message length inside TLS ends the channel at once") {
  Loopback loop;
  std::optional<Error> met;
  std::thread client{[&] {
    run_foreign_client(loop.acceptor.local_endpoint().port(),
                       {.alpn = "\x0apenstock/1", .says = std::string{"\xff\xff\xff\xff", 4}});
  }};
  loop.spawn([](Loopback& l, std::optional<Error>& error) -> asio::awaitable<void> {
    auto channel = must(co_await l.accept_channel());
    const auto frame = co_await channel.async_receive();
    if (!frame) error = frame.error();
  }(loop, met));
  loop.io.run();
  client.join();
  REQUIRE(met);
  CHECK(met->code == ErrorCode::NOT_PENSTOCK);
}

TEST_CASE("tls channel: an unproven client gets 64 KiB in all, not more, in however many messages") {
  Loopback loop;
  std::optional<Error> met;
  std::string flood;
  for (int i = 0; i < 100; ++i) flood += encode_frame(ping(std::string(1000, 'p')));
  std::thread client{
      [&] { run_foreign_client(loop.acceptor.local_endpoint().port(), {.alpn = "\x0apenstock/1", .says = flood}); }};
  std::size_t frames = 0;
  loop.spawn([](Loopback& l, std::optional<Error>& error, std::size_t& count) -> asio::awaitable<void> {
    auto channel = must(co_await l.accept_channel());
    for (;;) {
      const auto frame = co_await channel.async_receive();
      if (!frame) {
        error = frame.error();
        break;
      }
      ++count;
    }
  }(loop, met, frames));
  loop.io.run();
  client.join();
  REQUIRE(met);
  CHECK(met->code == ErrorCode::NOT_PENSTOCK);
  CHECK(frames * 1000 <= unproven_bytes_max);
  CHECK(frames > 30);
}

TEST_CASE("tls channel: no session ticket is ever given out, so nothing can be resumed") {
  Loopback loop;
  std::thread client{[&] {
    asio::io_context io;
    tcp::socket socket{io};
    socket.connect({asio::ip::address_v4::loopback(), loop.acceptor.local_endpoint().port()});
    const SslContextHandle context{SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT);
    const SslHandle ssl{SSL_new(context.get())};
    const std::string alpn{"\x0apenstock/1"};
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(alpn.data()),
                        static_cast<unsigned>(alpn.size()));
    SSL_set_fd(ssl.get(), socket.native_handle());
    const bool connected = SSL_connect(ssl.get()) == 1;
    char byte = 0;
    SSL_read(ssl.get(), &byte, 1);  // would take in tickets
    const bool resumable = SSL_SESSION_is_resumable(SSL_get0_session(ssl.get())) == 1;
    CHECK(connected);
    CHECK_FALSE(resumable);
  }};
  loop.spawn([](Loopback& l) -> asio::awaitable<void> {
    auto channel = must(co_await l.accept_channel());
    CHECK((co_await channel.async_send(ping("x"))).ok());
    co_await channel.async_close();
  }(loop));
  loop.io.run();
  client.join();
}
