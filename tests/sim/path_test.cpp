#include <doctest/doctest.h>

#include <cstdint>
#include <utility>

#include "tests/sim/scenario.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using netem::Probability;

constexpr std::uint32_t ip_overhead = 28;

void check_intact(const LaneOutcome& result) {
  CHECK(result.failure == "");
  CHECK(result.complete);
  CHECK(result.received == result.sent);
  CHECK(to_string(result.sink_violations) == "");
  CHECK(to_string(result.wire_violations) == "");
}

/// A search from the base, towards an interface of 1500 bytes unless told otherwise.
Options searching(Options options, std::size_t ceiling = 1472) {
  options.udp_payload_size = engine::udp_payload_min;
  options.udp_payload_max = ceiling;
  options.congestion = engine::Congestion::bbr;
  return options;
}

netem::LinkSettings with_mtu(netem::LinkSettings link, std::uint32_t mtu) {
  link.mtu = mtu;
  return link;
}

/// `mtu` bytes of IP from the start.
Options narrow(Options options, std::uint32_t mtu) {
  options.mtu = mtu;
  return options;
}

/// How long the same network takes with a search and no obstacle.
Duration undisturbed(const Options& options, std::uint64_t bytes) {
  Scenario net{options};
  const auto result = net.transfer(bytes);
  REQUIRE(result.finished_at);
  return *result.finished_at - net.start();
}

TEST_CASE("sim: the second round trip runs at the interface's MTU") {
  Scenario net{searching({.rtt = 100ms, .seed = 1})};
  std::uint64_t small_late = 0;
  net.forward().drop([&](const Sighting& sighting) {
    // The last one of a batch, or before a slab's end, may be shorter at any time: of those that may not, which are?
    const bool full = sighting.header.payload == engine::udp_payload_min - 35;
    if (sighting.at > net.start() + 110ms && full) ++small_late;
    return false;
  });
  const auto result = net.transfer(10 * MiB);
  check_intact(result);
  CHECK(result.sender.datagram_size == 1472);
  CHECK(result.sender.size_probes_lost == 0);
  CHECK(small_late == 0);
}

TEST_CASE("sim: a jumbo path is used to the full") {
  Scenario net{searching({.rtt = 40ms, .rate = DataRate::megabits_per_second(500), .seed = 2}, 8972)};
  const auto result = net.transfer(30 * MiB);
  check_intact(result);
  CHECK(result.sender.datagram_size == 8972);
  CHECK(result.sender.packets_sent < 30 * MiB / 7000);
}

TEST_CASE("sim: where large datagrams vanish from the start nothing is lost but a little time") {
  for (const std::uint32_t mtu : {1228U, 1280U, 1350U, 1420U, 1492U}) {
    for (const std::size_t interface : {1500U, 9000U}) {
      const Options options = searching({.rtt = 50ms, .seed = mtu}, interface - ip_overhead);
      const Duration free = undisturbed(options, 20 * MiB);
      Scenario net{narrow(options, mtu)};
      const auto result = net.transfer(20 * MiB);
      CAPTURE(mtu);
      CAPTURE(interface);
      check_intact(result);
      CHECK(result.sender.datagram_size + ip_overhead <= mtu);
      CHECK(result.sender.datagram_size + ip_overhead + 8 > mtu);
      CHECK(result.sender.black_holes == 0);
      CHECK(result.sender.packets_lost == net.forward().counters().lost_queue);  // probes are nobody's loss
      CHECK(*result.finished_at - net.start() <=
            free * 125 / 100);  // 1228: a fifth more packets, each with its headers
    }
  }
}

