#pragma once

#include <openssl/ssl.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <csignal>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "control/gate/tls_channel.h"
#include "tests/unit/control/gate/fixtures.h"

namespace penstock::control::test {

using asio::ip::tcp;

/// The value, or a failed test that says why there is none.
template <class T>
T must(Result<T> result) {
  // No REQUIRE_MESSAGE: under doctest -s its message is made on success too, where there is no error to ask.
  if (!result) FAIL(result.error().message);
  return *std::move(result);
}

inline proto::Envelope ping(std::string payload) {
  proto::Envelope envelope;
  envelope.mutable_ping()->set_payload(std::move(payload));
  return envelope;
}

/// A daemon's port and its clients, all coroutines of one thread over real loopback sockets; foreign clients may use
/// threads of their own.
struct Loopback {
  asio::io_context io{1};
  HandshakeExecutor signer;  // goes before io, as it must
  TlsContext daemon_context = TlsContext::for_daemon(daemon_identity()).value();
  TlsContext client_context = TlsContext::for_client().value();
  tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
  TrustBasis trust{.host = "host", .pinned = {daemon_identity().pin()}};

  explicit Loopback(std::size_t signer_queue = HandshakeExecutor::queue_max_default) : signer(signer_queue) {
    // OpenSSL's own socket BIO, which the foreign peers use, writes without MSG_NOSIGNAL.
    std::signal(SIGPIPE, SIG_IGN);
  }

  void spawn(asio::awaitable<void> coroutine) {
    asio::co_spawn(io, std::move(coroutine), [](const std::exception_ptr& failed) {
      if (failed) std::rethrow_exception(failed);
    });
  }
  asio::awaitable<tcp::socket> accept() { co_return co_await acceptor.async_accept(asio::use_awaitable); }
  asio::awaitable<tcp::socket> dial() {
    tcp::socket socket{io};
    co_await socket.async_connect(acceptor.local_endpoint(), asio::use_awaitable);
    co_return socket;
  }
  asio::awaitable<Result<TlsChannel>> accept_channel() {
    auto socket = co_await accept();
    co_return co_await TlsChannel::async_accept(std::move(socket), daemon_context, signer);
  }
  asio::awaitable<Result<TlsChannel>> dial_channel() {
    auto socket = co_await dial();
    co_return co_await TlsChannel::async_connect(std::move(socket), client_context, trust);
  }
};

/// What a blocking OpenSSL client of somebody else's meets.
struct ForeignOutcome {
  bool connected = false;
  std::string received;
};
struct ForeignClient {
  int version_max = TLS1_3_VERSION;
  std::string alpn = {};  // wire form; empty: none is offered
  std::string says = {};
};

inline ForeignOutcome run_foreign_client(std::uint16_t port, const ForeignClient& what) {
  asio::io_context io;
  tcp::socket socket{io};
  socket.connect({asio::ip::address_v4::loopback(), port});
  const SslContextHandle context{SSL_CTX_new(TLS_client_method())};
  SSL_CTX_set_max_proto_version(context.get(), what.version_max);
  const SslHandle ssl{SSL_new(context.get())};
  if (!what.alpn.empty())
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(what.alpn.data()),
                        static_cast<unsigned>(what.alpn.size()));
  SSL_set_fd(ssl.get(), socket.native_handle());
  ForeignOutcome outcome;
  outcome.connected = SSL_connect(ssl.get()) == 1;
  if (!outcome.connected) return outcome;
  if (!what.says.empty()) SSL_write(ssl.get(), what.says.data(), static_cast<int>(what.says.size()));
  char buffer[4096];
  int got = 0;
  while ((got = SSL_read(ssl.get(), buffer, sizeof buffer)) > 0)
    outcome.received.append(buffer, static_cast<std::size_t>(got));
  return outcome;
}

}  // namespace penstock::control::test
