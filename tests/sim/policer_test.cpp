#include <doctest/doctest.h>

#include <cstdint>

#include "tests/sim/policed_pair.h"

// Where a policer is the bottleneck no delay tells that there is too much, and whoever asks for more has more.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;

constexpr FlowPlan bbr{.congestion = Congestion::bbr};
constexpr FlowPlan cubic{.congestion = Congestion::cubic};
constexpr FlowPlan tcp_bbr{.tcp_bbr = true};

/// Of the rate, in thousandths: what may be luck in the mean of three beginnings, with either flow first.
constexpr std::uint64_t luck = 50;

/// DESIGN section 5: "a policer instead of a queue: no worse to others than bbr".
void check_no_worse(const FlowPlan& other, Duration rtt, std::uint64_t burst_percent) {
  const PolicedPath path{.rtt = rtt, .burst_percent = burst_percent};
  const PolicedShares ours = share_policer(path, bbr, other);
  const PolicedShares theirs = share_policer(path, tcp_bbr, other);
  CHECK(ours.other_per_mille + luck >= theirs.other_per_mille);
}

TEST_CASE("sim: through a policer at 40 ms cubic gets no less beside bbr than beside TCP's bbr") {
  check_no_worse(cubic, 40ms, 25);
}

// Not so yet: the congestion README says by how much, and why. Whoever mends it takes the marks away.
TEST_CASE("sim: through a policer at 20 ms cubic gets no less beside bbr than beside TCP's bbr" *
          doctest::should_fail()) {
  check_no_worse(cubic, 20ms, 10);
}

TEST_CASE("sim: through a policer TCP's bbr gets no less beside bbr than beside its own kind" *
          doctest::should_fail()) {
  check_no_worse(tcp_bbr, 40ms, 25);
}

TEST_CASE("sim: through a policer the model of TCP's bbr shares with another of its kind, and uses the rate") {
  const PolicedShares shares = share_policer({.rtt = 40ms, .burst_percent = 25}, tcp_bbr, tcp_bbr);
  CHECK(shares.one_per_mille + shares.other_per_mille >= 900);
  CHECK(shares.other_least >= 400);
  CHECK(shares.other_most <= 600);
}

}  // namespace
}  // namespace penstock::sim
