#include "dataplane/engine/lane/sleep_watch.h"

#include <doctest/doctest.h>

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

TEST_CASE("sleep watch: what left before a probe that came more than a second late tells no time") {
  SleepWatch watch;
  CHECK(watch.is_timely(0));
  watch.on_time(at(10s), at(9500ms), 100);  // late, as a busy machine is
  CHECK(watch.is_timely(99));
  watch.on_time(at(70s), at(10s), 200);
  CHECK_FALSE(watch.is_timely(199));
  CHECK(watch.is_timely(200));
}

TEST_CASE("sleep watch: who waits for nothing sleeps through nothing") {
  SleepWatch watch;
  watch.on_time(at(1h), std::nullopt, 100);
  CHECK(watch.is_timely(0));
}

}  // namespace
}  // namespace penstock::engine
