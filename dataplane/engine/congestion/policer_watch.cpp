#include "dataplane/engine/congestion/policer_watch.h"

#include <algorithm>
#include <utility>

namespace penstock::engine {
namespace {

// Of packets sent to probe: some ten probes of a short path, one or two of a long one.
constexpr std::uint64_t probing_max = 2'048;
// Draft: LossThresh; and one deviation more than elsewhere, since the question is asked anew in each round trip.
constexpr LossTest probes_lose_more{.lost_min = 5, .margin_ppm = 1'000'000 / loss_threshold_divisor, .deviations = 4};

}  // namespace

void PolicerWatch::add(Pace pace, const LossTally& tally) {
  if (pace == Pace::probing) fresh_ += tally;
  if (pace == Pace::slowed && is_policed()) slowed_ += tally;
}

void PolicerWatch::on_round(const LossTally& rest) {
  const LossTally fresh = std::exchange(fresh_, {});
  probing_ += fresh;
  // One burst of bad luck in a probe is one event, however many it takes.
  const std::uint64_t burst_factor = std::max(rest.burst_factor(1), probing_.burst_factor(1));
  const bool again = fresh.ppm() > rest.ppm() + probes_lose_more.margin_ppm;
  if (again && is_lost_more(probing_, rest, burst_factor, probes_lose_more)) suspect();
  if (probing_.packets > probing_max) probing_.halve();
  if (rounds_left_ > 0) --rounds_left_;
  if (slowed_.packets < stretch_packets) return;
  stretches_ppm_[stretches_++ % stretches_ppm_.size()] = slowed_.ppm();
  slowed_ = {};
}

void PolicerWatch::suspect() {
  if (!is_policed()) {
    slowed_ = {};
    stretches_ = 0;
  }
  rounds_left_ = rounds_believed;
}

std::uint64_t PolicerWatch::chance_ppm() const {
  if (stretches_ == 0) return slowed_.packets < first_packets ? 0 : slowed_.ppm();
  const auto known = static_cast<std::ptrdiff_t>(std::min(stretches_, stretches_ppm_.size()));
  return *std::min_element(stretches_ppm_.begin(), stretches_ppm_.begin() + known);
}

}  // namespace penstock::engine
