#include "control/server/fec_counters.h"

#include <doctest/doctest.h>

using namespace penstock;
using namespace penstock::control;

TEST_CASE("fec counters: what all transfers did is counted once, however often they are looked at") {
  FecCounters counters;
  FecFollower push;
  FecFollower pull;
  engine::LaneStats received;
  received.repairs_received = 10;
  received.symbols_recovered = 4;
  push.follow(received, counters);
  push.follow(received, counters);
  received.repairs_received = 25;
  received.symbols_recovered = 9;
  received.generations_failed = 1;
  push.follow(received, counters);
  engine::LaneStats sent;
  sent.repairs_sent = 100;
  sent.symbols_recovered = 7;
  sent.generations_failed = 2;
  pull.follow(sent, counters);
  CHECK(counters.penstock_fec_repairs_sent_total == 100);
  CHECK(counters.penstock_fec_repairs_received_total == 25);
  CHECK(counters.penstock_fec_symbols_recovered_total == 16);
  CHECK(counters.penstock_fec_generations_failed_total == 3);
}

TEST_CASE("fec counters: a lane that is over and counts no more takes nothing back") {
  FecCounters counters;
  FecFollower follower;
  engine::LaneStats lane;
  lane.repairs_sent = 50;
  follower.follow(lane, counters);
  lane.repairs_sent = 30;
  follower.follow(lane, counters);
  lane.repairs_sent = 60;
  follower.follow(lane, counters);
  CHECK(counters.penstock_fec_repairs_sent_total == 60);
}
