// What a congestion controller makes of paths, as tables: penstock_sim_paths [--cc bbr|cubic|scavenger] [--seconds N]
// [--seed N] [GROUP..]. `trace` follows one path tick by tick, `convergence` two flows on one (--beside
// bbr|cubic|tcp-bbr|..). The README of this folder says how to read it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/path_cell.h"
#include "tests/sim/path_lab.h"
#include "tests/sim/path_sharing.h"
#include "tests/sim/policer_tables.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;
using netem::Probability;

struct Arguments {
  Congestion congestion = Congestion::bbr;
  FlowPlan beside = {};  // of `convergence`
  std::int64_t seconds = 10;
  bool seconds_given = false;
  std::int64_t join = 2;  // of `convergence`: seconds
  bool csv = false;       // likewise
  std::uint64_t seed = 1;
  std::optional<std::uint64_t> seeds;                      // of `cell`, `policer`
  std::optional<DataRate> remembered;                      // of `cell`, `trace`: what an earlier transfer left word of
  engine::Fec fec = {.mode = engine::FecMode::automatic};  // of `matrix`, `ack-loss`, `cell`: as the command has it
  std::optional<Couple> couple;                            // of `fairness`: only this one
  PathOptions path;                                        // of `trace`, `cell` and `convergence`
  std::optional<std::int64_t> only_rtt;                    // ms; of `fairness` and `lanes`, and of `fec` with the rate
  std::optional<std::uint64_t> only_queue;
  std::optional<std::uint64_t> only_burst;  // of `policer`, in percent of a bandwidth-delay product
};

