#include "dataplane/engine/congestion/lane_guide.h"

#include <doctest/doctest.h>

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration rtt = 100ms;
TimePoint at(Duration since_start) { return TimePoint{} + since_start; }
LaneLead lead_of(std::size_t lane, std::uint64_t rate = 1'000'000) {
  return {.lane = lane, .rate = rate, .cwnd = 100'000, .bandwidth = rate};
}

TEST_CASE("lane guide: the lowest lane that speaks is followed, and nobody follows a higher one") {
  LaneGuide guide({.lane = 2, .lanes = 4});
  guide.on_news(at(0ms), lead_of(3));
  CHECK_FALSE(guide.leader());
  guide.on_news(at(0ms), lead_of(1));
  REQUIRE(guide.leader());
  CHECK(guide.leader()->lane == 1);
  guide.on_news(at(1ms), lead_of(0));
  CHECK(guide.leader()->lane == 0);
  guide.on_news(at(2ms), lead_of(1));
  CHECK(guide.leader()->lane == 0);
}

TEST_CASE("lane guide: who gives up the lead, or falls silent, is followed no longer") {
  LaneGuide guide({.lane = 1, .lanes = 2});
  guide.on_news(at(0ms), lead_of(0));
  LaneLead over = lead_of(0);
  over.over = true;
  guide.on_news(at(1ms), over);
  CHECK_FALSE(guide.leader());

  guide.on_news(at(10ms), lead_of(0));
  guide.on_time(at(410ms), rtt);
  CHECK(guide.leader());
  guide.on_time(at(411ms), rtt);
  CHECK_FALSE(guide.leader());

  guide.on_news(at(500ms), lead_of(0));  // short round trips: an outage is not as short
  guide.on_time(at(750ms), 1ms);
  CHECK(guide.leader());
  guide.on_time(at(751ms), 1ms);
  CHECK_FALSE(guide.leader());
}

TEST_CASE("lane guide: who leads says so when it is news, and each half round trip; who does not says nothing") {
  LaneGuide guide({.lane = 1, .lanes = 3});
  const auto first = guide.tell(at(0ms), lead_of(7), true, rtt);
  REQUIRE(first);
  CHECK(first->lane == 1);
  CHECK_FALSE(first->over);
  CHECK_FALSE(guide.tell(at(1ms), lead_of(1, 1'010'000), true, rtt));
  CHECK(guide.tell(at(2ms), lead_of(1, 1'020'000), true, rtt));
  CHECK_FALSE(guide.tell(at(51ms), lead_of(1, 1'020'000), true, rtt));
  CHECK(guide.tell(at(52ms), lead_of(1, 1'020'000), true, rtt));

  guide.on_news(at(60ms), lead_of(0));
  const auto last = guide.tell(at(61ms), lead_of(1), true, rtt);
  REQUIRE(last);
  CHECK(last->over);
  CHECK_FALSE(guide.tell(at(200ms), lead_of(1), true, rtt));
}

TEST_CASE("lane guide: a lane with too little to send does not lead, and a lane alone tells nobody") {
  LaneGuide guide({.lane = 0, .lanes = 2});
  CHECK_FALSE(guide.tell(at(0ms), lead_of(0), false, rtt));
  CHECK(guide.tell(at(1ms), lead_of(0), true, rtt));
  const auto given_up = guide.tell(at(2ms), lead_of(0), false, rtt);
  REQUIRE(given_up);
  CHECK(given_up->over);
  LaneGuide alone({});
  CHECK_FALSE(alone.tell(at(0ms), lead_of(0), true, rtt));
}

}  // namespace
}  // namespace penstock::engine::test
