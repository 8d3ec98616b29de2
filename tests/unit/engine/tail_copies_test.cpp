#include "dataplane/engine/lane/tail_copies.h"

#include <doctest/doctest.h>

#include <cstdint>

#include "dataplane/engine/lane/recovery.h"

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("tail copies: where nothing was ever lost there are none") {
  const TailCopies copies;
  CHECK(copies.wanted({.sent = 10'000, .lost = 0, .in_flight = 100, .repeats_in_flight = 1, .window = 200}) == 0);
  CHECK(copies.wanted({.sent = 100, .lost = 1, .in_flight = 100, .repeats_in_flight = 1, .window = 200}) == 0);
}

TEST_CASE("tail copies: as many as leave seven tails in eight whole, and no more") {
  const TailCopies copies;
  const auto wanted = [&](std::uint64_t percent, std::uint64_t repeats) {
    return copies.wanted({.sent = 1'000'000,
                          .lost = (1'000'000 - repeats) * percent / 100,
                          .in_flight = repeats,
                          .repeats_in_flight = repeats,
                          .window = 3'000});
  };
  CHECK(wanted(1, 10) == 0);  // 10 x 1 % is less than an eighth
  CHECK(wanted(1, 100) == 1);
  CHECK(wanted(5, 85) == 2);  // 85 x 0.05 x 0.05 is more than an eighth, once more 0.05 is not
  CHECK(wanted(20, 10) == 2);
  CHECK(wanted(20, 100) == 4);
  CHECK(wanted(100, 1) == tail_copies_max);
}

TEST_CASE("tail copies: what is still on its way for the first time counts as well, by its share of losses") {
  const TailCopies copies;
  const auto wanted = [&](std::uint64_t in_flight) {
    return copies.wanted(
        {.sent = 100'000 + in_flight, .lost = 20'000, .in_flight = in_flight, .repeats_in_flight = 1, .window = 2'000});
  };
  CHECK(wanted(1) == 1);
  CHECK(wanted(400) == 4);     // eighty of them will be repeated
  CHECK(wanted(10'000) == 0);  // three quarters of the bound are less than 1667
}

TEST_CASE("tail copies: of all that was ever sent one in 256, and a quarter of a window") {
  TailCopies copies;
  const TailCopies::Outlook outlook{
      .sent = 25'600, .lost = 5'000, .in_flight = 4, .repeats_in_flight = 4, .window = 800};
  std::uint64_t sent = 0;
  while (copies.wanted(outlook) > 0) {
    copies.on_copy_sent();
    ++sent;
  }
  CHECK(sent <= 100 + 200 + 16);
  CHECK(sent > 300);
}

/// A lane of which every packet is a kilobyte, and each ACK names one packet.
struct Tail {
  Recovery recovery{{.congestion = Congestion::fixed, .rate = DataRate::megabits_per_second(100)}, Rng(1)};
  DeliveryNews news;
  TimePoint now{1ms};

  PacketNumber send(std::uint64_t offset, std::uint8_t attempt) {
    const PacketNumber number = recovery.take_number();
    recovery.on_packet_sent(
        {.sent_at = now, .offset = offset, .length = 1000, .size = 1035, .kind = SentKind::data, .attempt = attempt});
    return number;
  }
  void acknowledge(PacketNumber number) {
    const AckRange range{number, number};
    REQUIRE(recovery.on_ack(now, {.fields = {}, .largest = number, .ranges = {&range, 1}}, news));
  }
  /// Packets of 20 % loss have gone before; then one repeat is outstanding.
  PacketNumber with_one_repeat() {
    for (std::uint64_t i = 0; i < 1'000; ++i) {
      const auto number = send(i * 1000, 0);
      now += 1ms;
      if (i % 5 != 0) acknowledge(number);
    }
    now += 10s;
    recovery.on_loss_deadline(now, news);
    news.clear();
    return send(0, 1);
  }
};

TEST_CASE("recovery: a repeat has copies, one after the other, and what was sent for the first time has none") {
  Tail tail;
  const PacketNumber repeat = tail.with_one_repeat();
  tail.send(2'000'000, 0);
  const auto first = tail.recovery.next_tail_copy();
  REQUIRE(first);
  CHECK(*first == repeat);
  const PacketNumber copy = tail.send(0, 2);
  tail.recovery.on_tail_copy();
  CHECK(tail.recovery.tail_copies() == 1);
  while (const auto next = tail.recovery.next_tail_copy()) {
    CHECK(*next >= copy);
    tail.recovery.skip_tail_copy();
  }
}

TEST_CASE("recovery: of a repeat and its copies one loss is reported, when the last of them is lost") {
  Tail tail;
  const PacketNumber repeat = tail.with_one_repeat();
  REQUIRE(tail.recovery.next_tail_copy() == repeat);
  tail.send(0, 2);
  tail.recovery.on_tail_copy();
  for (int later = 0; later < 2; ++later) tail.send(3'000'000, 0);
  tail.acknowledge(tail.send(4'000'000, 0));  // three numbers later than the copy, four than the repeat
  const auto mentions = [](const std::vector<TransferRange>& ranges) {
    std::uint64_t count = 0;
    for (const TransferRange& range : ranges) count += range.begin.value == 0 ? 1U : 0U;
    return count;
  };
  CHECK(mentions(tail.news.data_lost) == 1);
  CHECK(tail.news.data_lost.size() == 1);
}

TEST_CASE("recovery: a copy that arrives acknowledges its bytes, and the loss of the repeat says nothing") {
  Tail tail;
  const PacketNumber repeat = tail.with_one_repeat();
  REQUIRE(tail.recovery.next_tail_copy() == repeat);
  const PacketNumber copy = tail.send(0, 2);
  tail.recovery.on_tail_copy();
  tail.acknowledge(copy);
  REQUIRE(tail.news.data_acked.size() == 1);
  CHECK(tail.news.data_acked[0] == TransferRange{{0}, {1000}});
  for (int later = 0; later < 2; ++later) tail.send(3'000'000, 0);
  const std::uint64_t lost = tail.recovery.packets_lost();
  tail.acknowledge(tail.send(4'000'000, 0));
  CHECK(tail.recovery.packets_lost() == lost + 1);  // as a packet it counts: the path lost it
  CHECK(tail.news.data_lost.empty());
}

TEST_CASE("recovery: a repeat that arrives after its copy was sent acknowledges its bytes") {
  Tail tail;
  const PacketNumber repeat = tail.with_one_repeat();
  REQUIRE(tail.recovery.next_tail_copy() == repeat);
  tail.send(0, 2);
  tail.recovery.on_tail_copy();
  tail.acknowledge(repeat);
  REQUIRE(tail.news.data_acked.size() == 1);
  CHECK(tail.news.data_acked[0] == TransferRange{{0}, {1000}});
}

}  // namespace
}  // namespace penstock::engine::test
