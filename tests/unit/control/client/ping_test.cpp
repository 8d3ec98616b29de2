#include <doctest/doctest.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <limits>
#include <optional>
#include <string>

#include "control/client/connection.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_context.h"
#include "control/session/lane_setup.h"
#include "control/session/udp_probe.h"
#include "tests/unit/control/client/gate_daemon.h"
#include "tests/unit/control/client/scene.h"

// What ping measures, and what it says when it can not: against a real daemon, and against ones that are old or lie.

using namespace penstock;
using namespace penstock::control;
using namespace penstock::control::test;

namespace {

PingAnswer answer_of(Result<PingAnswer> ping) {
  if (!ping) FAIL(ping.error().message);
  return std::move(*ping);
}

void check_measured(const PingAnswer& ping) {
  CAPTURE(ping.unmeasured);
  CHECK(ping.control_rtt_ms > 0);
  CHECK(ping.udp_reachable);
  REQUIRE(ping.udp_rtt_ms);
  REQUIRE(ping.udp_rtt_smoothed_ms);
  CHECK(*ping.udp_rtt_ms > 0);
  CHECK(*ping.udp_rtt_smoothed_ms >= *ping.udp_rtt_ms);
  CHECK(ping.path_mtu);
  REQUIRE(ping.rate_bps);
  CHECK(*ping.rate_bps > 1'000'000);
  REQUIRE(ping.loss);
  CHECK(*ping.loss >= 0);
  CHECK(*ping.loss <= 1);
  CHECK(ping.loss_packets > 100);
  CHECK(ping.ecn == "usable");
  CHECK(ping.unmeasured.empty());
}

/// One session that asks `requests` one after another; what the daemon answers.
std::vector<proto::Envelope> ask(const ClientConfig& config, std::vector<proto::Envelope> requests) {
  asio::io_context io{1};
  auto home = must(ClientHome::open(config.home));
  auto tls = must(TlsContext::for_client());
  std::vector<proto::Envelope> answers;
  const auto play = [&]() -> asio::awaitable<void> {
    auto opened = co_await async_open_session(config, home, tls);
    if (!opened) FAIL(opened.error().message);
    SessionLink* const link = opened->link.get();
    SessionLink::Handler handler = [&, link](proto::Envelope envelope) -> asio::awaitable<Status> {
      answers.push_back(std::move(envelope));
      if (answers.size() == requests.size())
        link->end(Status{});
      else
        link->send(requests[answers.size()]);
      co_return Status{};
    };
    link->send(requests.front());
    (void)co_await link->async_run(std::move(handler));
  };
  asio::co_spawn(io, play, asio::detached);
  io.run();
  return answers;
}

proto::Envelope open_probe(bool bulk) {
  proto::Envelope request;
  request.mutable_open_probe()->set_udp_payload_max(1200);
  request.mutable_open_probe()->set_bulk(bulk);
  return request;
}

/// A daemon's gate, a lane that echoes, and an answer of the test's choice to the request for a probe.
class ScriptedDaemon {
 public:
  explicit ScriptedDaemon(proto::Envelope answer) : answer_(std::move(answer)) {}
  [[nodiscard]] std::uint16_t port() const { return gate_.port(); }
  std::string token() { return gate_.token(); }

 private:
  SessionLink::Handler meet(DaemonSession& session, SessionLink& link) {
    const auto keys =
        std::make_shared<engine::LaneKeys>(take_lane_keys(session.secrets, session.agreement, End::daemon));
    return [this, keys, &link](proto::Envelope envelope) -> asio::awaitable<Status> {
      if (!envelope.has_open_probe()) co_return Status{};
      start_probe_echo(*worker_, std::move(*keys), LanePath{}, 0);
      link.send(answer_);
      co_return Status{};
    };
  }

  const proto::Envelope answer_;
  std::unique_ptr<io::Worker> worker_ = must(io::Worker::create({}));
  GateDaemon gate_{{.meet = [this](DaemonSession& session, SessionLink& link) { return meet(session, link); },
                    .udp_port = worker_->local_endpoints().front().port()}};
};

PingAnswer ping_scripted(proto::Envelope answer, Duration timeout = std::chrono::minutes{5}) {
  ScriptedDaemon daemon{std::move(answer)};
  Person ann{daemon};
  ClientConfig config = ann.config(daemon);
  config.timeout = timeout;
  Client client{config, ann.listener};
  return answer_of(client.ping());
}

}  // namespace

TEST_CASE("ping: measures rate and loss without a grant, and again and again") {
  Daemon daemon{{}, [](ServerConfig& config) { config.transfers_max = 1; }};
  Person ann{daemon};
  // The second would be refused if the first still counted as a transfer.
  for (int i = 0; i < 2; ++i) check_measured(answer_of(ann.client.ping()));
  CHECK(fs::is_empty(daemon.root()));
}