TEST_CASE("sim: a path that shrinks midway is noticed within a second, and used as far as it goes") {
  for (const std::uint32_t mtu : {1280U, 1400U}) {
    for (const Duration at : {300ms, 700ms, 1100ms}) {
      for (const auto congestion : {engine::Congestion::bbr, engine::Congestion::cubic, engine::Congestion::fixed}) {
        Options options = searching({.rtt = 40ms, .seed = mtu});
        options.congestion = congestion;
        const Duration free = undisturbed(options, 20 * MiB);
        Scenario net{options};
        net.forward().change_at(net.start() + at, with_mtu(net.forward().settings(), mtu));
        const auto result = net.transfer(20 * MiB);
        CAPTURE(mtu);
        CAPTURE(at.count());
        CAPTURE(static_cast<int>(congestion));
        check_intact(result);
        CHECK(result.sender.datagram_size + ip_overhead <= mtu);
        CHECK(result.sender.datagram_size + ip_overhead + 8 > mtu);
        CHECK(result.sender.black_holes >= 1);
        CHECK(*result.finished_at - net.start() <= free * 115 / 100 + 1s);
      }
    }
  }
}

TEST_CASE("sim: a path that shrinks and recovers is found again, and one that grows is") {
  Options options = searching({.rtt = 40ms, .rate = DataRate::megabits_per_second(20), .seed = 5});
  Scenario net{narrow(options, 1400)};
  net.forward().change_at(net.start() + 5s, with_mtu(net.forward().settings(), 1500));
  const auto result = net.transfer(40 * MiB);
  check_intact(result);
  CHECK(result.sender.datagram_size == 1472);
  CHECK(result.sender.black_holes == 0);
}

TEST_CASE("sim: probes lost at 20 % random loss do not condemn the size") {
  int missed = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Options options = searching({.rtt = 30ms, .loss = Probability::percent(20), .seed = seed});
    options.ack_loss = Probability::percent(10);
    Scenario net{options};
    const auto result = net.transfer(4 * MiB);
    CAPTURE(seed);
    check_intact(result);
    if (result.sender.datagram_size != 1472) ++missed;
  }
  CHECK(missed <= 1);
}

TEST_CASE(
    "sim: bursts of loss, an outage and reordering are rarely taken for a black hole, and cost next to nothing if so") {
  std::uint64_t alarms = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Options options = searching({.rtt = 50ms, .seed = seed});
    if (seed % 3 == 0)
      options.burst =
          netem::BurstLoss{.to_bad = Probability::parts_per_million(5'300), .to_good = Probability::percent(10)};
    if (seed % 3 == 1) options.outage = Outage{.after = 500ms, .length = 2s};
    if (seed % 3 == 2) {
      options.reorder = Probability::percent(50);
      options.reorder_delay = 10ms;
    }
    Scenario net{options};
    const auto result = net.transfer(8 * MiB);
    CAPTURE(seed);
    check_intact(result);
    CHECK(result.sender.datagram_size == 1472);
    alarms += result.sender.black_holes;
  }
  CHECK(alarms <= 12);  // the outages: their first small probe passes when the path is back
}

TEST_CASE("sim: a lane with little to send finds out about a black hole as well") {
  Options options = searching({.rtt = 40ms, .rate = DataRate::megabits_per_second(50), .seed = 9});
  Scenario net{options};
  // Shrinks while three datagrams are all there is.
  net.forward().change_at(net.start() + 1s, with_mtu(net.forward().settings(), 1300));
  LanePlan plan{.bytes = 300'000};
  plan.offers = 100;
  plan.offer_gap = 50ms;
  const auto result = net.transfer(plan);
  check_intact(result);
  CHECK(result.sender.black_holes >= 1);
  CHECK(result.sender.datagram_size + ip_overhead <= 1300);
}

TEST_CASE("sim: shuffled chunks fit a path that shrinks") {
  Options options = searching({.rtt = 40ms, .seed = 11});
  options.order = engine::ChunkOrder::shuffled;
  Scenario net{options};
  net.forward().change_at(net.start() + 400ms, with_mtu(net.forward().settings(), 1280));
  const auto result = net.transfer(10 * MiB);
  check_intact(result);
  CHECK(result.sender.black_holes >= 1);
}

}  // namespace
}  // namespace penstock::sim
