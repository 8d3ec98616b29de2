// The parts of `bbr`'s model of the path: delivery log, RTT floor, bandwidth filter, ACK aggregation.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/random.h"
#include "dataplane/engine/congestion/ack_aggregation.h"
#include "dataplane/engine/congestion/bandwidth_filter.h"
#include "dataplane/engine/congestion/delivery_log.h"
#include "dataplane/engine/congestion/queue_watch.h"
#include "dataplane/engine/congestion/rtt_floor.h"
#include "dataplane/engine/congestion/share_watch.h"

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t datagram = 1000;
TimePoint at(Duration since_start) { return TimePoint{} + since_start; }
Duration ms(std::uint64_t n) { return std::chrono::milliseconds{static_cast<std::int64_t>(n)}; }

}  // namespace

TEST_CASE("delivery log: a steady flight gives the rate at which it crossed, however ACKs are lumped") {
  for (const std::uint64_t lump : {1U, 5U, 20U}) {
    DeliveryLog log;
    // A packet a millisecond, a round trip of 40 ms, ACKs of `lump` packets.
    std::uint64_t acked = 0;
    for (std::uint64_t tick = 0; tick < 400; ++tick) {
      const TimePoint now = at(1s + ms(tick));
      if (tick >= 40 && (tick - 40 + 1) % lump == 0) {
        const std::uint64_t largest = tick - 40;
        log.on_delivered(now, (largest + 1 - acked) * datagram);
        acked = largest + 1;
        const auto sample = log.sample(now, {largest}, now - 40ms);
        REQUIRE(sample);
        if (tick >= 120) {
          CHECK(sample->rate(0) == doctest::Approx(1000.0 * datagram).epsilon(0.03));
          CHECK(sample->lost == 0);
          CHECK_FALSE(sample->app_limited);
        }
      }
      log.on_sent(now, {tick}, datagram, (tick + 1 - acked) * datagram, Pace::level, 625us);
    }
  }
}

TEST_CASE("delivery log: ACKs that were held back and arrive at once make no rate that was never sent") {
  DeliveryLog log;
  for (std::uint64_t n = 0; n < 100; ++n)
    log.on_sent(at(1s + ms(n)), {n}, datagram, (n + 1) * datagram, Pace::level, 500us);
  log.on_delivered(at(1050ms), 10 * datagram);
  (void)log.sample(at(1050ms), {9}, at(1009ms));
  // Everything else in one moment: 90 packets within a millisecond, that were sent over 90.
  log.on_sent(at(1101ms), {100}, datagram, 91 * datagram, Pace::level, 500us);
  log.on_delivered(at(1102ms), 91 * datagram);
  const auto sample = log.sample(at(1102ms), {100}, at(1101ms));
  REQUIRE(sample);
  CHECK(sample->rate(0) <= 1000 * datagram * 11 / 10);
}

TEST_CASE("delivery log: what was lost by chance crossed the path and is counted, what is more is not") {
  DeliveryLog log;
  for (std::uint64_t n = 0; n < 100; ++n)
    log.on_sent(at(1s + ms(n)), {n}, datagram, (n + 1) * datagram, Pace::probing, 500us);
  log.on_lost(20 * datagram);
  log.on_delivered(at(1100ms), 80 * datagram);
  const auto sample = log.sample(at(1100ms), {99}, at(1099ms));
  REQUIRE(sample);
  CHECK(sample->lost == 20 * datagram);
  CHECK(sample->pace == Pace::probing);
  CHECK(sample->rate(0) * 5 / 4 == doctest::Approx(static_cast<double>(sample->rate(20 * datagram))).epsilon(0.01));
  CHECK(sample->rate(20 * datagram) == sample->rate(1000 * datagram));
}

TEST_CASE("delivery log: packets sent around a silence are marked, until what was on its way then has come") {
  DeliveryLog log;
  log.on_sent(at(1s), {9}, 10 * datagram, 10 * datagram, Pace::level, 1ms);
  log.on_app_limited(10 * datagram);
  log.on_sent(at(1020ms), {19}, 10 * datagram, 20 * datagram, Pace::level, 1ms);
  log.on_delivered(at(1050ms), 10 * datagram);
  CHECK_FALSE(log.sample(at(1050ms), {9}, at(1s))->app_limited);
  log.on_delivered(at(1070ms), 10 * datagram);
  CHECK(log.sample(at(1070ms), {19}, at(1020ms))->app_limited);
  log.on_sent(at(1080ms), {29}, 10 * datagram, 10 * datagram, Pace::level, 1ms);
  log.on_delivered(at(1130ms), 10 * datagram);
  CHECK_FALSE(log.sample(at(1130ms), {29}, at(1080ms))->app_limited);
}

