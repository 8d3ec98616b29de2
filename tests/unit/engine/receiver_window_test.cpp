#include "dataplane/engine/congestion/receiver_window.h"

#include <doctest/doctest.h>

#include <cstdint>

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr ReceiverWindow::Allowed allowed{.cwnd = 80'000, .least = 4'800, .round_trip = 20ms};
constexpr TimePoint start{1s};

/// One whose socket has dropped a packet that was lost to us at `start`.
ReceiverWindow shrunken() {
  ReceiverWindow window;
  window.on_drops(1);
  CHECK(window.excuse(start, 1, allowed) == 1);
  return window;
}

}  // namespace

TEST_CASE("receiver window: excuses as many losses as the receiver dropped, once") {
  ReceiverWindow window;
  CHECK(window.excuse(start, 1, allowed) == 0);
  CHECK(!window.bytes());
  window.on_drops(2);
  window.on_drops(3);
  CHECK(window.explains(5));
  CHECK(!window.explains(6));
  CHECK(window.excuse(start, 3, allowed) == 3);
  CHECK(window.explains(2));
  CHECK(!window.explains(3));
  CHECK(window.excuse(start, 4, allowed) == 2);
  CHECK(window.excuse(start, 4, allowed) == 0);
}

TEST_CASE("receiver window: drops that no loss of ours shows are forgotten, half of them each round trip") {
  ReceiverWindow window;
  window.on_drops(9);
  window.on_round();
  CHECK(window.explains(4));
  CHECK(!window.explains(5));
  for (int round = 0; round < 3; ++round) window.on_round();
  CHECK(window.excuse(start, 1, allowed) == 0);
}

TEST_CASE("receiver window: shrinks to seven eighths of what was allowed, once a round trip") {
  ReceiverWindow window = shrunken();
  CHECK(window.bytes() == 70'000);
  window.on_drops(10);
  CHECK(window.excuse(start + 20ms, 1, allowed) == 1);
  CHECK(window.bytes() == 70'000);
  CHECK(window.excuse(start + 21ms, 1, allowed) == 1);
  CHECK(window.bytes() == 61'250);
  // Where the path allows less by then, of that.
  CHECK(window.excuse(start + 42ms, 1, {.cwnd = 40'000, .least = 4'800, .round_trip = 20ms}) == 1);
  CHECK(window.bytes() == 35'000);
  CHECK(window.excuse(start + 63ms, 1, {.cwnd = 5'000, .least = 4'800, .round_trip = 20ms}) == 1);
  CHECK(window.bytes() == 4'800);
}

TEST_CASE("receiver window: grows by an eighth after each tenth of a second without a drop") {
  ReceiverWindow window = shrunken();
  window.on_acked(start + 100ms, allowed.cwnd);
  CHECK(window.bytes() == 70'000);
  window.on_acked(start + 101ms, allowed.cwnd);
  CHECK(window.bytes() == 78'750);
  window.on_acked(start + 201ms, allowed.cwnd);
  CHECK(window.bytes() == 78'750);
  window.on_drops(1);
  CHECK(window.excuse(start + 202ms, 1, allowed) == 1);
  CHECK(window.bytes() == 68'906);
  window.on_acked(start + 302ms, allowed.cwnd);
  CHECK(window.bytes() == 68'906);
}

TEST_CASE("receiver window: is no more once it is more than twice what the path allows") {
  ReceiverWindow window = shrunken();
  TimePoint now = start;
  while (window.bytes()) {
    REQUIRE(*window.bytes() <= 2 * allowed.cwnd);
    window.on_acked(now += 101ms, allowed.cwnd);
    REQUIRE(now < start + 1s);
  }
  CHECK(now == start + 8 * 101ms);
  ReceiverWindow beyond = shrunken();
  beyond.on_acked(start + 101ms, 30'000);  // the path's own window is the smaller one
  CHECK(!beyond.bytes());
}

}  // namespace penstock::engine::test
