#include "control/session/lane_setup.h"

#include <doctest/doctest.h>

namespace penstock::control {
namespace {

TEST_CASE("lane setup: several lanes are refused for scavenger alone, which has no coupling") {
  const auto scavenger = congestion_named("scavenger", false);
  CHECK(check_lanes(scavenger, 1).ok());
  const auto refused = check_lanes(scavenger, 2);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == ErrorCode::USAGE);
  for (const auto* name : {"bbr", "", "reno", "cubic"}) {
    CAPTURE(name);
    CHECK(check_lanes(congestion_named(name, false), 64).ok());
  }
  CHECK(check_lanes(congestion_named("fixed", true), 64).ok());
}

TEST_CASE("lane setup: what holds a sender back is named by what both ends know") {
  using engine::SenderLimit;
  const auto word = [](SenderLimit limit, std::string_view sink, bool capped = false, bool server = false,
                       std::uint64_t lost = 0) {
    engine::LaneStats stats;
    stats.limit = limit;
    stats.paced_by_cap = capped;
    stats.packets_lost = lost;
    return limit_of(stats, server, sink);
  };
  CHECK(word(SenderLimit::source, "") == "source_disk");
  CHECK(word(SenderLimit::source, "target_disk") == "source_disk");
  CHECK(word(SenderLimit::receiver_credit, "") == "receiver_credit");
  CHECK(word(SenderLimit::receiver_credit, "target_disk") == "target_disk");
  CHECK(word(SenderLimit::receiver_credit, "receiver_cpu") == "receiver_cpu");
  CHECK(word(SenderLimit::receiver_credit, "anything a peer may say") == "receiver_credit");
  // Paced by what the path carries, though a cap above it was given: the path.
  CHECK(word(SenderLimit::pacing, "") == "path");
  CHECK(word(SenderLimit::pacing, "target_disk") == "path");
  CHECK(word(SenderLimit::pacing, "receiver_cpu") == "receiver_cpu");
  CHECK(word(SenderLimit::pacing, "receiver_cpu", true) == "rate_cap");
  CHECK(word(SenderLimit::pacing, "", true, true) == "server_cap");
  CHECK(word(SenderLimit::cwnd, "") == "cwnd");
  CHECK(word(SenderLimit::cwnd, "", false, false, 1) == "path");
  CHECK(word(SenderLimit::cwnd, "receiver_cpu", false, false, 1) == "receiver_cpu");
  CHECK(word(SenderLimit::stream, "") == "path");
  CHECK(word(SenderLimit::sender_cpu, "receiver_cpu") == "sender_cpu");
  CHECK(word(SenderLimit::receiver_cpu, "") == "receiver_cpu");
  CHECK(word(SenderLimit::nothing_to_send, "target_disk").empty());
}

TEST_CASE("lane setup: a receiving end names its disk before its processor") {
  engine::LaneStats stats;
  CHECK(sink_limit_of(stats, 0).empty());
  stats.thread_busy_percent = 99;
  CHECK(sink_limit_of(stats, 0) == "receiver_cpu");
  CHECK(sink_limit_of(stats, 5) == "target_disk");
  stats.thread_busy_percent = 50;
  CHECK(sink_limit_of(stats, 0).empty());
}

}  // namespace
}  // namespace penstock::control