constexpr std::int64_t rtts_ms[] = {20, 100, 250};
constexpr std::uint64_t rates[] = {100, 200, 500};
constexpr std::uint32_t losses_ppm[] = {0, 1'000, 10'000, 50'000, 100'000, 200'000};

double percent(std::uint64_t per_mille) { return static_cast<double>(per_mille) / 10; }

struct Summary {
  std::vector<std::uint64_t> efficiencies;
  void add(const PathCell& cell) { efficiencies.push_back(cell.efficiency_per_mille); }
  void print() {
    std::sort(efficiencies.begin(), efficiencies.end());
    const auto good = std::count_if(efficiencies.begin(), efficiencies.end(), [](auto e) { return e >= 950; });
    fmt::print("  {} of {} cells >= 95 %, least {:.1f} %\n", good, efficiencies.size(), percent(efficiencies.front()));
  }
};

std::string text(const PathCell& cell) {
  return fmt::format("{:5.1f} {:4.1f} {:3.0f} {:4.1f}", percent(cell.efficiency_per_mille),
                     percent(cell.waste_per_mille), percent(cell.queue_median_per_mille),
                     static_cast<double>(cell.tail_milli_rtt) / 1000);
}

void matrix(const Arguments& arguments, std::string_view title, PathOptions base) {
  fmt::print("\n{}: efficiency %, waste %, median queue in % of the RTT, tail in RTT\n  rtt   loss |", title);
  for (const auto rate : rates) fmt::print("  {:3} Mbit/s          |", rate);
  fmt::print("\n");
  Summary summary;
  for (const auto rtt : rtts_ms) {
    for (const auto loss : losses_ppm) {
      if (base.burst && loss > 0) continue;
      fmt::print(" {:4} {:5.1f}% |", rtt, static_cast<double>(loss) / 10'000);
      for (const auto rate : rates) {
        PathOptions path = base;
        path.rtt = std::chrono::milliseconds{rtt};
        path.rate = DataRate::megabits_per_second(rate);
        path.loss = Probability::parts_per_million(loss);
        if (base.ack_loss > Probability{}) path.ack_loss = path.loss;
        path.seed = arguments.seed;
        const PathCell cell =
            measure_path(path, {.congestion = arguments.congestion, .fec = arguments.fec}, arguments.seconds * 1s);
        summary.add(cell);
        fmt::print(" {} |", text(cell));
        std::fflush(stdout);
      }
      fmt::print("\n");
    }
  }
  summary.print();
}

void variants(const Arguments& arguments) {
  struct Variant {
    std::string name;
    PathOptions path;
  };
  std::vector<Variant> all;
  for (const auto rtt : rtts_ms) {
    const PathOptions base{.rtt = std::chrono::milliseconds{rtt}, .rate = DataRate::megabits_per_second(200)};
    for (const std::uint64_t queue : {10U, 25U, 50U, 200U, 400U}) {
      for (const std::uint32_t loss : {0U, 50'000U}) {
        PathOptions path = base;
        path.queue_percent = queue;
        path.loss = Probability::parts_per_million(loss);
        all.push_back({fmt::format("rtt {} queue {} % loss {} %", rtt, queue, loss / 10'000), path});
      }
    }
    for (const std::uint32_t to_bad : {1'010U, 5'263U}) {
      PathOptions path = base;
      path.burst =
          netem::BurstLoss{.to_bad = Probability::parts_per_million(to_bad), .to_good = Probability::percent(10)};
      all.push_back({fmt::format("rtt {} bursts of 10, {} %", rtt, to_bad > 2'000 ? 5 : 1), path});
    }
    PathOptions path = base;
    path.policer = policed_to(100);
    all.push_back({fmt::format("rtt {} policer at half", rtt), path});
    path.loss = Probability::percent(5);
    all.push_back({fmt::format("rtt {} policer at half, loss 5 %", rtt), path});
    path = base;
    path.ack_slot = 20ms;
    all.push_back({fmt::format("rtt {} ACKs every 20 ms", rtt), path});
    path.ack_slot = 50ms;
    all.push_back({fmt::format("rtt {} ACKs every 50 ms", rtt), path});
    path = base;
    path.jitter = 5ms;
    all.push_back({fmt::format("rtt {} jitter 5 ms", rtt), path});
    path.loss = Probability::percent(5);
    all.push_back({fmt::format("rtt {} jitter 5 ms, loss 5 %", rtt), path});
  }
  fmt::print("\nvariants at 200 Mbit/s: efficiency %, waste %, median queue in % of the RTT, tail in RTT\n");
  Summary summary;
  for (auto& [name, path] : all) {
    path.seed = arguments.seed;
    const PathCell cell = measure_path(path, {.congestion = arguments.congestion}, arguments.seconds * 1s);
    summary.add(cell);
    fmt::print("  {:32} {}\n", name, text(cell));
    std::fflush(stdout);
  }
  summary.print();
}

void steps(const Arguments& arguments) {
  struct Step {
    std::string name;
    PathChange change;
    std::uint64_t after_mbit;
  };
  fmt::print("\nsteps at 10 s of 200 Mbit/s: time until 90 % again, over half a round trip and 100 ms at least\n");
  for (const auto rtt : rtts_ms) {
    const Step all[] = {{"rate halves", {.after = 10s, .rate = DataRate::megabits_per_second(100)}, 100},
                        {"rate doubles", {.after = 10s, .rate = DataRate::megabits_per_second(400)}, 400},
                        {"delay + 100 ms", {.after = 10s, .rtt = std::chrono::milliseconds{rtt + 100}}, 200},
                        {"loss to 5 %", {.after = 10s, .loss = Probability::percent(5)}, 190},
                        {"outage 10 s", {.after = 10s, .down = true}, 200}};
    for (const Step& step : all) {
      PathOptions path{.rtt = std::chrono::milliseconds{rtt}, .rate = DataRate::megabits_per_second(200)};
      path.changes = {step.change};
      Duration from = 10s;
      if (step.change.down) {
        path.changes.push_back({.after = 20s});
        from = 20s;
      }
      path.tick = std::max<Duration>(path.rtt, 100ms);
      path.seed = arguments.seed;
      PathLab lab(path, {{.congestion = arguments.congestion}});
      lab.run(from + 15s);
      const std::uint64_t wanted = step.after_mbit * 1'000'000 / 1000 * 958 * 9 / 10;
      Duration took = -1ns;
      for (Duration at = from + path.tick; at + path.tick <= from + 15s; at += path.tick / 2) {
        // Both halves of the next two ticks: one lucky moment is no return.
        if (lab.goodput(0, at, at + path.tick) >= wanted &&
            lab.goodput(0, at + path.tick, at + 2 * path.tick) >= wanted) {
          took = at - from;
          break;
        }
      }
      fmt::print("  rtt {:3} {:16} {} ms, mean of the 10 s after it {:.1f} %\n", rtt, step.name,
                 took < Duration{} ? -1 : took / 1ms,
                 static_cast<double>(lab.goodput(0, from, from + 10s)) / static_cast<double>(wanted) * 90);
    }
  }
}

/// From the last new byte's leaving until all has arrived.
void repair(const Arguments& arguments) {
  constexpr std::uint64_t runs = 40;
  const auto seconds = std::min<std::int64_t>(arguments.seconds, 3);
  fmt::print(
      "\nFEC: tail in RTT, median (p95) of {} seeds; repair symbols in % of a BDP, waste beside them in % of the "
      "file\n",
      runs);
  for (const auto rtt : {20, 100, 250}) {
    for (const std::uint64_t rate : {100U, 500U}) {
      if (arguments.only_rtt &&
          (*arguments.only_rtt != rtt || arguments.path.rate != DataRate::megabits_per_second(rate)))
        continue;
      for (const bool bursts : {false, true}) {
        for (const std::uint32_t ppm : {0U, 1'000U, 10'000U, 50'000U, 100'000U, 200'000U}) {
          if (bursts && ppm != 10'000 && ppm != 50'000) continue;
          fmt::print("  rtt {:3} rate {:3} {} {:4.1f} %:", rtt, rate, bursts ? "bursts" : "loss  ", ppm / 1e4);
          for (const auto& [name, mode] :
               {std::pair{"off", engine::FecMode::off}, {"auto", engine::FecMode::automatic}}) {
            std::vector<double> tails;
            double repairs = 0, waste = 0;
            for (std::uint64_t seed = 1; seed <= runs; ++seed) {
              PathOptions path{.rtt = std::chrono::milliseconds{rtt}, .rate = DataRate::megabits_per_second(rate)};
              path.seed = arguments.seed + seed;
              if (bursts)  // mean length 10
                path.burst =
                    netem::BurstLoss{.to_bad = Probability::parts_per_million(ppm / 10 * 1'000 / (1'000 - ppm / 1'000)),
                                     .to_good = Probability::percent(10)};
              else
                path.loss = Probability::parts_per_million(ppm);
              const auto cell = measure_path(path, {.congestion = arguments.congestion, .fec = {.mode = mode}},
                                             std::max<Duration>(seconds * 1s, 10 * path.rtt));
              const auto bdp = static_cast<double>(path.rate.bytes_in(path.rtt));
              tails.push_back(cell.complete ? static_cast<double>(cell.tail_milli_rtt) / 1000 : 999);
              repairs += 100.0 * static_cast<double>(cell.flow.sender.repairs_sent) * 1500 / bdp / runs;
              waste += static_cast<double>(cell.waste_per_mille) / 10 / runs;
            }
            std::sort(tails.begin(), tails.end());
            fmt::print("  {} {:5.2f} ({:5.2f}) repair {:5.1f} waste {:4.2f}", name, tails[runs / 2],
                       tails[runs * 95 / 100], repairs, waste);
            std::fflush(stdout);
          }
          fmt::print("\n");
        }
      }
    }
  }
}

void fairness(const Arguments& arguments) {
  print_fairness({.seed = arguments.seed,
                  .couple = arguments.couple,
                  .rtt_ms = arguments.only_rtt,
                  .queue_percent = arguments.only_queue});
}

void convergence(const Arguments& arguments) {
  PathOptions path = arguments.path;
  path.seed = arguments.seed;
  print_convergence({.path = path,
                     .first = arguments.congestion,
                     .late = arguments.beside,
                     .join = arguments.join * 1s,
                     .length = arguments.seconds_given ? arguments.seconds * 1s : 60s,
                     .csv = arguments.csv});
}

/// Lanes of one transfer beside a flow of one: share, Jain's index among them; and alone, what they use of a lossy
/// path.
void lanes(const Arguments& arguments) {
  fmt::print(
      "\n{}: share of N lanes beside one flow, from 30 to 90 s, in %, Jain's index; alone at 5 % loss, use in %\n",
      "lanes");
  for (const auto rtt : {20, 40, 100}) {
    if (arguments.only_rtt && *arguments.only_rtt != rtt) continue;
    for (const std::size_t count : {1U, 2U, 4U, 8U}) {
      fmt::print("  rtt {:3} lanes {:2}:", rtt, count);
      PathOptions path{.rtt = std::chrono::milliseconds{rtt}, .rate = DataRate::megabits_per_second(100)};
      path.queue_percent = arguments.only_queue.value_or(100);
      path.seed = arguments.seed;
      const auto sum = [&](const PathLab& lab, Duration from, Duration to) {
        double all = 0, squares = 0;
        for (std::size_t i = 0; i < count; ++i) {
          const auto one = static_cast<double>(lab.goodput(i, from, to));
          all += one;
          squares += one * one;
        }
        return std::pair{all, all * all / (squares * static_cast<double>(count))};
      };
      for (const auto& [name, other] : {std::pair{"bbr", Congestion::bbr}, {"cubic", Congestion::cubic}}) {
        auto plans = lanes_of({.congestion = arguments.congestion}, count);
        plans.push_back({.congestion = other});
        PathLab lab(path, plans);
        lab.run(90s);
        const auto [ours, jain] = sum(lab, 30s, 90s);
        const auto theirs = static_cast<double>(lab.goodput(count, 30s, 90s));
        fmt::print("  beside {} {:.0f} ({:.2f})", name, 100 * ours / (ours + theirs), jain);
        std::fflush(stdout);
      }
      path.loss = Probability::percent(5);
      PathLab alone(path, lanes_of({.congestion = arguments.congestion}, count));
      alone.run(10s);
      const auto [ours, jain] = sum(alone, 1s, 10s);
      fmt::print("  alone {:.1f} ({:.2f})\n", ours / 958'000 / 0.95, jain);
    }
  }
}

/// How long the last bytes take, FEC off: PROTOCOL section 4.
void tail(const Arguments& arguments) {
  constexpr std::size_t seeds = 101;
  fmt::print("\ntail, {} seeds: round trips from the last new byte's departure until all are there; waste %\n", seeds);
  for (const auto rtt : rtts_ms) {
    for (const auto rate : rates) {
      for (const auto loss : {10'000U, 50'000U, 200'000U}) {
        std::vector<std::uint64_t> tails;
        std::uint64_t waste = 0;
        for (std::size_t i = 0; i < seeds; ++i) {
          PathOptions path{.rtt = std::chrono::milliseconds{rtt},
                           .rate = DataRate::megabits_per_second(rate),
                           .loss = Probability::parts_per_million(loss)};
          path.seed = arguments.seed + i;
          const PathCell cell =
              measure_path(path, {.congestion = arguments.congestion}, std::max<Duration>(1s, 12 * path.rtt));
          tails.push_back(cell.tail_milli_rtt);
          waste = std::max(waste, cell.waste_per_mille);
        }
        std::sort(tails.begin(), tails.end());
        fmt::print("  rtt {:3} {:3} Mbit/s loss {:2} %: median {:.2f} p95 {:.2f} most {:.2f}, waste at most {:.1f} %\n",
                   rtt, rate, loss / 10'000, static_cast<double>(tails[seeds / 2]) / 1000,
                   static_cast<double>(tails[seeds * 95 / 100]) / 1000, static_cast<double>(tails.back()) / 1000,
                   percent(waste));
        std::fflush(stdout);
      }
    }
  }
}

/// One path, seed by seed: what is luck in a cell of a table, and what is not.
void cell(const Arguments& arguments) {
  Summary summary;
  for (std::uint64_t seed = arguments.seed; seed < arguments.seed + arguments.seeds.value_or(8); ++seed) {
    PathOptions path = arguments.path;
    path.seed = seed;
    const PathCell cell = measure_path(
        path, {.congestion = arguments.congestion, .remembered = arguments.remembered, .fec = arguments.fec},
        arguments.seconds * 1s);
    summary.add(cell);
    fmt::print("  seed {:3} {} lost {}\n", seed, text(cell), cell.flow.sender.packets_lost);
    std::fflush(stdout);
  }
  summary.print();
}

void trace(const Arguments& arguments) {
  PathOptions path = arguments.path;
  path.seed = arguments.seed;
  PathLab lab(path, {{.congestion = arguments.congestion, .remembered = arguments.remembered}});
  lab.run(arguments.seconds * 1s);
  fmt::print("ms, goodput Mbit/s, pacing Mbit/s, cwnd kB, in flight kB, rtt ms, queue kB\n");
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < lab.flows()[0].ticks.size(); ++i) {
    const FlowTick& tick = lab.flows()[0].ticks[i];
    const auto ms = static_cast<double>(lab.tick() / 1us) / 1000;
    fmt::print("{:8.1f} {:7.1f} {:7.1f} {:7} {:7} {:7.2f} {:7}\n", ms * static_cast<double>(i + 1),
               static_cast<double>(tick.received - before) * 8 / 1000 / ms,
               static_cast<double>(tick.pacing.bits_per_second()) / 1e6, tick.cwnd / 1000, tick.in_flight / 1000,
               static_cast<double>(tick.rtt / 1us) / 1000, lab.queue()[i] / 1000);
    before = tick.received;
  }
  const auto& counters = lab.forward().counters();
  fmt::print("offered {} delivered {} lost random {} queue {}\n", counters.offered_packets, counters.delivered_packets,
             counters.lost_random + counters.lost_burst, counters.lost_queue);
}

struct Group {
  std::string_view name;
  void (*print)(const Arguments&);
  bool by_default;  // where none is named
};
constexpr Group groups[] = {
    {"matrix", [](const Arguments& a) { matrix(a, "loss after the bottleneck, queue of 1 BDP", {}); }, true},
    {"ack-loss",
     [](const Arguments& a) { matrix(a, "the same loss on the way back", {.ack_loss = Probability::percent(1)}); },
     true},
    {"tail", tail, true},
    {"variants", variants, true},
    {"steps", steps, true},
    {"fairness", fairness, true},
    {"policer",
     [](const Arguments& a) {
       print_policer_table({.rtt_ms = a.only_rtt, .burst_percent = a.only_burst, .beginnings = a.seeds.value_or(3)});
     },
     false},
    {"lanes", lanes, true},
    {"trace", trace, false},
    {"cell", cell, false},
    {"convergence", convergence, false},
    {"fec", repair, false},
};

/// A table of something else than what was asked for, or an empty one, would be taken for a measurement.
[[noreturn]] void refuse(const std::string& why) {
  fmt::print(stderr, "penstock_sim_paths: {}\n", why);
  std::exit(2);
}

FlowPlan flow_or_refuse(std::string_view name) {
  const auto plan = flow_named(name);
  if (!plan) refuse(fmt::format("there is no flow \"{}\": {}", name, flow_names));
  return *plan;
}

Congestion congestion_or_refuse(std::string_view name) {
  const FlowPlan plan = flow_or_refuse(name);
  if (plan.tcp_bbr) refuse("tcp-bbr is no controller of the engine: --beside has it, and --couple");
  return plan.congestion;
}

Couple couple_or_refuse(std::string_view name) {
  std::string known;
  for (const Couple& couple : couples()) {
    if (to_string(couple) == name) return couple;
    known += fmt::format(" {}", to_string(couple));
  }
  refuse(fmt::format("there is no couple \"{}\" in the table:{}", name, known));
}

const Group& group_or_refuse(std::string_view name) {
  std::string known;
  for (const Group& group : groups) {
    if (group.name == name) return group;
    known += fmt::format(" {}", group.name);
  }
  refuse(fmt::format("there is no table and no option \"{}\"; tables:{}", name, known));
}

int run(int argc, char** argv) {
  Arguments arguments;
  std::vector<const Group*> asked;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 >= argc) refuse(fmt::format("{} needs a value", word));
      return argv[++i];
    };
    const auto number = [&]() -> std::uint64_t { return std::strtoull(value(), nullptr, 10); };
    if (word == "--cc")
      arguments.congestion = congestion_or_refuse(value());
    else if (word == "--beside")
      arguments.beside = flow_or_refuse(value());
    else if (word == "--couple")
      arguments.couple = couple_or_refuse(value());
    else if (word == "--seconds")
      arguments.seconds_given = true, arguments.seconds = static_cast<std::int64_t>(number());
    else if (word == "--join")
      arguments.join = static_cast<std::int64_t>(number());
    else if (word == "--csv")
      arguments.csv = true;
    else if (word == "--seed")
      arguments.seed = number();
    else if (word == "--no-fec")
      arguments.fec = {};
    else if (word == "--seeds")
      arguments.seeds = std::max<std::uint64_t>(number(), 1);
    else if (word == "--remembered")
      arguments.remembered = DataRate::megabits_per_second(number());
    else if (word == "--rtt")
      arguments.only_rtt = static_cast<std::int64_t>(number()),
      arguments.path.rtt = std::chrono::milliseconds{*arguments.only_rtt};
    else if (word == "--rtt-us")
      arguments.path.rtt = std::chrono::microseconds{number()};
    else if (word == "--rate")
      arguments.path.rate = DataRate::megabits_per_second(number());
    else if (word == "--loss-ppm")
      arguments.path.loss = Probability::parts_per_million(static_cast<std::uint32_t>(number()));
    else if (word == "--queue")
      arguments.only_queue = arguments.path.queue_percent = number();
    else if (word == "--slot")
      arguments.path.ack_slot = std::chrono::milliseconds{number()};
    else if (word == "--jitter")
      arguments.path.jitter = std::chrono::milliseconds{number()};
    else if (word == "--policer")
      arguments.path.policer = policed_to(number());
    else if (word == "--burst")
      arguments.only_burst = number();
    else if (word == "--step-rate")
      arguments.path.changes = {{.after = 10s, .rate = DataRate::megabits_per_second(number())}};
    else if (word == "--step-rtt")
      arguments.path.changes = {{.after = 10s, .rtt = std::chrono::milliseconds{number()}}};
    else if (word == "--burst-ppm")
      arguments.path.burst =
          netem::BurstLoss{.to_bad = Probability::parts_per_million(static_cast<std::uint32_t>(number())),
                           .to_good = Probability::percent(10)};
    else
      asked.push_back(&group_or_refuse(word));
  }
  if (asked.empty()) {
    for (const Group& group : groups)
      if (group.by_default) asked.push_back(&group);
  }
  for (const Group* group : asked) group->print(arguments);
  return 0;
}

}  // namespace
}  // namespace penstock::sim

int main(int argc, char** argv) { return penstock::sim::run(argc, argv); }
