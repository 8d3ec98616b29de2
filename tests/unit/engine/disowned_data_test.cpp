#include "dataplane/engine/lane/disowned_data.h"

#include <doctest/doctest.h>

#include <vector>

#include "dataplane/engine/lane/recovery.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {

TEST_CASE("disowned data: says of every byte of every packet what one by one says") {
  constexpr std::uint64_t space = 60;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    DisownedData disowned;
    std::vector<std::uint64_t> below(space, 0);  // by byte
    std::uint64_t next = 0;
    for (int change = 0; change < 30; ++change) {
      next += rng.below(3);
      const std::uint64_t begin = rng.below(space);
      const std::uint64_t end = begin + rng.below(space - begin + 1);
      disowned.disown({{begin}, {end}}, next);
      for (std::uint64_t at = begin; at < end; ++at) below[at] = next;
      for (std::uint64_t number = 0; number <= next; ++number) {
        const std::uint64_t offset = rng.below(space);
        const std::uint64_t length = rng.below(space - offset + 1);
        std::vector<bool> owned(space, false);
        disowned.for_each_owned(number, offset, length, [&](std::uint64_t at, std::uint64_t size) {
          for (std::uint64_t i = at; i < at + size; ++i) owned[i] = true;
        });
        bool touched = false;
        for (std::uint64_t at = 0; at < space; ++at) {
          const bool within = at >= offset && at < offset + length;
          REQUIRE(owned[at] == (within && number >= below[at]));
          touched = touched || (within && number < below[at]);
        }
        REQUIRE(disowned.touches(number, offset, length) == touched);
      }
    }
  }
}

TEST_CASE("disowned data: a range costs two entries at most, and neighbours share one") {
  DisownedData disowned;
  for (std::uint64_t i = 0; i < 1000; ++i) disowned.disown({{i * 10}, {i * 10 + 10}}, 7);
  CHECK(disowned.size() == 1);
  Rng rng(5);
  for (std::size_t ranges = 1; ranges <= 1000; ++ranges) {
    const std::uint64_t begin = rng.below(10'000);
    disowned.disown({{begin}, {begin + 1 + rng.below(5)}}, 7 + ranges);
    REQUIRE(disowned.size() <= 1 + 2 * ranges);
  }
  disowned.forget_below(1006);
  CHECK(!disowned.empty());
  disowned.forget_below(1007);
  CHECK(disowned.empty());
}

TEST_CASE(
    "recovery: a repair list of sixteen thousand ranges never walks the ledger, and longer ones once in a while") {
  Recovery recovery({.congestion = Congestion::fixed, .rate = DataRate::megabits_per_second(1000)}, Rng(1));
  std::uint64_t offset = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    (void)recovery.take_number();
    recovery.on_packet_sent(
        {.sent_at = TimePoint{1ms}, .offset = offset, .length = 1000, .size = 1035, .kind = SentKind::data});
    offset += 1000;
  }
  DeliveryNews news;
  std::uint64_t ranges = 0;
  const auto ask = [&] {
    const std::uint64_t at = ranges * 1700 % offset;
    recovery.disown_data({{at}, {at + 600}}, news);
    ++ranges;
  };
  while (ranges < 16'384) ask();
  CHECK(recovery.ledger_walks() == 0);
  while (ranges < 200'000) ask();
  CHECK(recovery.ledger_walks() >= 1);
  CHECK(recovery.ledger_walks() <= 1 + 2 * ranges / DisownedData::entries_max);
}

TEST_CASE(
    "recovery: what a receiver's socket drops shrinks the offload budget once a flight; a second brings it back") {
  Recovery recovery(
      {.initial_rtt = 200us, .congestion = Congestion::fixed, .rate = DataRate::megabits_per_second(10'000)}, Rng(1));
  DeliveryNews news;
  TimePoint now{1ms};
  std::uint32_t drops = 0;
  const auto exchange = [&] {  // one packet and its ACK, a round trip of 200 us
    const PacketNumber number = recovery.take_number();
    recovery.on_packet_sent({.sent_at = now, .length = 1000, .size = 1035, .kind = SentKind::data});
    now += 200us;
    const AckRange range{number, number};
    REQUIRE(recovery.on_ack(now, {.fields = {.socket_drops = drops}, .largest = number, .ranges = {&range, 1}}, news));
    return recovery.allowance() - recovery.cwnd();
  };
  const std::uint64_t full = exchange();
  CHECK(full == 512 * KiB);
  drops = 10;
  CHECK(exchange() == full / 2);
  CHECK(recovery.receiver_drops_recent(now));
  drops = 20;
  CHECK(exchange() == full / 2);  // the same flight
  now += 600us;
  drops = 30;
  CHECK(exchange() == full / 4);
  now += 1s;
  CHECK(exchange() == full / 2);
  CHECK(!recovery.receiver_drops_recent(now));
  for (int i = 0; i < 30; ++i) {
    now += 1ms;
    ++drops;
    exchange();
  }
  CHECK(exchange() == 0);
  for (int i = 0; i < 10; ++i) {
    now += 1s;
    exchange();
  }
  CHECK(exchange() == full);
}

}  // namespace penstock::engine::test
