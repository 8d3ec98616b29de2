#include "dataplane/io/heard.h"

#include <doctest/doctest.h>

namespace penstock::io {
namespace {
using namespace std::chrono_literals;
TimePoint at(Duration since_start) { return TimePoint{} + since_start; }
}  // namespace

TEST_CASE("heard: a thread that sleeps long after the kernel's answer has heard nothing since it asked") {
  Heard heard;
  heard.on_read(at(100ms), true);
  // Whatever the clock says by now: what came in after 100 ms may wait in a socket.
  CHECK(heard.until() == at(100ms));
}

TEST_CASE("heard: a socket that is not empty yet holds time-outs up, but a flood does so for 25 ms alone") {
  Heard heard;
  heard.on_read(at(100ms), true);
  heard.on_read(at(110ms), false);
  CHECK(heard.until() == at(100ms));
  heard.on_read(at(120ms), true);
  CHECK(heard.until() == at(120ms));
  for (int i = 1; i <= 1000; ++i) {
    const TimePoint before = heard.until();
    heard.on_read(at(120ms + i * 1ms), false);
    REQUIRE(heard.until() >= before);
    REQUIRE(heard.until() >= at(120ms + i * 1ms) - Heard::unheard_max);
  }
}

}  // namespace penstock::io
