#include "dataplane/engine/congestion/careful_start.h"

#include <doctest/doctest.h>

#include <limits>

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;
using Phase = CarefulStart::Phase;

constexpr std::uint64_t ordinary = 64 * 1472;

CarefulStart remembering(std::uint64_t megabits, Duration rtt = 100ms) {
  return CarefulStart{ordinary, DataRate::megabits_per_second(megabits), rtt};
}

}  // namespace

TEST_CASE("careful start: begins with half of what the path carried in a round trip") {
  CHECK(remembering(100).window() == 625'000);
  CHECK(remembering(100).phase() == Phase::unvalidated);
  CHECK(remembering(100, 40ms).window() == 250'000);
}

TEST_CASE("careful start: what is not remembered, or is less than what anybody begins with, changes nothing") {
  const CarefulStart unknown{ordinary, std::nullopt, 100ms};
  CHECK(unknown.window() == ordinary);
  CHECK(!unknown.holds());
  CHECK(remembering(10).window() == ordinary);
  CHECK(!remembering(10).holds());
  CHECK(remembering(1'000, Duration{}).window() == ordinary);
}

TEST_CASE("careful start: whatever a peer says that it remembers, no more leaves unacknowledged than the cap") {
  const auto most = DataRate::bits_per_second(std::numeric_limits<std::uint64_t>::max());
  for (const Duration rtt : {1ms, 100ms, 100'000'000ms}) {
    const CarefulStart start{ordinary, most, rtt};
    CHECK(start.window() == careful_window_max);
  }
  CHECK(remembering(1'000'000).window() == careful_window_max);
}

TEST_CASE("careful start: the window holds until the last of the flight is acknowledged") {
  auto start = remembering(100);
  start.on_sent({99}, 150'000);
  start.on_sent({199}, 150'000);
  CHECK(start.on_acked({120}, 100'000, 600'000));
  CHECK(start.phase() == Phase::validating);
  CHECK(start.holds());
  CHECK(start.window() == 625'000);
  start.on_sent({300}, 150'000);  // what the first ACKs let go is no part of it
  CHECK(!start.on_acked({198}, 100'000, 600'000));
  CHECK(start.holds());
  CHECK(!start.on_acked({199}, 1'000, 600'000));
  CHECK(start.phase() == Phase::ordinary);
  CHECK(!start.on_lost());
}

TEST_CASE("careful start: what had not left by the first ACK does not follow unproven") {
  auto start = remembering(100);
  start.on_sent({99}, 150'000);
  start.on_sent({199}, 150'000);
  CHECK(start.on_acked({120}, 100'000, 200'000));
  CHECK(start.window() == 300'000);
  auto little = remembering(100);
  little.on_sent({3}, ordinary);
  CHECK(little.on_acked({3}, 1'400, 0));
  CHECK(little.window() == ordinary);
}

TEST_CASE("careful start: what was told before there was data to send proves nothing, and takes nothing away") {
  auto start = remembering(100);
  start.on_sent({0}, 400);
  start.on_app_limited();
  CHECK(!start.on_acked({0}, 400, 0));
  CHECK(start.phase() == Phase::unvalidated);
  CHECK(start.window() == 625'000);
  start.on_sent({1}, 400);
  start.on_app_limited();
  start.on_sent({64}, 200'000);
  start.on_app_limited();  // credit: this was a flight
  CHECK(!start.on_acked({1}, 400, 200'000));
  CHECK(start.on_acked({2}, 1'400, 198'600));
  CHECK(start.window() == 200'000);
}

TEST_CASE("careful start: a loss leaves half of what has arrived, at least what anybody begins with") {
  auto early = remembering(100);
  early.on_sent({424}, 625'000);
  CHECK(early.on_lost() == ordinary);  // nothing has arrived at all
  CHECK(!early.holds());
  CHECK(!early.on_lost());  // once

  auto late = remembering(100);
  late.on_sent({99}, 150'000);
  late.on_sent({424}, 475'000);
  (void)late.on_acked({400}, 500'000, 125'000);
  CHECK(late.on_lost() == 250'000);
}

}  // namespace penstock::engine::test
