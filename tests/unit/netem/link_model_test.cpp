#include "netem/link_model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/random.h"

namespace penstock::netem {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1s};

/// Offers `count` packets of `size` bytes, one every `gap`.
std::vector<Deliveries> offer_many(LinkModel& link, int count, std::uint64_t size, Duration gap) {
  std::vector<Deliveries> outcomes;
  for (int i = 0; i < count; ++i) outcomes.push_back(link.offer(start + i * gap, size));
  return outcomes;
}

/// True when `hits` of `trials` lies within `sigmas` standard deviations of probability `ppm`. In integers: the
/// deviation is squared on both sides.
bool is_binomial(std::uint64_t hits, std::uint64_t trials, std::uint64_t ppm, std::uint64_t sigmas = 4) {
  const std::uint64_t expected = trials * ppm / 1'000'000;
  const std::uint64_t deviation = hits > expected ? hits - expected : expected - hits;
  const std::uint64_t variance = expected * (1'000'000 - ppm) / 1'000'000;
  return deviation * deviation <= sigmas * sigmas * variance;
}

TEST_CASE("link: with everything off a packet arrives at once, once and whole") {
  LinkModel link{{}, 1};
  const Deliveries copies = link.offer(start, 1500);
  REQUIRE(copies.size() == 1);
  CHECK(copies[0] == Delivery{.at = start});
}

TEST_CASE("link: delay is exact to the nanosecond") {
  LinkModel link{{.delay = 25'000'001ns}, 1};
  for (const Deliveries& copies : offer_many(link, 100, 1500, 10us)) REQUIRE(copies.size() == 1);
  CHECK(link.offer(start + 1s, 64)[0].at == start + 1s + 25'000'001ns);
}

TEST_CASE("link: a backlog leaves at exactly the rate, without rounding drift") {
  // 7 bytes at 3 bit/s last 18.666... s: one hundred packets end after 5600 bits / 3 = 1866.666 s, whole ns below.
  LinkModel link{{.rate = DataRate::bits_per_second(3)}, 1};
  TimePoint last{};
  for (int i = 0; i < 100; ++i) last = link.offer(start, 7)[0].at;
  CHECK(last == start + 1'866'666'666'666ns);
}

TEST_CASE("link: an idle link serialises each packet afresh, delay comes on top") {
  LinkModel link{{.delay = 5ms, .rate = DataRate::megabits_per_second(12)}, 1};
  CHECK(link.offer(start, 1500)[0].at == start + 1ms + 5ms);
  CHECK(link.offer(start + 10ms, 1500)[0].at == start + 10ms + 1ms + 5ms);
}

TEST_CASE("link: overhead takes rate and queue like bytes of the packet") {
  LinkModel link{{.rate = DataRate::megabits_per_second(12), .overhead = 28}, 1};
  CHECK(link.offer(start, 1472)[0].at == start + 1ms);
  CHECK(link.queued_bytes(start) == 1500);
  CHECK(link.counters().offered_bytes == 1472);
}

TEST_CASE("link: a byte-bounded queue takes what fits, drops the tail and takes again when a packet has left") {
  LinkModel link{{.rate = DataRate::megabits_per_second(12), .queue = {.bytes = 4500}}, 1};
  for (int i = 0; i < 3; ++i) CHECK(link.offer(start, 1500).size() == 1);
  CHECK(link.offer(start, 1).empty());
  CHECK(link.counters().lost_queue == 1);
  CHECK(link.queued_packets(start) == 3);
  CHECK(link.offer(start + 1ms - 1ns, 1500).empty());
  const Deliveries next = link.offer(start + 1ms, 1500);
  REQUIRE(next.size() == 1);
  CHECK(next[0].at == start + 4ms);
  CHECK(link.counters().queue_bytes_max == 4500);
}

TEST_CASE("link: a queue that is too long marks who heeds it, and drops nobody for it") {
  LinkModel link{{.rate = DataRate::megabits_per_second(12), .queue = {.bytes = 6000}, .mark_above = 3000}, 1};
  CHECK(!link.offer(start, 1500, true)[0].congested);
  CHECK(!link.offer(start, 1500, true)[0].congested);
  CHECK(link.offer(start, 1500, true)[0].congested);
  CHECK(!link.offer(start, 1500, false)[0].congested);
  CHECK(link.offer(start, 1500, true).empty());  // its own bound holds for all
  CHECK(!link.offer(start + 3ms, 1500, true)[0].congested);
  CHECK(link.counters().marked == 1);
}

