#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "common/unique_fd.h"
#include "tests/unit/control/client/gate_daemon.h"
#include "tests/unit/control/client/scene.h"

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
  explicit FadingDaemon(Afterwards afterwards) : afterwards_(afterwards) {}
  /// The next so many connections are turned away as by a busy daemon. Threads: any.
  void be_busy(int connections) { busy_for_ = connections; }
  [[nodiscard]] std::uint16_t port() const { return gate_.port(); }
  std::string token() { return gate_.token(); }

 private:
  SessionLink::Handler meet(SessionLink& link) {
    return [this, &link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_transfer()) co_return Status{};
      faded_ = true;
      // The request comes with the proof, and our answer to that may still be in the queue, which a hang-up drops: a
      // client that was never let in does not come back.
      (void)co_await link.channel().async_drained_to(0);
      co_return Error{ErrorCode::CANCELLED, "gone"};
    };
  }
  bool turn_away(asio::ip::tcp::socket& socket) {
    if (!faded_ && busy_for_ > 0) {
      --busy_for_;
      const auto closed = std::move(socket);
      return true;
    }
    if (!faded_) return false;
    auto taken = std::move(socket);  // closed here, unless it is kept
    // The descriptor alone: a socket object would outlive the event loop that it belongs to.
    if (afterwards_ == Afterwards::silence) kept_.emplace_back(taken.release());
    return true;
  }

  const Afterwards afterwards_;
  bool faded_ = false;
  std::atomic<int> busy_for_ = 0;
  std::vector<UniqueFd> kept_;
  GateDaemon gate_{{.meet = [this](DaemonSession&, SessionLink& link) { return meet(link); },
                    .turn_away = [this](asio::ip::tcp::socket& socket) { return turn_away(socket); }}};
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
    Person ann{daemon};
    TempDir work;
    Reconnecting observer;
    ClientConfig config = ann.config(daemon);
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

TEST_CASE("reconnect: what a busy daemon took of --connect-timeout is not taken from --timeout") {
  FadingDaemon daemon{Afterwards::silence};
  Person ann{daemon};
  TempDir work;
  Reconnecting observer;
  ClientConfig config = ann.config(daemon);
  config.timeout = std::chrono::milliseconds{1500};
  config.connect_timeout = std::chrono::hours{1};
  daemon.be_busy(4);  // whose pauses come to 1.875 s at the least
  Client client{config, observer};
  write_file(work.path() / "f", "content");
  const auto pushed = client.push(to_target(work.path() / "f", "/f"), {});
  REQUIRE_FALSE(pushed);
  CAPTURE(pushed.error().message);
  CHECK(pushed.error().code == ErrorCode::TIMED_OUT);
  const auto busy = [](const Error& cause) { return cause.code == ErrorCode::SERVER_BUSY; };
  CHECK(std::ranges::count_if(observer.causes, busy) == 4);
  // Let in, and lost at once: there is time to come back.
  REQUIRE_FALSE(observer.causes.empty());
  CHECK(observer.causes.back().code == ErrorCode::PEER_LOST);
}
