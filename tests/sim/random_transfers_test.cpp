#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/checksum_seal.h"
#include "tests/sim/completion_bound.h"
#include "tests/sim/random_case.h"
#include "tests/sim/scenario.h"

namespace penstock::sim {
namespace {

/// An unsigned number from the environment.
std::optional<std::uint64_t> setting(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

/// PENSTOCK_SIM_REPORT=1 prints a line per case: how bounds are chosen.
void report(std::uint64_t seed, const RandomCase& random, Duration ideal, Duration bound, Duration took) {
  fmt::print("{} ideal {} bound {} took {} us  {}\n", seed, ideal / std::chrono::microseconds{1},
             bound / std::chrono::microseconds{1}, took / std::chrono::microseconds{1}, describe(random));
}

/// How many of the transfers that bbr decided on, on paths that stay what they are, took longer than is usual.
struct Punctuality {
  std::uint64_t all = 0;
  std::uint64_t late = 0;
};

void run_case(std::uint64_t seed, Punctuality& punctuality) {
  const RandomCase random = make_random_case(seed);
  INFO("replay with PENSTOCK_SIM_SEED=", seed, " build/release/bin/penstock_sim_random");
  INFO(describe(random));
  Scenario net{random.options};
  const auto outcomes = net.transfer_all(random.plans);
  const Duration ideal = net.ideal_finish() - net.start();
  const Duration bound = completion_bound(random, ideal);
  Duration took{0};
  std::uint64_t damaged = net.strangers();
  for (const LaneOutcome& outcome : outcomes) {
    CHECK(outcome.failure == "");
    CHECK(outcome.complete);
    CHECK(outcome.received == outcome.sent);
    CHECK(to_string(outcome.sink_violations) == "");
    CHECK(to_string(outcome.wire_violations) == "");
    CHECK(outcome.messages_wrong == 0);
    if (outcome.sender_closed) CHECK(outcome.sender_closed->error == engine::TransportError::none);
    if (outcome.receiver_closed) CHECK(outcome.receiver_closed->error == engine::TransportError::none);
    if (outcome.finished_at) took = std::max(took, *outcome.finished_at - net.start());
    for (const engine::LaneStats& stats : {outcome.sender, outcome.receiver}) {
      damaged += stats.packets_unauthentic + stats.packets_malformed + stats.packets_duplicate;
    }
  }
  // Whatever the network damaged was noticed by somebody.
  CHECK(damaged >= net.forward().counters().corrupted - net.forward().damage_dropped_by_box() +
                       net.backward().counters().corrupted);
  CHECK(took.count() <= bound.count());
  if (random.options.congestion == engine::Congestion::bbr && !random.options.outage && random.options.steps.empty()) {
    ++punctuality.all;
    if (took > usual_time(random, ideal)) ++punctuality.late;
  }
  if (setting("PENSTOCK_SIM_REPORT")) report(seed, random, ideal, bound, took);
}

TEST_CASE("random transfers: every byte arrives, nothing forbidden happens, in bounded virtual time") {
  Punctuality punctuality;
  if (const auto seed = setting("PENSTOCK_SIM_SEED")) {
    run_case(*seed, punctuality);
    return;
  }
  const std::uint64_t first = setting("PENSTOCK_SIM_FIRST").value_or(1);
  const std::uint64_t count = setting("PENSTOCK_SIM_COUNT").value_or(1250);  // ctest runs four such shards
  for (std::uint64_t seed = first; seed < first + count; ++seed) run_case(seed, punctuality);
  CAPTURE(punctuality.all);
  CHECK(punctuality.late <= 3 + punctuality.all / 40);  // in cubic's hands one in six
}

TEST_CASE("random transfers: a third of them take a controller well beyond its first window") {
  constexpr std::uint64_t count = 5000;
  std::uint64_t beyond = 0;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    const RandomCase random = make_random_case(seed);
    if (random.options.congestion == engine::Congestion::fixed) continue;
    const auto is_long = [&](const LanePlan& plan) { return plan.bytes >= 8 * first_window_of(random.options); };
    if (std::ranges::any_of(random.plans, is_long)) ++beyond;
  }
  CHECK(beyond >= count / 3);
}

TEST_CASE("random transfers: one seed leaves one trace, whatever backend seals it") {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    RandomCase random = make_random_case(seed);
    std::optional<std::uint64_t> trace;
    std::vector<const crypto::AeadBackend*> backends{&checksum_backend()};
    backends.insert(backends.end(), crypto::aead_backends().begin(), crypto::aead_backends().end());
    for (const crypto::AeadBackend* backend : backends) {
      random.options.backend = backend;
      Scenario net{random.options};
      net.transfer_all(random.plans);
      INFO("seed ", seed, " backend ", std::string{backend->name()});
      CHECK(net.trace_hash() == trace.value_or(net.trace_hash()));
      trace = net.trace_hash();
    }
  }
}

TEST_CASE("random transfers: another seed leaves another trace") {
  RandomCase random = make_random_case(1);
  Scenario first{random.options};
  first.transfer_all(random.plans);
  random.options.seed += 1;
  Scenario second{random.options};
  second.transfer_all(random.plans);
  CHECK(first.trace_hash() != second.trace_hash());
}

}  // namespace
}  // namespace penstock::sim