TEST_CASE("delivery log: remembers a bounded number of records, the newest ones") {
  DeliveryLog log;
  for (std::uint64_t n = 0; n < 10'000; ++n)
    log.on_sent(at(1s + ms(n)), {n}, datagram, 5 * datagram, n % 2 == 0 ? Pace::level : Pace::slowed, 1us);
  log.on_delivered(at(20s), datagram);
  CHECK_FALSE(log.sample(at(20s), {9'000}, at(10s)));
  CHECK(log.sample(at(20s), {9'999}, at(11s)));
  std::uint64_t level = 0;
  std::uint64_t slowed = 0;
  log.for_each_pace({9'900, 10'000},
                    [&](Pace pace, std::uint64_t count) { (pace == Pace::level ? level : slowed) += count; });
  CHECK(level == 50);
  CHECK(slowed == 50);
}

TEST_CASE("rtt floor: confirmed by samples close to it, doubted for no less than three round trips") {
  RttFloor floor;
  TimePoint now = at(1s);
  floor.on_sample(now, 20ms);
  floor.on_sample(now += 1s, 20'400us);
  CHECK(floor.minimum() == 20ms);
  CHECK(floor.confirmed_at() == now);
  floor.on_sample(now + 1s, 23ms);
  CHECK(floor.confirmed_at() == now);
  CHECK(floor.is_near(21ms));
  CHECK_FALSE(floor.is_near(23ms));
}

namespace {

/// Round trips that all measured `rtt`, until the floor has nothing more in flight to doubt; how many.
int rounds_until(RttFloor& floor, TimePoint& now, Duration (*rtt)(bool capped), Duration wanted) {
  for (int round = 1; round <= 20; ++round) {
    const Duration measured = rtt(floor.in_flight_cap().has_value());
    floor.on_sample(now += measured, measured);
    floor.on_round(now, {.in_flight_max = 100'000, .content = false});
    if (floor.minimum() == wanted) return round;
  }
  return 0;
}

}  // namespace

TEST_CASE("rtt floor: begins anew where the RTT stays raised with little in flight") {
  RttFloor floor;
  TimePoint now = at(1s);
  floor.on_sample(now, 20ms);
  floor.on_round(now, {});
  const int rounds = rounds_until(
      floor, now, [](bool) { return Duration{120ms}; }, 120ms);
  CHECK(rounds >= 4);
  CHECK(rounds <= 7);
  CHECK_FALSE(floor.in_flight_cap());
}

TEST_CASE("rtt floor: a queue that shrinks with what is in flight is ours, and moves nothing") {
  RttFloor floor;
  TimePoint now = at(1s);
  floor.on_sample(now, 20ms);
  floor.on_round(now, {});
  CHECK(rounds_until(
            floor, now, [](bool capped) { return Duration{capped ? 40ms : 80ms}; }, 40ms) == 0);
  CHECK(floor.minimum() == 20ms);
}

TEST_CASE("rtt floor: a raised RTT that costs no rate is left alone") {
  RttFloor floor;
  TimePoint now = at(1s);
  floor.on_sample(now, 20ms);
  for (int round = 0; round < 20; ++round) {
    floor.on_sample(now += 80ms, 80ms);
    floor.on_round(now, {.in_flight_max = 100'000, .content = true});
    CHECK_FALSE(floor.in_flight_cap());
  }
}

TEST_CASE("rtt floor: two probes that saw nothing lower replace a minimum that is ten seconds old") {
  RttFloor floor;
  TimePoint now = at(1s);
  floor.on_sample(now, 20ms);
  for (int probe = 0; probe < 2; ++probe) {
    now += 6s;
    floor.begin_probe();
    floor.on_sample(now, 30ms + probe * 2ms);
    floor.end_probe(now);
    CHECK(floor.confirmed_at() == now);
  }
  CHECK(floor.minimum() == 30ms);
}

namespace {

/// A round trip of eight samples, each as `rtt` says of its index.
template <class Rtt>
void watch_round(QueueWatch& watch, TimePoint& now, Rtt&& rtt) {
  for (int i = 0; i < 8; ++i) watch.on_sample(now += 5ms, rtt(i));
  watch.on_round();
}

}  // namespace

TEST_CASE("queue watch: a queue shows when half a round trip of samples is an eighth above the minimum") {
  QueueWatch watch;
  TimePoint now = at(1s);
  watch_round(watch, now, [](int) { return Duration{40ms}; });
  CHECK_FALSE(watch.is_queueing(40ms, 40ms));
  for (int i = 0; i < 4; ++i) watch.on_sample(now += 5ms, 46ms);
  CHECK_FALSE(watch.is_queueing(40ms, 40ms));  // the fifth of half a round trip is from before
  watch.on_sample(now += 5ms, 46ms);
  CHECK(watch.is_queueing(40ms, 40ms));
  watch.on_sample(now += 5ms, 41ms);  // one low sample is enough to know better
  CHECK_FALSE(watch.is_queueing(40ms, 40ms));
}

TEST_CASE("queue watch: the beginning of a queue shows in two samples") {
  QueueWatch watch;
  TimePoint now = at(1s);
  watch_round(watch, now, [](int) { return Duration{40ms}; });
  watch.on_sample(now += 5ms, 43ms);
  CHECK_FALSE(watch.is_beginning(40ms));
  watch.on_sample(now += 5ms, 44ms);
  CHECK(watch.is_beginning(40ms));
  CHECK_FALSE(watch.is_queueing(40ms, 40ms));
}

TEST_CASE("queue watch: jitter is no queue") {
  QueueWatch watch;
  Rng luck{13};
  TimePoint now = at(1s);
  const auto jittery = [&](int) { return 30ms + ms(luck.below(20)); };
  for (int round = 0; round < 10; ++round) watch_round(watch, now, jittery);
  CHECK(watch.noise() >= 8ms);
  int taken_for_queue = 0;
  for (int round = 0; round < 100; ++round) {
    watch_round(watch, now, jittery);
    taken_for_queue += watch.is_queueing(40ms, 30ms) ? 1 : 0;
  }
  CHECK(taken_for_queue <= 5);
}

TEST_CASE("queue watch: jitter is no queue in the first round trips either, whose noise is not known") {
  Rng luck{17};
  int taken_for_queue = 0;
  for (int path = 0; path < 100; ++path) {
    QueueWatch watch;
    TimePoint now = at(1s);
    Duration least = 1s;
    for (int i = 0; i < 24; ++i) {
      const Duration rtt = 15ms + ms(luck.below(6)) + ms(luck.below(6));
      least = std::min(least, rtt);
      watch.on_sample(now += 2ms, rtt);
      if (i >= 12 && watch.is_queueing(20ms, least)) ++taken_for_queue;
    }
  }
  CHECK(taken_for_queue <= 24);  // of 1200
}

TEST_CASE("queue watch: a queue shows beneath jitter, once it is longer than that") {
  QueueWatch watch;
  Rng luck{19};
  TimePoint now = at(1s);
  for (int round = 0; round < 4; ++round) watch_round(watch, now, [&](int) { return 35ms + ms(luck.below(11)); });
  CHECK_FALSE(watch.is_queueing(40ms, 35ms));
  CHECK(watch.unrest() >= 5ms);
  CHECK(watch.unrest() <= 15ms);
  watch_round(watch, now, [&](int) { return 53ms + ms(luck.below(11)); });
  CHECK(watch.is_queueing(40ms, 35ms));
}

TEST_CASE("queue watch: a queue that comes and goes is no jitter") {
  QueueWatch watch;
  TimePoint now = at(1s);
  for (int i = 0; i < 16; ++i) watch.on_sample(now += 5ms, 40ms + ms(static_cast<std::uint64_t>(3 * i)));
  CHECK(watch.unrest() == Duration{});
  for (int i = 16; i > 0; --i) watch.on_sample(now += 5ms, 40ms + ms(static_cast<std::uint64_t>(3 * i)));
  CHECK(watch.unrest() <= 8ms);  // it turned once
}

TEST_CASE("share watch: a quarter gone within 64 round trips behind others' queue is pressure, for 48 of them") {
  ShareWatch watch;
  std::uint64_t round = 100;
  for (std::uint64_t rate = 1'000; rate >= 750; rate -= 10, ++round) {
    watch.on_round(round, {.bandwidth = rate, .in_flight = 300, .contended = true});
    CHECK_FALSE(watch.is_pressed(round));
  }
  watch.on_round(round, {.bandwidth = 740, .in_flight = 300, .contended = true});
  CHECK(watch.is_pressed(round));
  CHECK(watch.is_pressed(round + 47));
  CHECK_FALSE(watch.is_pressed(round + 48));
}

TEST_CASE("share watch: 64 round trips are the most, of small windows a third of their packets") {
  const auto pressed = [](std::uint64_t rounds, std::uint64_t packets) {
    ShareWatch watch;
    for (std::uint64_t round = 0; round < rounds; ++round)
      watch.on_round(round, {.bandwidth = 1'000'000 - round * 1'000, .in_flight = packets, .contended = true});
    watch.on_round(rounds, {.bandwidth = 740'000, .in_flight = packets, .contended = true});
    return watch.is_pressed(rounds);
  };
  CHECK(pressed(64, 300));
  CHECK(pressed(65, 300));
  CHECK_FALSE(pressed(66, 300));  // of the 935 of round 65 three quarters are left
  CHECK(pressed(10, 30));
  CHECK(pressed(11, 30));
  CHECK_FALSE(pressed(23, 30));  // as of the 978 of round 22
}

TEST_CASE("share watch: who loses as much again, from what was left to him, is pressed again") {
  ShareWatch watch;
  watch.on_round(1, {.bandwidth = 1'000, .in_flight = 300, .contended = true});
  for (std::uint64_t round = 2; round < 50; ++round)
    watch.on_round(round, {.bandwidth = 700, .in_flight = 300, .contended = true});
  CHECK_FALSE(watch.is_pressed(50));
  watch.on_round(51, {.bandwidth = 520, .in_flight = 300, .contended = true});
  CHECK(watch.is_pressed(51));
}

TEST_CASE("share watch: what sinks slowly, without others' queue, or by our own doing shows nothing") {
  ShareWatch cubic;
  std::uint64_t rate = 100'000;
  for (std::uint64_t round = 0; round < 600; ++round, rate -= rate / 256) {  // a fifth in 64 round trips
    cubic.on_round(round, {.bandwidth = rate, .in_flight = 300, .contended = true});
    CHECK_FALSE(cubic.is_pressed(round));
  }
  CHECK(rate < 10'000);
  ShareWatch alone;
  alone.on_round(1, {.bandwidth = 1'000, .in_flight = 300, .contended = false});
  alone.on_round(2, {.bandwidth = 100, .in_flight = 300, .contended = false});
  CHECK_FALSE(alone.is_pressed(2));
  ShareWatch halved;
  halved.on_round(1, {.bandwidth = 1'000, .in_flight = 300, .contended = true});
  halved.begin_anew();
  halved.on_round(2, {.bandwidth = 500, .in_flight = 300, .contended = true});
  CHECK_FALSE(halved.is_pressed(2));
}

TEST_CASE("bandwidth filter: the best of this cycle and the last") {
  BandwidthFilter filter;
  filter.on_sample(100);
  filter.advance();
  filter.on_sample(50);
  CHECK(filter.maximum() == 100);
  filter.advance();
  CHECK(filter.maximum() == 50);
  filter.advance();  // nothing was measured: nothing is forgotten
  CHECK(filter.maximum() == 50);
  filter.scale(1, 2);
  CHECK(filter.maximum() == 25);
}

TEST_CASE("ack aggregation: lumps show as what comes beyond the bandwidth, and are forgotten") {
  AckAggregation aggregation;
  TimePoint now = at(1s);
  // 1 MB/s, all of each 20 ms at once.
  for (int lump = 0; lump < 50; ++lump) aggregation.on_acked(now += 20ms, 20'000, 1'000'000, 1'000'000);
  CHECK(aggregation.extra() >= 18'000);
  CHECK(aggregation.extra() <= 42'000);
  for (int round = 0; round < 20; ++round) {
    for (int ack = 0; ack < 40; ++ack) aggregation.on_acked(now += 1ms, 900, 1'000'000, 1'000'000);
    aggregation.on_round(5);
  }
  CHECK(aggregation.extra() <= 2'000);
  aggregation.on_acked(now, 1'000'000'000, 1'000'000, 50'000);
  CHECK(aggregation.extra() == 50'000);  // never more than the window
}

}  // namespace penstock::engine::test
