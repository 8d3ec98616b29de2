#include "dataplane/engine/congestion/pacer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/random.h"

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

TimePoint at(Duration since_start) { return TimePoint{} + since_start; }

}  // namespace

TEST_CASE("pacer: over any time no more than the rate and one bucket leaves") {
  for (const std::uint64_t megabits :
       {std::uint64_t{1}, std::uint64_t{50}, std::uint64_t{900}, std::uint64_t{10'000}}) {
    CAPTURE(megabits);
    Pacer pacer(1500);
    const DataRate rate = DataRate::megabits_per_second(megabits);
    pacer.set_rate(at(0s), rate);
    Rng rng(megabits);
    TimePoint now = at(0s);
    std::uint64_t sent = 0;
    for (int i = 0; i < 20'000; ++i) {
      now += Duration{static_cast<std::int64_t>(rng.below(200'000))};
      while (pacer.available(now) >= 1500) {
        pacer.on_sent(now, 1500);
        sent += 1500;
      }
      REQUIRE(sent <= rate.bytes_in(now - at(0s)) + pacer.burst());
    }
    CHECK(sent >= rate.bytes_in(now - at(0s)) * 95 / 100 - pacer.burst());
  }
}

TEST_CASE("pacer: the bucket follows the rate") {
  Pacer pacer(1500);
  pacer.set_rate(at(0s), DataRate::megabits_per_second(1));
  CHECK(pacer.burst() == 3000);
  pacer.set_rate(at(0s), DataRate::megabits_per_second(800));
  CHECK(pacer.burst() == 25'000);  // 250 us
  pacer.set_rate(at(0s), DataRate::megabits_per_second(2000));
  CHECK(pacer.burst() == 62'500);
  pacer.set_rate(at(0s), DataRate::megabits_per_second(4000));
  CHECK(pacer.burst() == 500'000);  // 1 ms
  pacer.set_rate(at(0s), DataRate::megabits_per_second(100'000));
  CHECK(pacer.burst() == 1 * MiB);
}

TEST_CASE("pacer: waking up when it said is enough to send") {
  Pacer pacer(9028);
  pacer.set_rate(at(0s), DataRate::bits_per_second(423'017));
  TimePoint now = at(0s);
  for (int i = 0; i < 1000; ++i) {
    while (pacer.available(now) >= 9028) pacer.on_sent(now, 9028);
    const TimePoint ready = pacer.ready_at(now);
    REQUIRE(ready > now);
    now = ready;
    REQUIRE(pacer.available(now) >= 9028);
  }
}

TEST_CASE("pacer: a debt of many seconds is paid back") {
  Pacer pacer(9000);
  pacer.set_rate(at(0s), DataRate::bits_per_second(400'000));
  pacer.on_sent(at(0s), 500'000);  // ten seconds' worth that did not wait
  const TimePoint ready = pacer.ready_at(at(0s));
  CHECK(ready < at(11s));
  CHECK(pacer.available(ready) >= 9000);
}

namespace {

/// Sends all that the pacer lets out, as a lane does that always has more, and remembers when.
struct Backlogged {
  Backlogged(DataRate rate, std::uint64_t packet_bytes) : pacer(packet_bytes), packet(packet_bytes) {
    pacer.set_rate(at(0s), rate);
    pacer.on_backlog(at(0s));
  }
  /// One wake-up; bursts longer than a bucket show here.
  void wake(TimePoint now) {
    std::uint64_t burst = 0;
    while (pacer.available(now) >= packet && (burst > 0 || pacer.available(now) >= pacer.worthwhile())) {
      pacer.on_sent(now, packet);
      burst += packet;
    }
    burst_max = std::max(burst_max, burst);
    sent += burst;
    log.emplace_back(now, sent);
    pacer.on_backlog(now);
  }
  /// Most that left in any time of this length, both ends included.
  [[nodiscard]] std::uint64_t most_within(Duration window) const {
    std::uint64_t most = 0;
    std::size_t first = 0;
    for (std::size_t last = 0; last < log.size(); ++last) {
      while (log[first].first + window < log[last].first) ++first;
      most = std::max(most, log[last].second - (first == 0 ? 0 : log[first - 1].second));
    }
    return most;
  }
  Pacer pacer;
  std::uint64_t packet;
  std::uint64_t sent = 0;
  std::uint64_t burst_max = 0;
  std::vector<std::pair<TimePoint, std::uint64_t>> log;
};

}  // namespace

TEST_CASE("pacer: wake-ups that are late now and then, by up to 5 ms, cost no rate, and no burst is longer for it") {
  for (const std::uint64_t megabits :
       {std::uint64_t{20}, std::uint64_t{100}, std::uint64_t{500}, std::uint64_t{1500}, std::uint64_t{5'000}}) {
    CAPTURE(megabits);
    const DataRate rate = DataRate::megabits_per_second(megabits);
    Backlogged sender(rate, 1500);
    Rng rng(megabits);
    TimePoint now = at(0s);
    while (now < at(5s)) {
      sender.wake(now);
      // A tenth of all time goes to lateness. More than a fifth could not be made up for at 5/4 of the rate.
      const bool preempted = rng.chance(1, 200);
      now = sender.pacer.ready_at(now) + Duration{static_cast<std::int64_t>(rng.below(preempted ? 5'000'000 : 20'000))};
    }
    const std::uint64_t due = rate.bytes_in(now - at(0s));
    CHECK(sender.sent + sender.pacer.banked(now) + sender.pacer.burst() >= due * 999 / 1000);  // and rounding
    CHECK(sender.sent >= due * 99 / 100);
    CHECK(sender.sent <= due + sender.pacer.burst());
    CHECK(sender.burst_max <= sender.pacer.burst());
  }
}

TEST_CASE(
    "pacer: paying back keeps to 9/8 of the rate over any quarter second, and to 5/4 and a bucket over any time") {
  for (const std::uint64_t megabits :
       {std::uint64_t{4}, std::uint64_t{50}, std::uint64_t{900}, std::uint64_t{10'000}}) {
    CAPTURE(megabits);
    const DataRate rate = DataRate::megabits_per_second(megabits);
    Backlogged sender(rate, 1500);
    Rng rng(megabits);
    TimePoint now = at(0s);
    while (now < at(3s)) {
      sender.wake(now);
      const bool preempted = rng.chance(1, 300);
      now = sender.pacer.ready_at(now) + Duration{static_cast<std::int64_t>(rng.below(preempted ? 80'000'000 : 5'000))};
    }
    CHECK(sender.most_within(250ms) <= rate.bytes_in(250ms) * 9 / 8);
    for (const Duration window : {Duration{1ms}, Duration{5ms}, Duration{20ms}, Duration{100ms}}) {
      CAPTURE(window.count());
      CHECK(sender.most_within(window) <= rate.bytes_in(window) * 5 / 4 + sender.pacer.burst());
    }
  }
}

TEST_CASE("pacer: time in which nothing was to be sent is not banked") {
  const DataRate rate = DataRate::megabits_per_second(500);
  Pacer pacer(1500);
  pacer.set_rate(at(0s), rate);
  pacer.on_backlog(at(0s));
  pacer.on_sent(at(0s), pacer.burst());
  CHECK(pacer.banked(at(10ms)) == rate.bytes_in(10ms) - pacer.burst());
  CHECK(pacer.banked(at(10s)) == rate.bytes_in(25ms));  // its bound
  pacer.on_idle(at(10ms));
  CHECK(pacer.banked(at(10ms)) == 0);
  pacer.on_sent(at(1s), 1500);  // an acknowledgement of ours
  CHECK(pacer.banked(at(2s)) == 0);
  pacer.on_backlog(at(2s));
  CHECK(pacer.available(at(2s)) == pacer.burst());
  CHECK(pacer.banked(at(2s)) == 0);
  CHECK(pacer.banked(at(3ms + 2s)) == rate.bytes_in(3ms));
}

TEST_CASE("pacer: who is a little late is no later for going slower") {
  Pacer pacer(1500);
  pacer.set_rate(at(0s), DataRate::megabits_per_second(100));
  pacer.on_backlog(at(0s));
  pacer.on_sent(at(0s), 3'000);
  REQUIRE(pacer.banked(at(10ms)) > 0);
  pacer.set_rate(at(10ms), DataRate::megabits_per_second(25));
  CHECK(pacer.banked(at(10ms)) <= DataRate::megabits_per_second(25).bytes_in(10ms));
  CHECK_FALSE(pacer.far_behind(at(10ms)));
  CHECK_FALSE(pacer.loses_rate(at(10ms)));
}

TEST_CASE("pacer: waits for most of a bucket, in whole packets, and for less of one while it is behind") {
  const DataRate rate = DataRate::megabits_per_second(500);
  Pacer pacer(1500);
  pacer.set_rate(at(0s), rate);  // 15 625 bytes
  CHECK(pacer.worthwhile() == 9 * 1500);
  pacer.on_backlog(at(0s));
  pacer.on_sent(at(0s), 15'000);
  pacer.on_sent(at(5ms), 15'000);
  CHECK(pacer.worthwhile() == 7 * 1500);
  Pacer slow(1500);
  slow.set_rate(at(0s), DataRate::megabits_per_second(2));
  CHECK(slow.worthwhile() == 1500);
  Pacer fast(1500);
  fast.set_rate(at(0s), DataRate::megabits_per_second(20'000));
  CHECK(fast.worthwhile() == 43 * 1500);
}

TEST_CASE("pacer: a time-out judged by an earlier moment earns nothing twice") {
  const DataRate rate = DataRate::megabits_per_second(100);
  Pacer pacer(1500);
  pacer.set_rate(at(0s), rate);
  pacer.on_sent(at(10ms), pacer.burst());
  pacer.set_rate(at(5ms), DataRate::megabits_per_second(99));
  CHECK(pacer.available(at(10ms)) == 0);
}

}  // namespace penstock::engine::test
