#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/sim/scenario.h"
#include "tests/sim/under_attack.h"

// Clocks that jump: a process that was stopped, a machine that was suspended. Its engine was asked nothing meanwhile,
// and then everything at once.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;
using netem::Probability;

constexpr Congestion controllers[] = {Congestion::bbr, Congestion::cubic, Congestion::scavenger, Congestion::fixed};
constexpr Duration jumps[] = {1s, 1h, 24h * 365 * 20};

TEST_CASE("clock: a jump ahead is a time-out and no more to a sender, whenever it happens and whoever decides") {
  for (const Congestion congestion : controllers) {
    CAPTURE(static_cast<int>(congestion));
    for (const Duration jump : jumps) {
      SenderUnderAttack slept{10, congestion};
      const auto first = slept.send_for(50ms);
      const auto before = slept.sender.stats();
      slept.jump(jump);
      const auto second = slept.send_for(50ms);
      const auto after = slept.sender.stats();
      CHECK(!slept.closed);
      CHECK(after.pto_count <= before.pto_count + 2);
      // As much as in any 50 ms at this rate, and a burst: the time asleep is no credit.
      CHECK(after.packets_sent - before.packets_sent <= before.packets_sent + 64);
      slept.acknowledge(first);
      CHECK(slept.sender.stats().rtt_smoothed <= 2s);
      (void)slept.send_for(50ms);
      CHECK(!slept.closed);
      const auto again = slept.sender.stats();
      CHECK(again.packets_sent > after.packets_sent);  // and on it goes
      CHECK(again.packets_sent - after.packets_sent <= 3 * before.packets_sent + 64);
      slept.acknowledge(second);
      (void)slept.send_for(50ms);
      CHECK(!slept.closed);
    }
  }
}

TEST_CASE("clock: a jump ahead makes a receiver neither forget, nor talk, nor stop listening") {
  for (const Duration jump : jumps) {
    ReceiverUnderAttack slept{11};
    const std::vector<std::byte> payload(1000);
    for (std::uint64_t i = 0; i < 20; ++i) slept.hear(slept.peer.data({i * 1000}, payload));
    (void)slept.send_for(50ms);
    slept.jump(jump);
    CHECK(slept.send_for(50ms) <= 20);
    CHECK(!slept.closed);
    for (std::uint64_t i = 20; i < 40; ++i) {
      CHECK(slept.hear(slept.peer.data({i * 1000}, payload)).authentic == 1);
      CHECK(slept.send_for(1ms) <= 2);
    }
    CHECK(slept.bytes_accepted() == 40'000);
    CHECK(slept.send_for(50ms) <= 20);
    CHECK(!slept.closed);
  }
}

enum class Sleeper : std::uint8_t { sender, receiver, both };

TEST_CASE("clock: a machine that slept for a minute goes on where it was, at once, and sends no more than before") {
  constexpr Duration asleep_at = 1500ms;
  constexpr Duration asleep = 60s;
  constexpr std::uint64_t bytes = 60 * MiB;
  for (const Congestion congestion : controllers) {
    CAPTURE(static_cast<int>(congestion));
    for (const Sleeper who : {Sleeper::sender, Sleeper::receiver, Sleeper::both}) {
      CAPTURE(static_cast<int>(who));
      for (const Probability loss : {Probability{}, Probability::percent(1)}) {
        // Random loss is what cubic is slow by: not this test's business.
        if (loss > Probability{} && congestion != Congestion::bbr) continue;
        Scenario net{{.rtt = 40ms,
                      .rate = DataRate::megabits_per_second(100),
                      .loss = loss,
                      .congestion = congestion,
                      .seed = 31}};
        const TimePoint from = net.start() + asleep_at;
        const TimePoint until = from + asleep;
        if (who != Sleeper::receiver) net.client().sleep(from, until);
        if (who != Sleeper::sender) net.daemon().sleep(from, until);
        std::uint64_t meanwhile = 0;
        std::uint64_t after = 0;
        net.forward().drop([&](const Sighting& seen) {
          if (seen.at > from + 500ms && seen.at < until) meanwhile += seen.bytes.size();
          if (seen.at >= until && seen.at < until + 200ms) after += seen.bytes.size();
          return false;
        });
        const auto result = net.transfer(bytes);
        CHECK(result.failure == "");
        CHECK(result.complete);
        CHECK(result.received == result.sent);
        CHECK(to_string(result.sink_violations) == "");
        CHECK(to_string(result.wire_violations) == "");
        // Once the window is full: probes, two each quarter of a second.
        CHECK(meanwhile <= 60 * 4 * 2 * 1500);
        // Three round trips' more than the path carries, for who has to find out again what that is.
        const std::uint64_t bdp = net.options().rate.bytes_in(net.rtt());
        CHECK(after <= net.options().rate.bytes_in(200ms) + 3 * bdp);
        REQUIRE(result.finished_at);
        const Duration ideal = net.ideal_finish() - net.start();
        CHECK((*result.finished_at - net.start() - asleep) / 1ms <= ideal * 5 / 4 / 1ms + 1000);
      }
    }
  }
}

}  // namespace
}  // namespace penstock::sim