TEST_CASE("link: both copies of a marked packet are marked") {
  LinkModel link{{.rate = DataRate::megabits_per_second(12), .mark_above = 0, .duplicate = Probability::always()}, 1};
  const Deliveries copies = link.offer(start, 1500, true);
  REQUIRE(copies.size() == 2);
  CHECK(copies[0].congested);
  CHECK(copies[1].congested);
  CHECK(link.counters().marked == 1);
}

TEST_CASE("link: a packet-bounded queue counts packets whatever their size") {
  LinkModel link{{.rate = DataRate::megabits_per_second(1), .queue = {.packets = 2}}, 1};
  CHECK(link.offer(start, 1).size() == 1);
  CHECK(link.offer(start, 9000).size() == 1);
  CHECK(link.offer(start, 1).empty());
}

TEST_CASE("link: a packet bigger than the queue still passes when the link is idle") {
  LinkModel link{{.rate = DataRate::megabits_per_second(12), .queue = {.bytes = 1000}}, 1};
  CHECK(link.offer(start, 1500).size() == 1);
  CHECK(link.offer(start, 1500).empty());
  CHECK(link.offer(start + 1ms, 1500).size() == 1);
}

TEST_CASE("link: packets above the MTU are dropped, one of exactly the MTU passes") {
  LinkModel link{{.overhead = 28, .mtu = 1500}, 1};
  CHECK(link.offer(start, 1472).size() == 1);
  CHECK(link.offer(start, 1473).empty());
  CHECK(link.counters().lost_mtu == 1);
}

/// What packets of some size used up at their times.
struct Passed {
  TimePoint at;
  std::uint64_t bytes;
};

/// Whether another packet would stay within burst + rate x t, whenever t began. In bits x 10^9, so that nothing is
/// rounded.
bool conforms(const std::vector<Passed>& passed, const Policer& policer, const Passed& next) {
  __extension__ using Wide = unsigned __int128;
  constexpr Wide byte = Wide{8} * 1'000'000'000;
  const auto allowed = [&](TimePoint since) {
    return policer.burst * byte +
           Wide{policer.rate.bits_per_second()} * static_cast<std::uint64_t>((next.at - since).count());
  };
  Wide sum = next.bytes * byte;
  if (sum > policer.burst * byte) return false;
  for (auto one = passed.rbegin(); one != passed.rend(); ++one) {
    sum += one->bytes * byte;
    if (sum > allowed(one->at)) return false;
  }
  return true;
}

