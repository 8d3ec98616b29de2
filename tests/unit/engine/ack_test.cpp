#include <doctest/doctest.h>

#include "dataplane/engine/ack/ack_tracker.h"
#include "dataplane/engine/ack/loss_detector.h"
#include "dataplane/engine/ack/rtt_estimator.h"
#include "dataplane/engine/timers.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

constexpr Duration interval = 10ms;
TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

}  // namespace

TEST_CASE("ack tracker: nothing is owed for packets that elicit no ACK") {
  AckTracker tracker;
  tracker.on_packet_received(at(1ms), {5}, false);
  CHECK(!tracker.ack_deadline(interval));
  CHECK(tracker.has_news());
}

TEST_CASE("ack tracker: the first ACK and one after a pause leave at once, others one interval apart") {
  AckTracker tracker;
  tracker.on_packet_received(at(1ms), {0}, true);
  CHECK(tracker.ack_deadline(interval) == at(1ms));
  tracker.on_ack_sent(at(1ms));
  CHECK(!tracker.ack_deadline(interval));
  tracker.on_packet_received(at(2ms), {1}, true);
  CHECK(tracker.ack_deadline(interval) == at(11ms));
  tracker.on_packet_received(at(3ms), {9}, true);  // a loss does not make it sooner: the rate is the bound
  CHECK(tracker.ack_deadline(interval) == at(11ms));
  tracker.on_ack_sent(at(11ms));
  tracker.on_packet_received(at(50ms), {10}, true);
  CHECK(tracker.ack_deadline(interval) == at(50ms));
}

TEST_CASE("ack tracker: the tail is acknowledged at once") {
  AckTracker tracker;
  tracker.on_packet_received(at(1ms), {0}, true);
  tracker.on_ack_sent(at(1ms));
  tracker.on_packet_received(at(2ms), {1}, true);
  tracker.on_tail(at(2ms));
  CHECK(tracker.ack_deadline(interval) == at(2ms));
}

TEST_CASE("ack tracker: the delay is that of the largest number") {
  AckTracker tracker;
  tracker.on_packet_received(at(1ms), {5}, true);
  tracker.on_packet_received(at(4ms), {3}, true);
  CHECK(tracker.delay_of_largest(at(6ms)) == 5ms);
}

TEST_CASE("ack tracker: each number is told in at least four ACKs over half a round trip") {
  AckTracker tracker;
  const Duration rtt = 80ms;
  TimePoint now = at(0ms);
  std::uint64_t next = 0;
  std::vector<std::pair<std::uint64_t, int>> told;  // number, ACKs that covered it while young
  std::vector<TimePoint> arrived;
  for (int ack = 0; ack < 50; ++ack) {
    for (int i = 0; i < 5; ++i) {
      tracker.on_packet_received(now, {next * 2}, true);  // every second number is missing
      told.emplace_back(next * 2, 0);
      arrived.push_back(now);
      ++next;
    }
    const PacketNumber floor = tracker.floor(now, rtt);
    for (std::size_t i = 0; i < told.size(); ++i) {
      if (told[i].first >= floor.value) ++told[i].second;
      if (now - arrived[i] <= rtt / 2) CHECK(told[i].first >= floor.value);
    }
    tracker.on_ack_sent(now);
    now += 10ms;
  }
  for (std::size_t i = 0; i + 40 < told.size(); ++i) {
    CHECK(told[i].second >= 4);
    CHECK(told[i].second <= 12);  // and not for ever
  }
}

TEST_CASE("ack tracker: OLDEST_NEEDED prunes what is below, and fetches what the peer missed") {
  AckTracker tracker;
  for (std::uint64_t n = 0; n < 1000; n += 2) tracker.on_packet_received(at(1ms), {n}, true);
  for (int i = 0; i < 20; ++i) tracker.on_ack_sent(at(10ms * i));
  CHECK(tracker.floor(at(1s), 10ms).value >= 990);
  tracker.on_oldest_needed({400});
  CHECK(tracker.received().front().begin == 400);
  CHECK(tracker.floor(at(1s), 10ms) == PacketNumber{400});
  tracker.on_ack_sent(at(1s));
  CHECK(tracker.floor(at(2s), 10ms).value >= 400);
  tracker.on_oldest_needed({1'000'000});  // the newest range stays
  CHECK(tracker.received().size() == 1);
  CHECK(tracker.received().front().begin == 998);
}

