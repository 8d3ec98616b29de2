#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/ranges/range_scheduler.h"
#include "dataplane/engine/ranges/received_ranges.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

using bytes::IntervalSet;

RangeScheduler make_scheduler(std::uint64_t credit, ChunkOrder order = ChunkOrder::sequential) {
  return RangeScheduler(order, credit, Rng(1));
}

/// Sends all that may be sent; the chunks in their order.
std::vector<TransferRange> send_all(RangeScheduler& scheduler, std::uint64_t length_max) {
  std::vector<TransferRange> sent;
  while (const auto chunk = scheduler.next(length_max)) {
    REQUIRE(chunk->length > 0);
    REQUIRE(chunk->length <= length_max);
    CHECK(chunk->at.value / slab_size == (chunk->at.value + chunk->length - 1) / slab_size);
    sent.push_back({chunk->at, chunk->at + chunk->length});
    scheduler.on_sent(*chunk, chunk->length);
  }
  return sent;
}

std::uint64_t bytes_of(const std::vector<TransferRange>& ranges) {
  std::uint64_t sum = 0;
  for (const auto& range : ranges) sum += range.size();
  return sum;
}

}  // namespace

TEST_CASE("scheduler: new bytes leave once, in order, and never across a slab") {
  auto scheduler = make_scheduler(10 * MiB);
  scheduler.offer({3 * MiB + 7});
  const auto sent = send_all(scheduler, 1437);
  TransferOffset expected{0};
  for (const auto& range : sent) {
    CHECK(range.begin == expected);
    expected = range.end;
  }
  CHECK(expected == TransferOffset{3 * MiB + 7});
  CHECK(scheduler.blocked_by() == RangeScheduler::Blocked::nothing_to_send);
  CHECK(!scheduler.is_drained());
  scheduler.on_acked({{0}, expected});
  CHECK(scheduler.is_drained());
}

