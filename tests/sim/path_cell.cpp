#include "tests/sim/path_cell.h"

#include <algorithm>
#include <chrono>

namespace penstock::sim {
namespace {

constexpr std::uint64_t million = 1'000'000;
constexpr std::uint64_t payload_bytes = 1437;  // of 1500 IP bytes: PROTOCOL section 2

std::uint64_t passed_ppm(const PathOptions& options) {
  std::uint64_t passed = million - options.loss.parts_per_billion() / 1000;
  if (options.burst) {
    const std::uint64_t p = options.burst->to_bad.parts_per_billion();
    const std::uint64_t r = options.burst->to_good.parts_per_billion();
    passed = passed * (million - million * p / (p + r)) / million;
  }
  return passed;
}

}  // namespace

PathCell measure_path(const PathOptions& options, FlowPlan plan, Duration length) {
  const DataRate rate = options.policer ? std::min(options.rate, options.policer->rate) : options.rate;
  const std::uint64_t passed = passed_ppm(options);
  plan.bytes = rate.bytes_in(length) / 1500 * payload_bytes / million * passed;
  PathLab lab(options, {plan});
  lab.run(4 * length + 60 * options.rtt);

  PathCell cell{.flow = lab.flows().front()};
  cell.complete = cell.flow.finished_at.has_value();
  const Duration ideal = length + 5 * options.rtt;
  const Duration taken = cell.complete ? *cell.flow.finished_at - lab.start() : 8 * length;
  cell.efficiency_per_mille =
      static_cast<std::uint64_t>(ideal.count()) * 1000 / static_cast<std::uint64_t>(taken.count());

  const std::uint64_t sent = cell.flow.sender.payload_bytes_sent;
  const std::uint64_t needed = plan.bytes / passed * million + options.rate.bytes_in(options.rtt) / 2;
  cell.waste_per_mille = sent > needed ? (sent - needed) * 1000 / plan.bytes : 0;

  if (cell.complete && cell.flow.last_new_at)
    cell.tail_milli_rtt =
        static_cast<std::uint64_t>((*cell.flow.finished_at - *cell.flow.last_new_at) * 1000 / options.rtt);

  auto waiting = lab.queue();
  if (!waiting.empty()) {
    const auto middle = waiting.begin() + static_cast<std::ptrdiff_t>(waiting.size() / 2);
    std::nth_element(waiting.begin(), middle, waiting.end());
    cell.queue_median_per_mille = *middle * 1000 / std::max<std::uint64_t>(1, options.rate.bytes_in(options.rtt));
  }
  return cell;
}

}  // namespace penstock::sim
