#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "tests/sim/scenario.h"

// Paths on which nothing can succeed, or nearly nothing: no crash, no unbounded sending, no false success.
namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;
using netem::Probability;

constexpr Congestion all_controllers[] = {Congestion::bbr, Congestion::cubic, Congestion::scavenger, Congestion::fixed};

void check_intact(const LaneOutcome& result) {
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.received == result.sent);
  CHECK(to_string(result.sink_violations) == "");
  CHECK(to_string(result.wire_violations) == "");
}

Options network(Congestion congestion, std::uint64_t seed) {
  Options options{.rtt = 40ms, .seed = seed};
  options.congestion = congestion;
  options.udp_payload_size = engine::udp_payload_min;
  options.udp_payload_max = 1472;
  return options;
}

/// A minute into a path by which the sender never hears anything. It goes on trying, since the session's time-out says
/// when it is enough; what it sends is a first window and a little more: for `fixed`, two round trips and 100 ms of
/// 95 Mbit/s.
LaneOutcome minute_unheard(Options options) {
  CAPTURE(static_cast<int>(options.congestion));
  options.patience = 60s;
  Scenario net{options};
  const auto result = net.transfer(100 * MiB);
  CHECK(result.failure == "");
  CHECK_FALSE(result.complete);
  CHECK_FALSE(result.sender_closed);
  CHECK(result.sender.bytes_settled == 0);
  CHECK(result.sender.payload_bytes_sent <= 2 * MiB);
  return result;
}

TEST_CASE("sim: into a path that loses everything goes a first window, then a probe now and then") {
  for (const Congestion congestion : all_controllers) {
    Options options = network(congestion, 1);
    options.loss = Probability::always();
    const auto result = minute_unheard(options);
    CAPTURE(static_cast<int>(congestion));
    // Two a PTO, and those are 250 ms apart at most.
    CHECK(result.sender.pto_count >= 60);
    CHECK(result.sender.packets_sent <= 2 * MiB / 1200 + 60 * 2 * 5);
  }
}

TEST_CASE("sim: when no ACK comes back nothing counts as delivered, and sending is bounded by the window") {
  for (const Congestion congestion : all_controllers) {
    Options options = network(congestion, 2);
    options.ack_loss = Probability::always();
    const auto result = minute_unheard(options);
    CAPTURE(static_cast<int>(congestion));
    CHECK(result.receiver.bytes_sent <= 60 * 40 * 1200);  // an ACK an eighth of the RTT at most, none without cause
  }
}

TEST_CASE("sim: ACKs that stop midway stop the sender, and it goes on when they are back") {
  for (const Congestion congestion : {Congestion::bbr, Congestion::cubic}) {
    Scenario net{network(congestion, 3)};
    netem::LinkSettings deaf = net.backward().settings();
    deaf.down = true;
    net.backward().change_at(net.start() + 500ms, deaf);
    net.backward().change_at(net.start() + 20s, net.backward().settings());
    const auto result = net.transfer(30 * MiB);
    CAPTURE(static_cast<int>(congestion));
    check_intact(result);
    CHECK(result.sender.payload_bytes_retransmitted <= 8 * MiB);
    CHECK(*result.finished_at <= net.start() + 20s + 10s);
  }
}

TEST_CASE("sim: a round trip of 5 s is slow, and works, whatever the control channel measured") {
  for (const Congestion congestion : {Congestion::bbr, Congestion::cubic, Congestion::fixed}) {
    for (const Duration told : {Duration{5s}, Duration{100ms}}) {
      Options options = network(congestion, 4);
      options.rtt = 5s;
      options.rate = DataRate::megabits_per_second(10);
      options.initial_rtt = told;
      Scenario net{options};
      const auto result = net.transfer(4 * MiB);
      CAPTURE(static_cast<int>(congestion));
      check_intact(result);
      CHECK(*result.finished_at <= net.start() + 150s);
      CHECK(result.sender.payload_bytes_sent <= 3 * 4 * MiB);
    }
  }
}

TEST_CASE("sim: where half of all datagrams come late, loss detection learns, and repeats little") {
  for (const Congestion congestion : {Congestion::bbr, Congestion::cubic}) {
    Options options = network(congestion, 5);
    options.reorder = Probability::percent(50);
    options.reorder_delay = 15ms;
    Scenario net{options};
    const auto result = net.transfer(30 * MiB);
    CAPTURE(static_cast<int>(congestion));
    check_intact(result);
    CHECK(result.sender.payload_bytes_retransmitted <= 3 * MiB);
    CHECK(*result.finished_at <= net.start() + 3 * (net.ideal_finish() - net.start()) + 1s);
  }
}

}  // namespace
}  // namespace penstock::sim