TEST_CASE("ranges: what is settled at either end is what arrived or is withheld, each byte once, however it was sent") {
  auto scheduler = make_scheduler(100'000);
  ReceivedRanges received{100'000};
  scheduler.offer({50'000});
  received.expect({50'000});
  CHECK(bytes_of(send_all(scheduler, 1400)) == 50'000);
  CHECK(scheduler.settled() == 0);  // handed over is not arrived
  for (const TransferRange range : {TransferRange{{0}, {10'000}}, TransferRange{{20'000}, {30'000}}}) {
    REQUIRE(received.accept(range));
    scheduler.on_acked(range);
  }
  const TransferRange overlapping{{25'000}, {40'000}};
  received.withhold(overlapping);
  scheduler.withhold(overlapping);
  CHECK(scheduler.settled() == 30'000);
  CHECK(received.settled() == 30'000);
  scheduler.resend({{0}, {5'000}});
  received.forget({{0}, {5'000}});
  CHECK(scheduler.settled() == 25'000);
  CHECK(received.settled() == 25'000);
}

TEST_CASE("scheduler: lost bytes go first, are cut anew, and take no credit") {
  auto scheduler = make_scheduler(100'000);
  scheduler.offer({1 * MiB});
  CHECK(bytes_of(send_all(scheduler, 1400)) == 100'000);
  CHECK(scheduler.blocked_by() == RangeScheduler::Blocked::receiver_credit);
  scheduler.on_lost({{1400}, {7000}});
  const auto again = send_all(scheduler, 1000);
  CHECK(bytes_of(again) == 5600);
  CHECK(again.front().begin == TransferOffset{1400});
  CHECK(again.size() == 6);
  scheduler.on_lost({{0}, {1400}});
  scheduler.on_credit({.credit = 200'000, .offset_limit = {1 * MiB}});
  CHECK(scheduler.next(1400)->repeat);
}

TEST_CASE("scheduler: a lost range of which a part was acknowledged sends the rest alone") {
  auto scheduler = make_scheduler(100'000);
  scheduler.offer({10'000});
  (void)send_all(scheduler, 1000);
  scheduler.on_acked({{2000}, {3000}});
  scheduler.on_lost({{1000}, {4000}});
  const auto again = send_all(scheduler, 5000);
  REQUIRE(again.size() == 2);
  CHECK(again[0] == TransferRange{{1000}, {2000}});
  CHECK(again[1] == TransferRange{{3000}, {4000}});
  scheduler.on_lost({{1000}, {2000}});
  scheduler.on_acked({{1000}, {2000}});  // the loss was spurious
  CHECK(!scheduler.next(1000));
}

TEST_CASE("scheduler: credit and offset limit both hold") {
  auto scheduler = make_scheduler(5000);
  scheduler.offer({1 * MiB});
  CHECK(bytes_of(send_all(scheduler, 1400)) == 5000);
  scheduler.on_credit({.credit = 100'000, .offset_limit = {6000}});
  CHECK(bytes_of(send_all(scheduler, 1400)) == 1000);
  scheduler.on_credit({.credit = 7000, .offset_limit = {1 * MiB}});  // an older word, but for the limit
  CHECK(bytes_of(send_all(scheduler, 1400)) == 94'000);
}

TEST_CASE("scheduler: withheld bytes are passed over and count as settled") {
  auto scheduler = make_scheduler(1 * MiB);
  scheduler.withhold({{0}, {5000}});
  scheduler.offer({20'000});
  scheduler.withhold({{8000}, {9000}});
  const auto sent = send_all(scheduler, 1400);
  CHECK(bytes_of(sent) == 14'000);
  CHECK(sent.front().begin == TransferOffset{5000});
  for (const auto& range : sent) CHECK((range.end <= TransferOffset{8000} || range.begin >= TransferOffset{9000}));
  CHECK(scheduler.oldest_unacknowledged() == TransferOffset{5000});
}

TEST_CASE("scheduler: repair sends again what was acknowledged") {
  auto scheduler = make_scheduler(1 * MiB);
  scheduler.offer({10'000});
  (void)send_all(scheduler, 1000);
  scheduler.on_acked({{0}, {10'000}});
  REQUIRE(scheduler.is_drained());
  scheduler.resend({{3000}, {5000}});
  CHECK(!scheduler.is_drained());
  CHECK(scheduler.oldest_unacknowledged() == TransferOffset{3000});
  CHECK(bytes_of(send_all(scheduler, 1000)) == 2000);
  scheduler.on_acked({{3000}, {5000}});
  CHECK(scheduler.is_drained());
}

TEST_CASE("scheduler: a repair of bytes withheld before they were reached sends them, without credit") {
  auto scheduler = make_scheduler(1000);
  scheduler.offer({10'000});
  scheduler.withhold({{500}, {9500}});
  scheduler.resend({{2000}, {4000}});
  scheduler.on_credit({.credit = 1000, .offset_limit = {10'000}});
  const auto sent = send_all(scheduler, 700);
  CHECK(bytes_of(sent) == 3000);  // 500 + 2000 for nothing + 500
}

TEST_CASE("scheduler: what is not in memory waits, the rest goes on") {
  auto scheduler = make_scheduler(4 * MiB);
  scheduler.offer({2 * MiB});
  (void)send_all(scheduler, 1024);
  scheduler.on_lost({{0}, {4096}});
  scheduler.on_lost({{1 * MiB}, {1 * MiB + 1024}});
  const auto first = scheduler.next(1024);
  REQUIRE(first);
  CHECK(scheduler.set_aside(*first) == TransferRange{{0}, {4096}});
  const auto second = scheduler.next(1024);
  REQUIRE(second);
  CHECK(second->at == TransferOffset{1 * MiB});
  scheduler.on_sent(*second, 1024);
  CHECK(!scheduler.next(1024));
  CHECK(scheduler.blocked_by() == RangeScheduler::Blocked::source);
  scheduler.on_source_ready();
  CHECK(bytes_of(send_all(scheduler, 1024)) == 4096);
}

TEST_CASE("scheduler: shuffled order sends each byte once, not in order, within a window") {
  auto scheduler = make_scheduler(16 * MiB, ChunkOrder::shuffled);
  scheduler.offer({8 * MiB});
  scheduler.on_credit({.credit = 16 * MiB, .offset_limit = {8 * MiB}});
  IntervalSet seen;
  std::size_t out_of_order = 0;
  std::uint64_t last = 0;
  while (const auto chunk = scheduler.next(1437)) {
    CHECK(seen.insert({chunk->at.value, chunk->at.value + chunk->length}).count == chunk->length);
    CHECK(chunk->at.value < scheduler.frontier().value + (shuffle_window_chunks + 1) * 1437);
    if (chunk->at.value < last) ++out_of_order;
    last = chunk->at.value;
    scheduler.on_sent(*chunk, chunk->length);
  }
  CHECK(seen.size() == 8 * MiB);
  CHECK(out_of_order > 1000);
}

TEST_CASE("received ranges: credit is what came and the room, and never passes the manifest") {
  ReceivedRanges ranges(1000);
  CHECK(ranges.credit(5000) == CreditFrame{1000, {1000}});  // no manifest yet
  ranges.expect({100'000});
  CHECK(ranges.credit(5000) == CreditFrame{5000, {100'000}});
  ranges.on_credit_granted(ranges.credit(5000));
  CHECK(ranges.credit(10) == CreditFrame{5000, {100'000}});  // never shrinks
  REQUIRE(ranges.accept({{0}, {5000}}));
  CHECK(ranges.credit(3000).credit == 8000);
  CHECK(ranges.credit(1 * GiB).credit == 100'000);
}

TEST_CASE("received ranges: DATA beyond manifest or credit is not permitted, to the byte") {
  ReceivedRanges ranges(1000);
  CHECK(ranges.is_permitted({{0}, {1000}}));
  CHECK(!ranges.is_permitted({{0}, {1001}}));
  CHECK(!ranges.is_permitted({{999}, {1001}}));
  ranges.expect({5000});
  CHECK(ranges.is_permitted({{4000}, {5000}}));
  CHECK(!ranges.is_permitted({{3999}, {5000}}));  // 1001 bytes of a credit of 1000
  REQUIRE(ranges.accept({{4000}, {5000}}));
  CHECK(ranges.is_permitted({{4000}, {5000}}));  // repeats take none
  CHECK(!ranges.is_permitted({{0}, {1}}));
}

TEST_CASE("received ranges: repaired bytes take no credit again") {
  ReceivedRanges ranges(1000);
  ranges.expect({1000});
  REQUIRE(ranges.accept({{0}, {1000}}));
  CHECK(ranges.is_complete());
  ranges.forget({{200}, {400}});
  CHECK(!ranges.is_complete());
  CHECK(ranges.is_permitted({{200}, {400}}));
  REQUIRE(ranges.accept({{200}, {400}}));
  CHECK(ranges.first_time_received() == 1000);
  CHECK(ranges.is_complete());
}

TEST_CASE("received ranges: withheld bytes are not waited for, and give their credit back when they come") {
  ReceivedRanges ranges(1000);
  ranges.expect({5000});
  ranges.withhold({{0}, {4000}});
  CHECK(!ranges.is_wholly_new({{3999}, {4001}}));
  ranges.on_duplicate({{0}, {1000}});  // the sender did not know
  CHECK(ranges.first_time_received() == 1000);
  CHECK(ranges.credit(1000).credit == 2000);
  ranges.on_duplicate({{0}, {1000}});
  CHECK(ranges.first_time_received() == 1000);
  CHECK(!ranges.is_complete());
  ranges.on_credit_granted(ranges.credit(1000));
  REQUIRE(ranges.accept({{4000}, {5000}}));
  CHECK(ranges.is_complete());
}

TEST_CASE("received ranges: scattered bytes meet a bound") {
  ReceivedRanges ranges(1 * GiB);
  ranges.expect({1 * GiB});
  std::uint64_t at = 0;
  while (ranges.accept({{at}, {at + 1}})) at += 2;
  CHECK(at / 2 == received_holes_max);
}

}  // namespace penstock::engine::test
