#include <doctest/doctest.h>

#include <cstdint>

#include "tests/sim/path_lab.h"

// How a transfer begins where an earlier one has left word of the path: congestion/careful_start.h.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;

PathOptions path(std::uint64_t megabits, std::uint64_t queue_percent = 100) {
  return {.rtt = 100ms, .rate = DataRate::megabits_per_second(megabits), .queue_percent = queue_percent, .tick = 5ms};
}

FlowOutcome send(const PathOptions& options, std::uint64_t bytes, std::optional<std::uint64_t> remembered_megabits) {
  FlowPlan plan{.bytes = bytes};
  if (remembered_megabits) plan.remembered = DataRate::megabits_per_second(*remembered_megabits);
  PathLab lab(options, {plan});
  lab.run(60s);
  FlowOutcome outcome = lab.flows().front();
  REQUIRE(outcome.finished_at);
  return outcome;
}

/// Since the engines began, which is at the first moment of virtual time.
Duration taken(const PathOptions& options, std::uint64_t bytes, std::optional<std::uint64_t> remembered_megabits) {
  FlowPlan plan{.bytes = bytes};
  if (remembered_megabits) plan.remembered = DataRate::megabits_per_second(*remembered_megabits);
  PathLab lab(options, {plan});
  lab.run(60s);
  REQUIRE(lab.flows().front().finished_at);
  return *lab.flows().front().finished_at - lab.start();
}

}  // namespace

TEST_CASE("sim: a remembered path takes a MiB in one flight, an unknown one in four round trips") {
  const auto known = send(path(500), 1 * MiB, 500);
  CHECK(known.sender.cwnd_first > 1 * MiB);
  CHECK(known.sender.packets_lost == 0);
  // Half of 500 Mbit/s is 34 ms a MiB, and half a round trip until it is there.
  CHECK(taken(path(500), 1 * MiB, 500) <= 100ms);
  const auto unknown = send(path(500), 1 * MiB, std::nullopt);
  CHECK(unknown.sender.cwnd_first < 100'000);
  CHECK(taken(path(500), 1 * MiB, std::nullopt) > 300ms);
  CHECK(taken(path(500), 1 * MiB, std::nullopt) <= 400ms);
}

TEST_CASE("sim: what is remembered brings the full rate sooner, and loses nothing where it is true") {
  const auto known = send(path(500), 64 * MiB, 500);
  CHECK(known.sender.packets_lost == 0);
  CHECK(taken(path(500), 64 * MiB, 500) + 100ms <= taken(path(500), 64 * MiB, std::nullopt));
}

TEST_CASE("sim: a path that carries a fiftieth of what is remembered gets no more lost than one flight, once") {
  const PathOptions shrunk = path(10);
  const auto known = send(shrunk, 8 * MiB, 500);
  CHECK(known.sender.packets_lost > 0);  // else this shows nothing
  // The flight is a MiB, for no more credit was given; a tenth for what startup loses on any path.
  CHECK(known.sender.payload_bytes_sent <= 8 * MiB + 1 * MiB + 8 * MiB / 10);
  // And it costs little time: from the first loss on all is as on an unknown path.
  CHECK(taken(shrunk, 8 * MiB, 500) <= taken(shrunk, 8 * MiB, std::nullopt) + 1s);
}

TEST_CASE("sim: half of what is remembered is never too much for the path that it was, even where queues are short") {
  for (const std::uint64_t queue_percent : {10U, 25U, 100U, 400U}) {
    CAPTURE(queue_percent);
    const PathOptions same = path(200, queue_percent);
    PathLab lab(same, {{.remembered = DataRate::megabits_per_second(200)}});
    lab.run(250ms);  // the flight, and its ACKs
    CHECK(lab.flows().front().sender.packets_lost == 0);
    CHECK(lab.flows().front().sender.cwnd_first > 1'000'000);
  }
}

TEST_CASE(
    "sim: a queue that a remembered start has filled is not taken for jitter, and startup does not go on into it") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    const PathOptions jittery{
        .rtt = 250ms, .rate = DataRate::megabits_per_second(100), .jitter = 2ms, .tick = 5ms, .seed = seed};
    // 3 500 packets were, in three of these twelve.
    CHECK(send(jittery, 40 * MiB, 100).sender.packets_lost < 300);
  }
}

TEST_CASE("sim: where every hundredth packet is lost by chance, what is remembered costs nothing") {
  PathOptions lossy = path(200);
  lossy.loss = netem::Probability::percent(1);
  CHECK(taken(lossy, 32 * MiB, 200) <= taken(lossy, 32 * MiB, std::nullopt) + 100ms);
}

TEST_CASE("sim: a remembered flight that was lost whole, for the peer was not there yet, is no word about the path") {
  for (const std::uint32_t percent : {1U, 20U}) {
    for (const Duration shut : {50ms, 200ms}) {
      CAPTURE(percent);
      CAPTURE(shut / 1ms);
      PathOptions lossy{
          .rtt = 100ms, .rate = DataRate::megabits_per_second(100), .loss = netem::Probability::percent(percent)};
      lossy.changes = {{.after = 0ms, .down = true}, {.after = shut}};
      PathLab lab(lossy, {{.remembered = DataRate::megabits_per_second(100)}});
      lab.run(5s);
      // It was 0 to 6 % of that: a policer, whose chance is learnt from what is sent well below the rate.
      CHECK(lab.goodput(0, 2s, 5s) >= 958'000 * (100 - percent) / 100 * 90);
    }
  }
}

TEST_CASE("sim: what the peer could not keep of a remembered flight until it had a lane is no policer's") {
  for (const std::uint32_t percent : {0U, 1U, 20U}) {
    for (const Duration lane_after : {200ms, 300ms, 500ms}) {
      for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        CAPTURE(percent);
        CAPTURE(lane_after / 1ms);
        CAPTURE(seed);
        PathOptions lossy{.rtt = 100ms,
                          .rate = DataRate::megabits_per_second(100),
                          .loss = netem::Probability::percent(percent),
                          .lane_after = lane_after,
                          .seed = seed};
        PathLab lab(lossy, {{.remembered = DataRate::megabits_per_second(100)}});
        lab.run(6s);
        CHECK(lab.flows().front().sender.packets_lost > 100);  // else this shows nothing
        // It was 1 to 2 % of that for seconds: too little was sent to learn that it was chance.
        CHECK(lab.goodput(0, 3s, 6s) >= 958'000 * (100 - percent) / 100 * 90);
      }
    }
  }
}

}  // namespace penstock::sim