TEST_CASE("link: a policer lets pass burst + rate x t at most, over any time, and drops nothing that stays within it") {
  // The rates divide nothing evenly; gaps are between bursts at one moment and what refills the bucket.
  for (const std::uint64_t bits_per_second : {3'333'333U, 7U, 999'999'937U}) {
    CAPTURE(bits_per_second);
    const Policer policer{.rate = DataRate::bits_per_second(bits_per_second), .burst = 20'000};
    LinkModel link{{.policer = policer, .overhead = 28}, 1};
    Rng luck{bits_per_second};
    std::vector<Passed> passed;
    TimePoint now = start;
    std::uint64_t offered = 0;
    for (; offered < 2'000; ++offered) {
      const std::uint64_t size = luck.below(3'000);
      if (luck.below(4) == 0) now += policer.rate.time_for(luck.below(offered % 100 == 0 ? 50'000 : 6'000));
      const Passed packet{now, size + 28};
      const Deliveries copies = link.offer(now, size);
      REQUIRE(copies.empty() == !conforms(passed, policer, packet));
      if (copies.empty()) continue;
      CHECK(copies[0].at == now);  // and it delays nothing
      passed.push_back(packet);
    }
    CHECK(passed.size() > 300);
    CHECK(link.counters().lost_policer == offered - passed.size());
    CHECK(link.counters().lost_policer > 300);
  }
}

TEST_CASE("link: a policer keeps a burst at most, however long it was idle, and drops what is longer than that") {
  LinkModel link{{.policer = Policer{.rate = DataRate::megabits_per_second(12), .burst = 3'000}}, 1};
  for (const TimePoint now : {start, start + 1h}) {
    CHECK(link.offer(now, 3'001).empty());  // and takes nothing from others
    CHECK(link.offer(now, 1'500).size() == 1);
    CHECK(link.offer(now, 1'500).size() == 1);
    CHECK(link.offer(now, 1).empty());
    CHECK(link.offer(now + 1ms - 1ns, 1'500).empty());
    CHECK(link.offer(now + 1ms, 1'500).size() == 1);
  }
  CHECK(link.counters().lost_policer == 6);
}

TEST_CASE("link: what a policer drops loads no queue, and what is lost behind it has used its tokens") {
  const Policer policer{.rate = DataRate::megabits_per_second(12), .burst = 3'000};
  LinkModel queued{{.rate = DataRate::megabits_per_second(6), .policer = policer}, 1};
  for (int i = 0; i < 5; ++i) (void)queued.offer(start, 1'500);
  CHECK(queued.queued_bytes(start) == 3'000);
  CHECK(queued.counters().lost_policer == 3);
  CHECK(queued.counters().lost_queue == 0);

  LinkSettings settings{.policer = policer, .loss = Probability::always()};
  LinkModel after{settings, 1};
  settings.loss_placement = LossPlacement::before_bottleneck;
  LinkModel before{settings, 1};
  for (int i = 0; i < 5; ++i) {
    CHECK(after.offer(start, 1'500).empty());
    CHECK(before.offer(start, 1'500).empty());
  }
  CHECK(after.counters().lost_random == 2);
  CHECK(after.counters().lost_policer == 3);
  CHECK(before.counters().lost_random == 5);
}

TEST_CASE("link: a policer that is told anew begins with all of its burst, another change leaves its tokens alone") {
  LinkSettings settings{.policer = Policer{.rate = DataRate::megabits_per_second(12), .burst = 1'500}};
  LinkModel link{settings, 1};
  CHECK(link.offer(start, 1'500).size() == 1);
  settings.delay = 5ms;
  link.change(settings);
  CHECK(link.offer(start, 1'500).empty());
  settings.policer->burst = 3'000;
  link.change(settings);
  CHECK(link.offer(start, 3'000).size() == 1);
  settings.policer.reset();
  link.change(settings);
  CHECK(link.offer(start, 9'000).size() == 1);
}

TEST_CASE("link: random loss stays within four standard deviations") {
  for (const std::uint32_t ppm : {1'000U, 10'000U, 200'000U}) {
    LinkModel link{{.loss = Probability::parts_per_million(ppm)}, ppm};
    offer_many(link, 100'000, 1500, 1us);
    CAPTURE(ppm);
    CAPTURE(link.counters().lost_random);
    CHECK(is_binomial(link.counters().lost_random, 100'000, ppm));
  }
}

TEST_CASE("link: loss after the bottleneck uses the rate, loss before it does not") {
  LinkSettings settings{.rate = DataRate::megabits_per_second(12), .loss = Probability::percent(50)};
  LinkModel after{settings, 3};
  settings.loss_placement = LossPlacement::before_bottleneck;
  LinkModel before{settings, 3};
  TimePoint after_end{};
  TimePoint before_end{};
  for (int i = 0; i < 1000; ++i) {
    const Deliveries a = after.offer(start, 1500);
    const Deliveries b = before.offer(start, 1500);
    REQUIRE(a.size() == b.size());  // one pattern, two places
    if (!a.empty()) after_end = a[0].at;
    if (!b.empty()) before_end = b[0].at;
  }
  const auto survived = static_cast<int>(before.counters().delivered_packets);
  CHECK(before_end == start + survived * 1ms);
  CHECK(after_end > start + 990ms);
  CHECK(after.counters().lost_random == before.counters().lost_random);
}

TEST_CASE("link: bursts have the stated mean length and share") {
  // Bad periods of 1 / 0.1 = 10 packets; share of bad packets 0.01 / (0.01 + 0.1) = 1 / 11.
  LinkModel link{{.burst = BurstLoss{.to_bad = Probability::percent(1), .to_good = Probability::percent(10)}}, 5};
  std::uint64_t bursts = 0;
  bool lost_before = false;
  constexpr std::uint64_t packets = 1'000'000;
  for (std::uint64_t i = 0; i < packets; ++i) {
    const bool lost = link.offer(start, 100).empty();
    if (lost && !lost_before) ++bursts;
    lost_before = lost;
  }
  const std::uint64_t lost = link.counters().lost_burst;
  CAPTURE(lost);
  CAPTURE(bursts);
  CHECK(lost * 100 / bursts >= 970);  // mean length 9.7 .. 10.3
  CHECK(lost * 100 / bursts <= 1030);
  CHECK(lost * 11 >= packets * 97 / 100);
  CHECK(lost * 11 <= packets * 103 / 100);
}

TEST_CASE("link: the bad state can let packets through and the good state can lose some") {
  LinkModel link{{.burst = BurstLoss{.to_bad = Probability::percent(50),
                                     .to_good = Probability::percent(50),
                                     .loss_in_bad = Probability::percent(40),
                                     .loss_in_good = Probability::percent(20)}},
                 6};
  offer_many(link, 100'000, 100, 1us);
  CHECK(is_binomial(link.counters().lost_burst, 100'000, 300'000));
}

TEST_CASE("link: a duplicate is a second copy of a packet that arrived, at the stated share") {
  LinkModel link{{.delay = 1ms, .loss = Probability::percent(10), .duplicate = Probability::percent(5)}, 7};
  std::uint64_t copies = 0;
  for (const Deliveries& outcome : offer_many(link, 100'000, 1500, 1us)) {
    if (outcome.size() < 2) continue;
    ++copies;
    CHECK(!outcome[0].duplicate);
    CHECK(outcome[1].duplicate);
  }
  CHECK(copies == link.counters().duplicated);
  CHECK(is_binomial(copies, 100'000 - link.counters().lost_random, 50'000));
}

TEST_CASE("link: corruption names one bit inside the packet, at the stated share and anywhere in it") {
  LinkModel link{{.corrupt = Probability::percent(10)}, 8};
  std::vector<std::uint64_t> bits;
  for (const Deliveries& outcome : offer_many(link, 100'000, 40, 1us)) {
    if (outcome[0].flipped_bit) bits.push_back(*outcome[0].flipped_bit);
  }
  CHECK(bits.size() == link.counters().corrupted);
  CHECK(is_binomial(bits.size(), 100'000, 100'000));
  CHECK(*std::max_element(bits.begin(), bits.end()) == 40 * 8 - 1);
  CHECK(*std::min_element(bits.begin(), bits.end()) == 0);
}

TEST_CASE("link: an empty packet has no bit to flip") {
  LinkModel link{{.corrupt = Probability::always()}, 8};
  CHECK(!link.offer(start, 0)[0].flipped_bit);
}

TEST_CASE("link: reordered packets are late by the stated time, at the stated share, the others keep their order") {
  LinkModel link{{.delay = 10ms, .reorder = Probability::percent(2), .reorder_delay = 500us}, 9};
  TimePoint last{};
  std::uint64_t late = 0;
  for (int i = 0; i < 100'000; ++i) {
    const TimePoint sent = start + i * 100us;
    const TimePoint at = link.offer(sent, 1500)[0].at;
    if (at == sent + 10ms + 500us) {
      ++late;
    } else {
      CHECK(at == sent + 10ms);
      CHECK(at >= last);
      last = at;
    }
  }
  CHECK(late == link.counters().reordered);
  CHECK(is_binomial(late, 100'000, 20'000));
}

TEST_CASE("link: jitter spreads the delay over its whole range without overtaking") {
  LinkModel link{{.delay = 50ms, .jitter = 5ms}, 10};
  Duration shortest = 1h;
  Duration longest{0};
  TimePoint last{};
  for (int i = 0; i < 10'000; ++i) {
    const TimePoint sent = start + i * 20ms;  // further apart than the spread: nothing is held back
    const TimePoint at = link.offer(sent, 1500)[0].at;
    shortest = std::min(shortest, at - sent);
    longest = std::max(longest, at - sent);
    CHECK(at >= last);
    last = at;
  }
  CHECK(shortest >= 45ms);
  CHECK(shortest < 45ms + 10us);
  CHECK(longest <= 55ms);
  CHECK(longest > 55ms - 10us);
}

TEST_CASE("link: close packets keep their order under jitter, unless it is free") {
  LinkModel kept{{.delay = 50ms, .jitter = 5ms}, 11};
  LinkModel free{{.delay = 50ms, .jitter = 5ms, .jitter_order = JitterOrder::free}, 11};
  const auto overtakes = [](const std::vector<Deliveries>& outcomes) {
    int count = 0;
    for (std::size_t i = 1; i < outcomes.size(); ++i) count += outcomes[i][0].at < outcomes[i - 1][0].at ? 1 : 0;
    return count;
  };
  CHECK(overtakes(offer_many(kept, 1000, 1500, 10us)) == 0);
  CHECK(overtakes(offer_many(free, 1000, 1500, 10us)) > 300);
}

TEST_CASE("link: jitter above the delay never delivers into the past") {
  LinkModel link{{.delay = 1ms, .jitter = 10ms, .jitter_order = JitterOrder::free}, 12};
  for (int i = 0; i < 1000; ++i) CHECK(link.offer(start, 1)[0].at >= start);
}

TEST_CASE("link: an outage loses what is offered, keeps what is in flight, and ends") {
  LinkSettings settings{.delay = 20ms};
  LinkModel link{settings, 13};
  CHECK(link.offer(start, 1)[0].at == start + 20ms);
  settings.down = true;
  link.change(settings);
  CHECK(link.offer(start + 1ms, 1).empty());
  settings.down = false;
  link.change(settings);
  CHECK(link.offer(start + 2ms, 1)[0].at == start + 22ms);
  CHECK(link.counters().lost_down == 1);
}

TEST_CASE("link: a step in rate holds from the next packet on, behind what is queued") {
  LinkSettings settings{.rate = DataRate::megabits_per_second(12)};
  LinkModel link{settings, 14};
  CHECK(link.offer(start, 1500)[0].at == start + 1ms);
  settings.rate = DataRate::megabits_per_second(120);
  link.change(settings);
  CHECK(link.offer(start, 1500)[0].at == start + 1100us);
}

TEST_CASE("link: a route change to a lower delay lets new packets overtake") {
  LinkSettings settings{.delay = 100ms};
  LinkModel link{settings, 15};
  CHECK(link.offer(start, 1)[0].at == start + 100ms);
  settings.delay = 10ms;
  link.change(settings);
  CHECK(link.offer(start + 1ms, 1)[0].at == start + 11ms);
}

TEST_CASE("link: counters account for every packet, one seed gives one result, another seed another") {
  const LinkSettings settings{
      .delay = 10ms,
      .jitter = 3ms,
      .rate = DataRate::megabits_per_second(100),
      .queue = {.bytes = 30'000},
      .policer = Policer{.rate = DataRate::megabits_per_second(110), .burst = 20'000},
      .loss = Probability::percent(3),
      .burst = BurstLoss{.to_bad = Probability::percent(1), .to_good = Probability::percent(20)},
      .reorder = Probability::percent(1),
      .duplicate = Probability::percent(1),
      .corrupt = Probability::percent(1)};
  LinkModel link{settings, 16};
  LinkModel same{settings, 16};
  LinkModel other{settings, 17};
  bool differs = false;
  for (int i = 0; i < 20'000; ++i) {
    const TimePoint now = start + i * 90us;
    const Deliveries a = link.offer(now, 1200 + static_cast<std::uint64_t>(i % 300));
    const Deliveries b = same.offer(now, 1200 + static_cast<std::uint64_t>(i % 300));
    const Deliveries c = other.offer(now, 1200 + static_cast<std::uint64_t>(i % 300));
    REQUIRE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    differs = differs || !std::equal(a.begin(), a.end(), c.begin(), c.end());
  }
  CHECK(differs);
  const LinkCounters& n = link.counters();
  CHECK(n == same.counters());
  CHECK(n.lost_random > 0);
  CHECK(n.lost_burst > 0);
  CHECK(n.lost_queue > 0);
  CHECK(n.lost_policer > 0);
  CHECK(n.offered_packets ==
        n.lost_random + n.lost_burst + n.lost_queue + n.lost_policer + n.delivered_packets - n.duplicated);
}

TEST_CASE("link: turning on one kind of luck changes nothing about another") {
  LinkModel plain{{.loss = Probability::percent(10)}, 18};
  LinkModel busy{{.jitter = 1ms,
                  .loss = Probability::percent(10),
                  .reorder = Probability::percent(10),
                  .duplicate = Probability::percent(10),
                  .corrupt = Probability::percent(10)},
                 18};
  for (int i = 0; i < 1000; ++i) CHECK(plain.offer(start, 100).empty() == busy.offer(start, 100).empty());
}

}  // namespace
}  // namespace penstock::netem
