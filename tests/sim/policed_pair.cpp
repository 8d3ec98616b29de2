#include "tests/sim/policed_pair.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration measured = 60s;
constexpr std::uint64_t payload_per_mille = 958;

}  // namespace

PolicedShares share_policer(const PolicedPath& path, const FlowPlan& one, const FlowPlan& other,
                            std::uint64_t beginnings) {
  const std::uint64_t whole = path.rate.bits_per_second() / 1'000 * payload_per_mille;
  PolicedShares shares{.other_least = std::numeric_limits<std::uint64_t>::max()};
  for (std::uint64_t seed = 1; seed <= beginnings; ++seed) {
    for (const bool one_is_first : {true, false}) {
      const Duration begin = 2s + static_cast<Duration::rep>(seed) * 170ms;
      FlowPlan first = one_is_first ? one : other;
      FlowPlan second = one_is_first ? other : one;
      second.start_after = begin;
      PathLab lab({.rtt = path.rtt,
                   .rate = DataRate::bits_per_second(10 * path.rate.bits_per_second()),
                   .policer = netem::Policer{.rate = path.rate,
                                             .burst = path.rate.bytes_in(path.rtt) * path.burst_percent / 100},
                   .seed = seed},
                  {first, second});
      lab.run(begin + measured);
      const std::uint64_t others = lab.goodput(one_is_first ? 1 : 0, begin, begin + measured) * 1'000 / whole;
      shares.one_per_mille += lab.goodput(one_is_first ? 0 : 1, begin, begin + measured) * 1'000 / whole;
      shares.other_per_mille += others;
      shares.other_least = std::min(shares.other_least, others);
      shares.other_most = std::max(shares.other_most, others);
    }
  }
  shares.one_per_mille /= 2 * beginnings;
  shares.other_per_mille /= 2 * beginnings;
  return shares;
}

}  // namespace penstock::sim
