#include "dataplane/io/lane_drops.h"

#include <doctest/doctest.h>

#include <array>

namespace penstock::io {
namespace {

// Only their addresses matter.
const std::array<char, 2> sockets{};
const Port* socket(std::size_t i) { return reinterpret_cast<const Port*>(&sockets.at(i)); }

TEST_CASE("lane drops: what a socket dropped before the lane came is not the lane's") {
  LaneDrops lane;
  CHECK(lane.on_batch({.socket = socket(0), .total = 100}) == 0);
  CHECK(lane.on_batch({.socket = socket(0), .total = 103}) == 3);
  CHECK(lane.on_batch({.socket = socket(0), .total = 103}) == 3);
}

TEST_CASE(
    "lane drops: a lane that comes by two sockets never counts backwards, nor one socket's drops as the other's") {
  LaneDrops lane;
  CHECK(lane.on_batch({.socket = socket(0), .total = 1000}) == 0);
  CHECK(lane.on_batch({.socket = socket(1), .total = 5}) == 0);
  CHECK(lane.on_batch({.socket = socket(1), .total = 7}) == 2);
  CHECK(lane.on_batch({.socket = socket(0), .total = 1004}) == 2);
  CHECK(lane.on_batch({.socket = socket(0), .total = 1005}) == 3);
}

}  // namespace
}  // namespace penstock::io
