#include "dataplane/engine/congestion/loss_floor.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace penstock::engine {
namespace {

constexpr std::uint64_t million = 1'000'000;
// Tuning. Packets remembered: at 20 % loss 4096 tell it to 0.6 %. More: a change shows late; fewer: the floor wanders.
constexpr std::uint64_t packets_max = 4096;
constexpr std::uint64_t packets_kept = 512;  // time alone does not fade what is less than this
constexpr Duration fade_interval = std::chrono::seconds{2};
constexpr std::uint64_t deviations = 3;
constexpr LossTest level_loses_more{.margin_ppm = 5'000, .deviations = deviations};  // less is worth no doubt

}  // namespace

void LossFloor::add(Pace pace, const LossTally& tally) {
  policers_.add(pace, tally);
  if (pace == Pace::probing) return;
  (pace == Pace::slowed ? slowed_ : level_).add(tally);
}

LossTally LossFloor::all() const {
  LossTally sum = level_.known();
  sum += slowed_.known();
  return sum;
}

void LossFloor::Share::on_round(const LossFloor& floor) {
  const LossTally round = std::exchange(round_, {});
  if (round.packets == 0) return;
  const std::uint64_t ppm = known_.ppm();
  const std::uint64_t expected = round.packets * ppm / million;
  const std::uint64_t margin = floor.deviation(round.packets, ppm, known_.packets) +
                               std::max<std::uint64_t>(1, round.packets / loss_threshold_divisor);
  const Trend trend = round.lost > expected + margin   ? Trend::rising
                      : round.lost + margin < expected ? Trend::falling
                                                       : Trend::none;
  const bool goes_on = trend != Trend::none && trend == trend_;
  if (trend != trend_) changed_ = {};
  trend_ = trend;
  if (trend != Trend::none) changed_ += round;
  if (goes_on && changed_.packets >= level_loses_more.packets_min)
    known_ = changed_;
  else if (trend == Trend::none || known_.packets == 0)
    known_ += round;  // one odd round trip is put off
}

void LossFloor::on_round(TimePoint now) {
  level_.on_round(*this);
  slowed_.on_round(*this);
  if (!faded_at_) faded_at_ = now;
  const std::uint64_t known = all().packets;
  if (known > packets_max || (known > packets_kept && now - *faded_at_ >= fade_interval)) {
    level_.fade();
    slowed_.fade();
    faded_at_ = now;
  }
  judge();
}

void LossFloor::judge() {
  was_ours_ = false;
  const LossTally sum = all();
  if (sum.packets == 0) return;
  policers_.on_round(sum);
  std::uint64_t floor = sum.ppm();
  if (is_lost_more(level_.known(), slowed_.known(), sum.burst_factor(), level_loses_more)) {
    level_.forget();
    floor = slowed_.known().ppm();
    was_ours_ = true;
  }
  if (policers_.is_policed()) floor = policers_.chance_ppm();
  ppm_ = std::min(floor, cap_ppm);
}

/// Three standard deviations of the packets lost out of so many, where `ppm` was learnt from `known` packets.
std::uint64_t LossFloor::deviation(std::uint64_t packets, std::uint64_t ppm, std::uint64_t known) const {
  const std::uint64_t n = std::min(packets, million);
  // In millionths: n p (1 - p) (1 + n / known).
  const std::uint64_t variance = n * ppm / 1'000 * ((million - std::min(ppm, million)) / 1'000) * all().burst_factor();
  return (deviations * square_root(variance + variance / std::max<std::uint64_t>(1, known) * n) + 999) / 1'000;
}

std::uint64_t LossFloor::forgiven(std::uint64_t packets) const {
  if (ppm_ == 0) return 0;
  return packets * ppm_ / million + deviation(packets, ppm_, all().packets);
}

bool LossFloor::is_excess(const LossTally& flight) const {
  return flight.lost > forgiven(flight.packets) + std::max<std::uint64_t>(1, flight.packets / loss_threshold_divisor);
}

bool LossFloor::is_beyond_chance(const LossTally& flight) {
  const std::uint64_t variance =
      flight.packets * (cap_ppm / 1'000) * ((million - cap_ppm) / 1'000) * flight.burst_factor(1);
  return flight.lost > flight.packets * cap_ppm / million + deviations * square_root(variance) / 1'000;
}

}  // namespace penstock::engine
