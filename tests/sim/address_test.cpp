#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/random.h"
#include "tests/sim/scenario.h"
#include "tests/sim/soak.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::AddressChange;
using netem::Probability;

void check_intact(const LaneOutcome& result) {
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.received == result.sent);
  CHECK(to_string(result.sink_violations) == "");
  CHECK(to_string(result.wire_violations) == "");
  CHECK(result.messages_wrong == 0);
}

/// The end that follows.
const engine::LaneStats& daemon_of(const LanePlan& plan, const LaneOutcome& result) {
  return plan.pull ? result.sender : result.receiver;
}

Options network(std::uint64_t seed, engine::Congestion congestion = engine::Congestion::bbr) {
  Options options{.rtt = 60ms, .seed = seed};
  options.congestion = congestion;
  options.udp_payload_size = engine::udp_payload_min;
  options.udp_payload_max = 1472;
  return options;
}

Duration time_of(const Options& options, const LanePlan& plan) {
  Scenario net{options};
  const auto result = net.transfer(plan);
  REQUIRE(result.finished_at);
  return *result.finished_at - net.start();
}

const std::uint64_t histories = is_soak() ? 120 : 24;

TEST_CASE("sim: a NAT that forgets, at any moment, loses nothing and costs a second at most") {
  Rng luck{11};
  for (std::uint64_t seed = 0; seed < histories; ++seed) {
    const Options options = network(seed);
    LanePlan plan{.bytes = 12 * MiB, .pull = seed % 2 == 1};
    const Duration undisturbed = time_of(options, plan);
    plan.moves = {
        {.after = Duration{static_cast<Duration::rep>(luck.below(static_cast<std::uint64_t>(undisturbed.count())))},
         .change = AddressChange::port}};
    Scenario net{options};
    const auto result = net.transfer(plan);
    CAPTURE(seed);
    CAPTURE(plan.moves.front().after.count());
    check_intact(result);
    CHECK(*result.finished_at - net.start() <= undisturbed * 11 / 10 + 1s);
  }
}

TEST_CASE("sim: after a NAT forgot, rate and size of datagrams are what they were") {
  for (const bool pull : {false, true}) {
    LanePlan plan{.bytes = 20 * MiB, .pull = pull};
    plan.moves = {{.after = 800ms, .change = AddressChange::port}};
    Scenario net{network(3)};
    const auto result = net.transfer(plan);
    CAPTURE(pull);
    check_intact(result);
    CHECK(daemon_of(plan, result).peer_moves == 1);
    CHECK(result.sender.datagram_size == 1472);
    CHECK(result.sender.black_holes == 0);
  }
}

TEST_CASE("sim: a client that moves to another host's address goes on, and the new path is learnt from scratch") {
  Rng luck{12};
  for (std::uint64_t seed = 0; seed < histories; ++seed) {
    const Options options = network(seed, seed % 3 == 0 ? engine::Congestion::cubic : engine::Congestion::bbr);
    LanePlan plan{.bytes = 12 * MiB, .pull = seed % 2 == 1};
    plan.messages = 10;
    plan.message_gap = 50ms;
    const Duration undisturbed = time_of(options, plan);
    plan.moves = {
        {.after = Duration{static_cast<Duration::rep>(luck.below(static_cast<std::uint64_t>(undisturbed.count())))},
         .change = AddressChange::host}};
    Scenario net{options};
    const auto result = net.transfer(plan);
    CAPTURE(seed);
    CAPTURE(plan.moves.front().after.count());
    check_intact(result);
    CHECK(*result.finished_at - net.start() <= undisturbed * 15 / 10 + 2s);  // cubic: a slow start of its own
  }
}

TEST_CASE("sim: moves under loss both ways, one after another, lose nothing") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Options options = network(seed);
    options.loss = Probability::percent(10);
    options.ack_loss = Probability::percent(10);
    LanePlan plan{.bytes = 12 * MiB, .pull = seed % 2 == 1};
    plan.moves = {{300ms, AddressChange::port},
                  {700ms, AddressChange::host},
                  {2200ms, AddressChange::host},
                  {2300ms, AddressChange::port}};
    Scenario net{options};
    const auto result = net.transfer(plan);
    CAPTURE(seed);
    check_intact(result);
    CHECK(daemon_of(plan, result).peer_moves <= 4);
    CHECK(*result.finished_at <= net.start() + 20s);
  }
}

