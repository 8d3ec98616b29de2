#include "control/session/lane_setup.h"

#include <doctest/doctest.h>

namespace penstock::control {
namespace {

TEST_CASE("lane setup: several lanes are refused under every name that comes to bbr") {
  for (const auto* name : {"bbr", "", "reno", "fixed"}) {
    CAPTURE(name);
    const auto congestion = congestion_named(name, false);
    CHECK(check_lanes(congestion, 1).ok());
    const auto refused = check_lanes(congestion, 2);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == ErrorCode::USAGE);
  }
  CHECK(check_lanes(congestion_named("cubic", false), 64).ok());
  CHECK(check_lanes(congestion_named("fixed", true), 64).ok());
}

}  // namespace
}  // namespace penstock::control