TEST_CASE("ack tracker: more ranges than its bound push the oldest out") {
  AckTracker tracker;
  for (std::uint64_t n = 0; n < ack_ranges_max + 10; ++n) tracker.on_packet_received(at(1ms), {2 * n}, true);
  CHECK(tracker.received().size() == ack_ranges_max);
  CHECK(tracker.received().back().end == 2 * (ack_ranges_max + 9) + 1);
}

TEST_CASE("rtt: RFC 9002 section 5 by hand") {
  RttEstimator rtt(100ms);
  CHECK(rtt.smoothed() == 100ms);
  CHECK(!rtt.has_sample());
  rtt.on_sample(80ms, 10ms);  // the first counts whole
  CHECK(rtt.smoothed() == 80ms);
  CHECK(rtt.variation() == 40ms);
  rtt.on_sample(120ms, 20ms);
  CHECK(rtt.smoothed() == 82500us);
  CHECK(rtt.variation() == 35ms);
  CHECK(rtt.minimum() == 80ms);
  CHECK(rtt.latest() == 120ms);
}

TEST_CASE("rtt: a claimed delay never pushes a sample below the minimum") {
  RttEstimator rtt(100ms);
  rtt.on_sample(80ms, 0ms);
  const Duration before = rtt.smoothed();
  rtt.on_sample(90ms, 50ms);
  CHECK(rtt.smoothed() > before);
  CHECK(rtt.minimum() == 80ms);
}

TEST_CASE("rtt: a claimed delay explains no more than an ACK may wait") {
  RttEstimator rtt(20ms);
  rtt.on_sample(20ms, 0ms);
  for (int i = 0; i < 100; ++i) rtt.on_sample(400ms, 380ms);
  CHECK(rtt.smoothed() >= 370ms);  // 20 where all of it was believed
}

TEST_CASE("rtt: the ACK interval is an eighth of the round trip within its bounds") {
  CHECK(ack_interval(50us) == 500us);
  CHECK(ack_interval(4ms) == 500us);
  CHECK(ack_interval(80ms) == 10ms);
  CHECK(ack_interval(200ms) == 25ms);
  CHECK(ack_interval(900ms) == 25ms);
}

TEST_CASE("loss: three packets decide until reordering is seen, then time alone") {
  LossDetector detector;
  CHECK(detector.packet_threshold() == 3);
  detector.on_reordering(2);
  CHECK(detector.packet_threshold() == 3);
  detector.on_reordering(3);
  CHECK(!detector.packet_threshold());
}

TEST_CASE("loss: the window grows once a round trip with spurious losses, to one RTT, and falls back after 16") {
  LossDetector detector;
  RttEstimator rtt(100ms);
  rtt.on_sample(100ms, 0ms);
  CHECK(detector.loss_delay(rtt) == 112500us);
  detector.on_spurious_loss(at(0ms), rtt);
  const Duration first = detector.loss_delay(rtt);
  CHECK(first == 150ms);
  detector.on_spurious_loss(at(50ms), rtt);  // the same round trip
  CHECK(detector.loss_delay(rtt) == first);
  for (int i = 1; i < 20; ++i) detector.on_spurious_loss(at(100ms * i), rtt);
  CHECK(detector.loss_delay(rtt) == 200ms);
  for (int i = 0; i < 15; ++i) detector.on_loss(true);
  CHECK(detector.loss_delay(rtt) == 200ms);
  detector.on_loss(false);  // not a new recovery
  CHECK(detector.loss_delay(rtt) == 200ms);
  detector.on_loss(true);
  CHECK(detector.loss_delay(rtt) == 125ms);
}

TEST_CASE("timers: the earliest of all is told, and taken once") {
  TimerTable table;
  CHECK(!table.earliest());
  table[Timer::probe] = at(5ms);
  table[Timer::ack] = at(3ms);
  CHECK(table.earliest() == at(3ms));
  CHECK(!table.take_if_due(Timer::ack, at(3ms) - 1ns));
  CHECK(table.take_if_due(Timer::ack, at(3ms)));
  CHECK(!table.take_if_due(Timer::ack, at(3ms)));
  CHECK(table.earliest() == at(5ms));
}

}  // namespace penstock::engine::test