// On the path, but not on the way back: it sees datagrams, and sends copies that arrive first, from elsewhere.
TEST_CASE("sim: a spoofed source address moves no bulk, however often it is tried") {
  for (const bool pull : {false, true}) {
    for (const std::uint64_t every : {1U, 7U, 100U}) {
      Options options = network(21);
      LanePlan plan{.bytes = 12 * MiB, .pull = pull};
      const Duration undisturbed = time_of(options, plan);
      Scenario net{options};
      net.forward().meddle([&](const Sighting& sighting) -> std::vector<Datagram> {
        Lane& lane = net.lane(0);
        const ConnectionId daemon = pull ? lane.sender_id() : lane.receiver_id();
        if (sighting.header.connection != daemon || sighting.index % every != 0) return {};
        lane.spoof(sighting.header.number);
        return {Datagram{sighting.bytes.begin(), sighting.bytes.end()}};
      });
      const auto result = net.transfer(plan);
      CAPTURE(pull);
      CAPTURE(every);
      check_intact(result);
      CHECK(result.came_from_spoofed > 0);
      CHECK(daemon_of(plan, result).peer_moves == 0);
      CHECK(result.sent_to_spoofed <= 3 * result.came_from_spoofed);
      CHECK(result.sent_to_spoofed <= 40 * 1000);  // challenges alone, one a PTO
      // Copies that come before the originals make the path look shorter than it is: that costs rate, here as anywhere.
      CHECK(*result.finished_at - net.start() <= undisturbed * 3 + 1s);
    }
  }
}

TEST_CASE("sim: a client that waits in silence says something, so that its new address is found out") {
  // All that was offered is here, and acknowledged, when the NAT forgets; the rest is offered later.
  LanePlan plan{.bytes = 2 * MiB, .pull = true};
  plan.offers = 2;
  plan.offer_gap = 5s;
  plan.moves = {{.after = 3s, .change = AddressChange::port}};
  Scenario net{network(31)};
  const auto result = net.transfer(plan);
  check_intact(result);
  CHECK(*result.finished_at <= net.start() + 8s);
}

// Its processor hands datagrams over so late that round trips vary by several times the path's own: three PTO were 1.6
// s.
TEST_CASE("sim: a slow client that pulls is silent for half a second at most, whatever round trips it sees") {
  for (const Duration late : {60ms, 100ms}) {
    for (Duration after = 100ms; after < 1s; after += 20ms) {
      Options options = network(7);
      options.rtt = 40ms;
      options.rate = DataRate::megabits_per_second(30);
      options.coalescing = late;
      LanePlan plan{.bytes = 6 * MiB, .pull = true};
      plan.moves = {{.after = after, .change = AddressChange::port}};
      Scenario net{options};
      TimePoint spoke = net.start();
      Duration silence{};
      net.forward().meddle([&](const Sighting& sighting) -> std::vector<Datagram> {
        silence = std::max(silence, sighting.at - std::exchange(spoke, sighting.at));
        return {};
      });
      const auto result = net.transfer(plan);
      CAPTURE(late.count());
      CAPTURE(after.count());
      check_intact(result);
      CHECK(silence <= 500ms + 2 * late);
    }
  }
}

TEST_CASE("sim: bulk leaves for a new port as soon as that has answered, however full the window for the old one was") {
  for (Duration outage = 20ms; outage <= 400ms; outage += 20ms) {
    Options options = network(5);
    options.outage = Outage{.after = 700ms, .length = outage};
    LanePlan plan{.bytes = 12 * MiB, .pull = true};
    plan.moves = {{.after = 710ms, .change = AddressChange::port}};
    Scenario net{options};
    std::vector<TimePoint> said;  // the client: first that it is there, then the answer
    std::optional<TimePoint> resumed;
    net.forward().meddle([&](const Sighting& sighting) -> std::vector<Datagram> {
      if (sighting.at >= net.start() + 700ms + outage && said.size() < 2) said.push_back(sighting.at);
      return {};
    });
    net.backward().meddle([&](const Sighting& sighting) -> std::vector<Datagram> {
      if (!said.empty() && !resumed && sighting.header.offset) resumed = sighting.at;
      return {};
    });
    const auto result = net.transfer(plan);
    CAPTURE(outage.count());
    check_intact(result);
    REQUIRE(said.size() == 2);
    REQUIRE(resumed);
    CHECK(*resumed - said.front() <= 60ms + 30ms + 10ms);
  }
}

}  // namespace
}  // namespace penstock::sim
