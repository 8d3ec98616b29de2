#include "dataplane/io/busy_meter.h"

#include <doctest/doctest.h>

#include <chrono>

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

/// So many turns of `work`, then `rest`.
TimePoint run(BusyMeter& meter, TimePoint now, int turns, Duration work, Duration rest) {
  for (int i = 0; i < turns; ++i) {
    now += work;
    meter.on_rested(now, now + rest);
    now += rest;
  }
  return now;
}

TEST_CASE("a thread's busy share is that of the last window, and is nothing before the first is over") {
  BusyMeter meter;
  TimePoint now{1h};
  now = run(meter, now, 10, 9ms, 1ms);
  CHECK(meter.percent() == 0);
  now = run(meter, now, 60, 9ms, 1ms);
  CHECK(meter.percent() == doctest::Approx(90).epsilon(0.02));
  now = run(meter, now, 600, 1ms, 1ms);
  CHECK(meter.percent() == doctest::Approx(50).epsilon(0.02));
  now = run(meter, now, 2, 1us, 1s);
  CHECK(meter.percent() <= 20);  // its window may have begun before
  run(meter, now, 4, 1s, 0ms);
  CHECK(meter.percent() == 100);
}

}  // namespace
}  // namespace penstock::io
