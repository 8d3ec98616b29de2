#include "dataplane/engine/lane/goodbye.h"

#include <doctest/doctest.h>

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1s};

TEST_CASE("goodbye: it is said once, and three times more at probe time-outs") {
  Goodbye goodbye;
  CHECK_FALSE(goodbye.is_owed());
  goodbye.owe();
  TimePoint now = start;
  int said = 0;
  for (;;) {
    REQUIRE(goodbye.is_owed());
    goodbye.on_said(now, 50ms);
    ++said;
    CHECK_FALSE(goodbye.is_owed());
    if (!goodbye.repeat_at()) break;
    CHECK(*goodbye.repeat_at() == now + 50ms);
    now = *goodbye.repeat_at();
    goodbye.on_repeat_due();
    CHECK_FALSE(goodbye.repeat_at());
  }
  CHECK(said == 4);
}

TEST_CASE("goodbye: who goes on talking hears it again, ever more seldom") {
  Goodbye goodbye;
  goodbye.owe();
  goodbye.on_said(start, 50ms);
  int said = 0;
  for (int datagram = 1; datagram <= 1'000; ++datagram) {
    goodbye.on_datagram();
    if (!goodbye.is_owed()) continue;
    goodbye.on_said(start, 50ms);
    ++said;
  }
  CHECK(said == 10);  // the 1st, 2nd, 4th .. 512th
}

TEST_CASE("goodbye: an answer to who goes on talking does not put the next repeat off") {
  Goodbye goodbye;
  goodbye.owe();
  goodbye.on_said(start, 50ms);
  goodbye.on_datagram();
  goodbye.on_said(start + 40ms, 50ms);
  CHECK(goodbye.repeat_at() == start + 50ms);
}

}  // namespace
}  // namespace penstock::engine::test
