#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "control/gate/admission.h"
#include "control/session/session_link.h"
#include "tests/unit/control/gate/loopback.h"

namespace penstock::control::test {

/// A real daemon's gate on a thread of its own, and behind it whatever a test wants a client to meet, one at a time.
/// What the script borrows must outlive this: let it be the last member of its owner.
class GateDaemon {
 public:
  struct Script {
    /// Makes the handler of a session that was let in. Called, as the handler is, on the daemon's thread.
    std::function<SessionLink::Handler(DaemonSession& session, SessionLink& link)> meet;
    /// Takes a connection away before the gate sees it, by moving it out and returning true. Empty: none.
    std::function<bool(asio::ip::tcp::socket& socket)> turn_away = {};
    std::uint16_t udp_port = 0;  // 0: the same number as TCP's, where nobody listens
    std::vector<std::string> capabilities = {};
    /// A client's proof has come; it is answered when this has returned.
    std::function<void()> on_proof = {};
  };

  explicit GateDaemon(Script script) : script_(std::move(script)) {
    loop_.spawn(serve());
    thread_ = std::thread{[this] { loop_.io.run(); }};
  }
  ~GateDaemon() {
    loop_.io.stop();
    thread_.join();
  }
  GateDaemon(const GateDaemon&) = delete;
  GateDaemon& operator=(const GateDaemon&) = delete;

  [[nodiscard]] std::uint16_t port() const { return loop_.acceptor.local_endpoint().port(); }
  std::string token() { return encode_token(store_.add_token()); }
  /// Where the script runs.
  asio::io_context& io() { return loop_.io; }

 private:
  asio::awaitable<void> serve() {
    for (;;) {
      auto socket = co_await loop_.accept();
      if (script_.turn_away && script_.turn_away(socket)) continue;
      std::function<DaemonOffer()> make_offer = [this] { return offer(); };
      auto admitted = co_await async_admit(std::move(socket), loop_.daemon_context, keeper_, std::move(make_offer));
      if (!admitted) continue;
      const auto session = SessionLink::make(std::move(admitted->channel));
      SessionLink::Handler handler = script_.meet(admitted->session, *session);
      (void)co_await session->async_run(std::move(handler));
    }
  }
  /// The gate asks for it when the hello has come, then when the proof has.
  UnixSeconds tell_time() {
    if (++told_time_ == 2 && script_.on_proof) script_.on_proof();
    return noon;
  }
  DaemonOffer offer() {
    told_time_ = 0;
    const std::uint64_t first = next_id_;
    next_id_ += 2;
    return {.identity = &daemon_identity(),
            .receipt_key = &receipt_key(),
            .connection_ids = {{first}, {first + 1}},
            .udp_port = script_.udp_port != 0 ? script_.udp_port : port(),
            .capabilities = script_.capabilities,
            .software = "scripted"};
  }

  Script script_;
  Loopback loop_;
  TestRegistry store_;
  Gatekeeper keeper_{.registry = store_.registry.get(),
                     .signer = &loop_.signer,
                     .limiter = {},
                     .counters = {},
                     .wall_clock = [this] { return tell_time(); },
                     .monotonic_clock = [] { return TimePoint{}; },
                     .log = [](std::string_view) {}};
  std::uint64_t next_id_ = 1000;
  int told_time_ = 0;  // in this admission
  std::thread thread_;
};

}  // namespace penstock::control::test
