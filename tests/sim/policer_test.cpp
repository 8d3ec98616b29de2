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

/// DESIGN section 5: "a policer instead of a queue: no worse to others than bbr". `slack`: of the rate, in thousandths,
/// in the mean of three beginnings with either flow first.
void check_no_worse(const FlowPlan& other, Duration rtt, std::uint64_t burst_percent, std::uint64_t slack) {
  const PolicedPath path{.rtt = rtt, .burst_percent = burst_percent};
  const PolicedShares ours = share_policer(path, bbr, other);
  const PolicedShares theirs = share_policer(path, tcp_bbr, other);
  CHECK(ours.other_per_mille + slack >= theirs.other_per_mille);
}

TEST_CASE("sim: through a policer cubic gets no less beside bbr than beside TCP's bbr") {
  check_no_worse(cubic, 20ms, 10, 0);
  check_no_worse(cubic, 40ms, 25, 0);
}

// Not quite yet where the bucket holds much: the congestion README says by how much. Before bbr watched for policers he
// had 1 % there.
TEST_CASE("sim: through a policer TCP's bbr gets little less beside bbr than beside its own kind") {
  check_no_worse(tcp_bbr, 40ms, 25, 100);
}

TEST_CASE("sim: two bbr flows share a policer, and use what it lets through") {
  const PolicedShares shares = share_policer({.rtt = 40ms, .burst_percent = 25}, bbr, bbr);
  CHECK(shares.one_per_mille + shares.other_per_mille >= 900);
  CHECK(shares.other_per_mille >= 400);
  CHECK(shares.other_per_mille <= 600);
}

TEST_CASE("sim: through a policer the model of TCP's bbr shares with another of its kind, and uses the rate") {
  const PolicedShares shares = share_policer({.rtt = 40ms, .burst_percent = 25}, tcp_bbr, tcp_bbr);
  CHECK(shares.one_per_mille + shares.other_per_mille >= 900);
  CHECK(shares.other_least >= 400);
  CHECK(shares.other_most <= 600);
}

}  // namespace
}  // namespace penstock::sim
