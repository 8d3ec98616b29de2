#include "dataplane/engine/lane/sink_refusals.h"

#include <doctest/doctest.h>

#include <limits>

namespace penstock::engine {
namespace {

TEST_CASE("sink refusals: so many losses of file bytes are no congestion, each once") {
  SinkRefusals refusals;
  CHECK(refusals.on_told(10, 100) == 10);
  CHECK(refusals.on_told(10, 100) == 0);  // a running total
  CHECK(refusals.excuse(6, 6));
  CHECK_FALSE(refusals.excuse(6, 6));
  CHECK(refusals.on_told(13, 100) == 3);
  CHECK(refusals.excuse(3, 3));
}

TEST_CASE("sink refusals: a count explains no more than is on its way, whatever it says") {
  SinkRefusals refusals;
  CHECK(refusals.on_told(std::numeric_limits<std::uint32_t>::max(), 20) == 20);
  CHECK(refusals.excuse(20, 20));
  CHECK_FALSE(refusals.excuse(1, 1));
  CHECK(refusals.on_told(std::numeric_limits<std::uint32_t>::max(), 20) == 0);
}

TEST_CASE("sink refusals: what was acknowledged after all, or went another way, excuses nothing that is lost later") {
  SinkRefusals refusals;
  CHECK(refusals.on_told(20, 20) == 20);
  CHECK(refusals.on_told(40, 20) == 0);
  refusals.on_in_flight(5);
  CHECK(refusals.excuse(5, 5));
  CHECK_FALSE(refusals.excuse(1, 1));
}

TEST_CASE("sink refusals: no sink refuses what carries no file bytes") {
  SinkRefusals refusals;
  CHECK(refusals.on_told(20, 20) == 20);
  CHECK_FALSE(refusals.excuse(3, 2));
}

}  // namespace
}  // namespace penstock::engine