TEST_CASE("ping: both ends name their fast paths") {
  Daemon daemon{{}, [](ServerConfig& config) { config.workers = 3; }};
  Person ann{daemon};
  const auto ping = answer_of(ann.client.ping());
  const auto has = [](const std::vector<std::string>& words, std::string_view start) {
    return std::ranges::any_of(words, [&](const auto& word) { return word.starts_with(start); });
  };
  CHECK(has(ping.fast_paths_there, "workers=3"));
  CHECK(has(ping.fast_paths, "workers=1"));
  for (const auto* word : {"receive_buffer=", "send_buffer=", "aead=", "cpu="}) {
    CHECK(has(ping.fast_paths, word));
    CHECK(has(ping.fast_paths_there, word));
  }
}

TEST_CASE("ping: a daemon that may run no more transfers answers all the same, and says so") {
  Daemon daemon{{"rw:/"}, [](ServerConfig& config) { config.transfers_max = 0; }};
  Person ann{daemon};
  const auto ping = answer_of(ann.client.ping());
  CHECK(ping.udp_reachable);
  CHECK(ping.udp_rtt_ms);
  CHECK(ping.path_mtu);
  CHECK_FALSE(ping.rate_bps);
  CHECK_FALSE(ping.loss);
  CHECK(ping.unmeasured.find("as many transfers as it may") != std::string::npos);
}

TEST_CASE("ping: never sends faster than the server's cap") {
  Daemon daemon{{"rw:/"}, [](ServerConfig& config) { config.rate_cap = DataRate::megabits_per_second(20); }};
  Person ann{daemon};
  const auto ping = answer_of(ann.client.ping());
  check_measured(ping);
  CHECK(*ping.rate_bps <= 20'000'000 / 8 * 9);  // the pacer's own bound over a quarter of a second
}

TEST_CASE("ping: --timeout ends the measurement, and what is not known stays unknown") {
  Daemon daemon;
  Person ann{daemon};
  auto config = ann.config(daemon);
  config.timeout = std::chrono::milliseconds{100};
  Client hasty{config, ann.listener};
  const auto ping = answer_of(hasty.ping());
  CHECK_FALSE(ping.rate_bps);
  CHECK_FALSE(ping.loss);
  CHECK_FALSE(ping.unmeasured.empty());
}

TEST_CASE("ping: a session carries one probe, and no transfer beside it") {
  Daemon daemon;
  Person ann{daemon};
  proto::Envelope transfer;
  transfer.mutable_open_transfer()->set_direction(proto::PUSH);
  transfer.mutable_open_transfer()->set_resume_key(std::string(32, 'k'));
  const auto answers = ask(ann.config(daemon), {open_probe(true), open_probe(true), transfer});
  REQUIRE(answers.size() == 3);
  REQUIRE(answers[0].has_probe_opened());
  const auto& opened = answers[0].probe_opened();
  CHECK_FALSE(opened.has_refused());
  CHECK(opened.bytes_max() > 0);
  CHECK(opened.bytes_max() <= 4 * GiB);
  CHECK(opened.time_max_ms() > 0);
  CHECK(opened.time_max_ms() <= 20'000);
  CHECK(opened.udp_payload_max() == 1200);
  CHECK(answers[1].has_failure());
  CHECK(answers[2].has_failure());
}

TEST_CASE("ping: an older client gets the answer that it knows, an older daemon leaves two figures unknown") {
  {
    Daemon daemon;
    Person ann{daemon};
    const auto answers = ask(ann.config(daemon), {open_probe(false)});
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].has_done());
  }
  proto::Envelope done;
  done.mutable_done();
  const auto ping = ping_scripted(std::move(done));
  CHECK(ping.udp_reachable);
  CHECK(ping.udp_rtt_ms);
  CHECK_FALSE(ping.rate_bps);
  CHECK_FALSE(ping.loss);
  CHECK(ping.unmeasured.find("version") != std::string::npos);
}

TEST_CASE("ping: a daemon that promises absurdities is measured within our own bounds") {
  proto::Envelope lies;
  auto& opened = *lies.mutable_probe_opened();
  opened.set_bytes_max(std::numeric_limits<std::uint64_t>::max());
  opened.set_time_max_ms(std::numeric_limits<std::uint32_t>::max());
  opened.set_rate_cap_bps(1);
  opened.set_udp_payload_max(1);
  opened.mutable_refused()->set_message("no\x1b[31m\n");
  for (int i = 0; i < 1000; ++i) opened.add_fast_paths("fast\x1b[31m" + std::string(1000, 'x'));
  // It takes nothing: what was sent beyond the initial credit never arrives, and the timeout ends it.
  const auto ping = ping_scripted(std::move(lies), std::chrono::milliseconds{300});
  CHECK(ping.udp_reachable);
  CHECK_FALSE(ping.rate_bps);
  CHECK_FALSE(ping.loss);
  CHECK(ping.unmeasured.find('\x1b') == std::string::npos);
  CHECK(ping.fast_paths_there.size() == 32);
  for (const auto& word : ping.fast_paths_there) {
    CHECK(word.size() < 100);
    CHECK(word.find('\x1b') == std::string::npos);
  }
}
