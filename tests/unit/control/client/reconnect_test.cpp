#include <doctest/doctest.h>

#include <asio/post.hpp>
#include <vector>

#include "control/gate/admission.h"
#include "control/session/session_link.h"
#include "tests/unit/control/client/scene.h"
#include "tests/unit/control/gate/loopback.h"

// What a client does when its daemon goes away and does not come back as it was.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

/// What meets those who come back.
enum class Afterwards : std::uint8_t { silence, hang_up };

/// Lets clients register; hangs up without a word at the first transfer that is asked for, and serves nobody after.
class FadingDaemon {
 public:
  explicit FadingDaemon(Afterwards afterwards) : afterwards_(afterwards) {
    loop_.spawn(serve());
    thread_ = std::thread{[this] { loop_.io.run(); }};
  }
  ~FadingDaemon() {
    loop_.io.stop();
    thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const { return loop_.acceptor.local_endpoint().port(); }
  std::string token() { return encode_token(store_.add_token()); }

 private:
  asio::awaitable<void> serve() {
    for (;;) {
      auto socket = co_await loop_.accept();
      if (faded_) {
        if (afterwards_ == Afterwards::silence) kept_.push_back(std::move(socket));
        continue;
      }
      std::function<DaemonOffer()> make_offer = [this] { return offer(); };
      auto admitted = co_await async_admit(std::move(socket), loop_.daemon_context, keeper_, std::move(make_offer));
      if (!admitted) continue;
      const auto session = SessionLink::make(std::move(admitted->channel));
      SessionLink::Handler handler = [this](proto::Envelope envelope) -> asio::awaitable<Status> {
        if (!envelope.has_open_transfer()) co_return Status{};
        faded_ = true;
        co_return Error{ErrorCode::CANCELLED, "gone"};
      };
      (void)co_await session->async_run(std::move(handler));
    }
  }
  DaemonOffer offer() {
    const std::uint64_t first = next_id_;
    next_id_ += 2;
    return {.identity = &daemon_identity(),
            .receipt_key = &receipt_key(),
            .connection_ids = {{first}, {first + 1}},
            .udp_port = port(),
            .software = "fading test"};
  }

  const Afterwards afterwards_;
  Loopback loop_;
  TestRegistry store_;
  Gatekeeper keeper_{.registry = store_.registry.get(),
                     .signer = &loop_.signer,
                     .limiter = {},
                     .counters = {},
                     .wall_clock = [] { return noon; },
                     .monotonic_clock = [] { return TimePoint{}; },
                     .log = [](std::string_view) {}};
  bool faded_ = false;
  std::vector<tcp::socket> kept_;
  std::uint64_t next_id_ = 1000;
  std::thread thread_;
};

class Reconnecting final : public Observer {
 public:
  void on_reconnecting(const Error& cause, unsigned) override { causes.push_back(cause); }
  std::vector<Error> causes;
};

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("reconnect: a daemon that dies before the transfer starts is tried again until --timeout, and no longer") {
  for (const auto afterwards : {Afterwards::silence, Afterwards::hang_up}) {
    CAPTURE(static_cast<int>(afterwards));
    FadingDaemon daemon{afterwards};
    TempDir work;
    Reconnecting observer;
    ClientConfig config;
    config.home = work.path() / "home";
    config.host = "127.0.0.1";
    config.port = daemon.port();
    Client registering{config, observer};
    const auto registered = registering.register_client(daemon.token());
    if (!registered) FAIL(registered.error().message);

    config.timeout = std::chrono::seconds{2};
    config.connect_timeout = std::chrono::hours{1};  // a peer that is silent must not be waited for so long
    Client client{config, observer};
    write_file(work.path() / "f", "content");
    const auto pushed = client.push(to_target(work.path() / "f", "/f"), {});
    REQUIRE_FALSE(pushed);
    const Error& error = pushed.error();
    CAPTURE(error.message);
    CHECK(error.code == ErrorCode::TIMED_OUT);
    CHECK(error.message.find("127.0.0.1:" + std::to_string(daemon.port())) != std::string::npos);
    CHECK(count(error.message, "run the same command again") == 1);
    REQUIRE_FALSE(observer.causes.empty());
    CHECK(observer.causes.front().code == ErrorCode::PEER_LOST);
    if (afterwards == Afterwards::hang_up) CHECK(observer.causes.back().code == ErrorCode::SERVER_BUSY);
  }
}
