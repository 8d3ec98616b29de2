#include "tests/sim/path_sharing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <vector>

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;

/// Seconds from the second flow's start until ten seconds follow in which it has 40 to 60 % of what both get.
std::optional<std::int64_t> seconds_to_share(const PathLab& lab, Duration start, Duration end) {
  for (Duration from = start; from + 10s <= end; from += 1s) {
    const std::uint64_t late = lab.goodput(1, from, from + 10s);
    const std::uint64_t all = late + lab.goodput(0, from, from + 10s);
    if (late * 100 >= 40 * all && late * 100 <= 60 * all) return (from - start) / 1s;
  }
  return std::nullopt;
}

constexpr Couple all_couples[] = {{"bbr", "bbr"},     {"bbr", "cubic"},   {"cubic", "bbr"},
                                  {"cubic", "cubic"}, {"scav", "cubic"},  {"scav", "bbr"},
                                  {"bbr", "tcp-bbr"}, {"tcp-bbr", "bbr"}, {"tcp-bbr", "tcp-bbr"}};

}  // namespace

std::optional<FlowPlan> flow_named(std::string_view name) {
  if (name == "bbr") return FlowPlan{.congestion = Congestion::bbr};
  if (name == "cubic") return FlowPlan{.congestion = Congestion::cubic};
  if (name == "scavenger" || name == "scav") return FlowPlan{.congestion = Congestion::scavenger};
  if (name == "tcp-bbr") return FlowPlan{.tcp_bbr = true};
  return std::nullopt;
}

std::string to_string(const Couple& couple) { return fmt::format("{}/{}", couple.first, couple.second); }

std::span<const Couple> couples() { return all_couples; }

void print_fairness(const FairnessCells& cells) {
  constexpr int beginnings = 4;
  fmt::print(
      "\nfairness, 100 Mbit/s, 60 s from the second flow's start on: share of the first flow (least-most of {} "
      "beginnings), use of the path and median queue in %\n",
      beginnings);
  for (const auto rtt : {20, 40, 100}) {
    if (cells.rtt_ms && *cells.rtt_ms != rtt) continue;
    for (const std::uint64_t queue : {25U, 50U, 100U, 200U, 400U}) {
      if (cells.queue_percent && *cells.queue_percent != queue) continue;
      fmt::print("  rtt {:3} queue {:3} %:", rtt, queue);
      for (const Couple& couple : couples()) {
        const std::string name = to_string(couple);
        if (cells.couple && name != to_string(*cells.couple)) continue;
        const FlowPlan first = flow_named(couple.first).value();
        FlowPlan second = flow_named(couple.second).value();
        double share = 0, least = 100, most = 0, use = 0, waits = 0;
        for (int i = 0; i < beginnings; ++i) {
          const Duration begin = 2s + i * 170ms;
          PathOptions path{.rtt = std::chrono::milliseconds{rtt},
                           .rate = DataRate::megabits_per_second(100),
                           .queue_percent = queue};
          path.seed = cells.seed + static_cast<std::uint64_t>(i);
          second.start_after = begin;
          PathLab lab(path, {first, second});
          lab.run(begin + 60s);
          const auto a = static_cast<double>(lab.goodput(0, begin, begin + 60s));
          const auto b = static_cast<double>(lab.goodput(1, begin, begin + 60s));
          auto waiting = lab.queue();
          const auto middle = waiting.begin() + static_cast<std::ptrdiff_t>(waiting.size() / 2);
          std::nth_element(waiting.begin(), middle, waiting.end());
          share += 100 * a / (a + b) / beginnings;
          least = std::min(least, 100 * a / (a + b));
          most = std::max(most, 100 * a / (a + b));
          use += (a + b) / 958'000.0 / beginnings;
          waits +=
              100.0 * static_cast<double>(*middle) / static_cast<double>(path.rate.bytes_in(path.rtt)) / beginnings;
        }
        fmt::print("  {} {:.0f} ({:.0f}-{:.0f}) {:.0f} {:.0f}", name, share, least, most, use, waits);
        std::fflush(stdout);
      }
      fmt::print("\n");
    }
  }
}

void print_convergence(const Latecomer& run) {
  const PathOptions& path = run.path;
  const Duration start = run.join + path.seed * 170ms;
  const Duration end = run.join + run.length;
  FlowPlan late = run.late;
  late.start_after = start;
  PathLab lab(path, {{.congestion = run.first}, late});
  lab.run(end);
  std::puts(run.csv ? "seconds,first_mbit,second_mbit,queue_percent"
                    : "s, Mbit/s of the first flow, of the second, median queue in % of the RTT");
  const auto bdp = std::max<std::uint64_t>(1, path.rate.bytes_in(path.rtt));
  const Duration step = run.csv ? 1s : 2s;
  for (Duration from = 0s; from + step <= end; from += step) {
    const auto first = lab.queue().begin() + from / lab.tick();
    const auto last =
        lab.queue().begin() + std::min<std::ptrdiff_t>((from + step) / lab.tick(), std::ssize(lab.queue()));
    std::vector<std::uint64_t> waiting(first, last);
    std::sort(waiting.begin(), waiting.end());
    const auto seconds = (from + step) / 1s;
    const auto one = static_cast<double>(lab.goodput(0, from, from + step)) / 1e6;
    const auto other = static_cast<double>(lab.goodput(1, from, from + step)) / 1e6;
    const auto queue =
        waiting.empty() ? 0.0 : 100.0 * static_cast<double>(waiting[waiting.size() / 2]) / static_cast<double>(bdp);
    if (run.csv)
      fmt::print("{},{:.2f},{:.2f},{:.0f}\n", seconds, one, other, queue);
    else
      fmt::print("{:4} {:7.1f} {:7.1f} {:5.0f}\n", seconds, one, other, queue);
  }
  const auto took = seconds_to_share(lab, start, end);
  // Beside the lines of a CSV, not among them.
  fmt::print(stderr, "share of the first flow {:.1f} %; the second has 40 to 60 % {}\n",
             100.0 * static_cast<double>(lab.goodput(0, start, end)) /
                 static_cast<double>(lab.goodput(0, start, end) + lab.goodput(1, start, end)),
             took ? fmt::format("after {} s", *took) : "never for ten seconds");
}

}  // namespace penstock::sim
