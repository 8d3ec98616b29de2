#include "dataplane/engine/congestion/loss_tally.h"

#include <algorithm>

namespace penstock::engine {
namespace {

constexpr std::uint64_t million = 1'000'000;
constexpr std::uint64_t burst_factor_max = 40;  // runs of 20

}  // namespace

std::uint64_t square_root(std::uint64_t n) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 31; bit != 0; bit >>= 1) {
    const std::uint64_t next = root | bit;
    if (next * next <= n) root = next;
  }
  return root;
}

std::uint64_t LossTally::burst_factor(std::uint64_t runs_min) const {
  if (runs < runs_min) return 1;
  return std::clamp<std::uint64_t>(2 * lost / runs - 1, 1, burst_factor_max);
}

bool is_lost_more(const LossTally& more, const LossTally& less, std::uint64_t burst_factor, const LossTest& test) {
  if (more.packets < test.packets_min || less.packets < test.packets_min || more.lost < test.lost_min) return false;
  if (more.ppm() <= less.ppm() + test.margin_ppm) return false;
  LossTally both = more;
  both += less;
  const std::uint64_t ppm = std::min(both.ppm(), million);
  // Variance of the difference of two shares, in ppm squared.
  const std::uint64_t each = ppm * (million - ppm) * burst_factor;
  return more.ppm() - less.ppm() > test.deviations * square_root(each / more.packets + each / less.packets);
}

}  // namespace penstock::engine
