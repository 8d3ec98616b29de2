#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/random.h"
#include "dataplane/engine/ranges/extent_map.h"
#include "dataplane/engine/ranges/extent_table.h"
#include "dataplane/engine/ranges/range_scheduler.h"
#include "dataplane/engine/ranges/received_ranges.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

using bytes::Interval;
using bytes::IntervalSet;

constexpr std::uint64_t extent2 = extent_bytes(2);

}  // namespace

TEST_CASE("extents: one lane has all of space, and there is nobody to give to") {
  ExtentMap map(1);
  CHECK(map.owner_of(12345) == 0);
  CHECK(map.first_run(0, {5, 50 * GiB}) == Interval{5, 50 * GiB});
  CHECK(!map.apply({.from = 0, .to = 0, .extent = 1}));
  CHECK(!map.apply({.from = 0, .to = 1, .extent = 1}));
}

TEST_CASE("extents: lanes take turns, and the runs of all of them are all of space") {
  for (const std::size_t lanes : {2U, 3U, 8U, 64U}) {
    CAPTURE(lanes);
    const ExtentMap map(lanes);
    const Interval all{12'345, 3 * lanes * extent_bytes(lanes) + 777};
    IntervalSet covered;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (Interval rest = all; rest.begin < rest.end;) {
        const auto run = map.first_run(lane, rest);
        if (!run) break;
        CHECK(map.owner_of(map.extent_of(run->begin)) == lane);
        CHECK(covered.insert(*run).count == run->size());
        rest.begin = run->end;
      }
    }
    CHECK(covered.contains(all));
    CHECK(covered.size() == all.size());
  }
}

TEST_CASE("extents: a move is refused where the extent is another's, there is no such lane, or too many were moved") {
  ExtentMap map(2);
  CHECK(!map.apply({.from = 0, .to = 1, .extent = 1}));
  CHECK(!map.apply({.from = 0, .to = 2, .extent = 0}));
  CHECK(!map.apply({.from = 2, .to = 0, .extent = 0}));
  CHECK(!map.apply({.from = 0, .to = 1, .extent = transfer_space_max}));
  for (std::uint64_t i = 0; i < extents_moved_max; ++i) REQUIRE(map.apply({.from = 0, .to = 1, .extent = 2 * i}));
  CHECK(!map.has_room());
  CHECK(!map.apply({.from = 0, .to = 1, .extent = 2 * extents_moved_max}));
  CHECK(map.apply({.from = 1, .to = 0, .extent = 0}));  // what was moved may move on
  CHECK(map.apply({.from = 1, .to = 0}));
  CHECK(map.owner_of(2) == 0);
  CHECK(map.owner_of(3) == 0);
  CHECK(!map.first_run(1, {0, transfer_space_max}));
}

TEST_CASE("extents: a lane sends and expects its own alone, and yields only what it has not begun") {
  RangeScheduler scheduler(ChunkOrder::sequential, 64 * MiB, Rng(1), {.lane = 1, .lanes = 2});
  scheduler.offer({4 * extent2 + 100});
  scheduler.on_credit({.credit = 64 * MiB, .offset_limit = {64 * MiB}});
  const auto first = scheduler.next(1000);
  REQUIRE(first);
  CHECK(first->at.value == extent2);
  scheduler.on_sent(*first, first->length);
  const auto yielded = scheduler.yield(0, {4 * extent2 + 100});
  REQUIRE(yielded);
  CHECK(yielded->extent == 3);
  CHECK(!scheduler.yield(0, {4 * extent2 + 100}));  // the other one has begun
  std::uint64_t sent = first->length;
  while (const auto chunk = scheduler.next(100'000)) {
    CHECK(chunk->at.value / extent2 == 1);
    sent += chunk->length;
    scheduler.on_sent(*chunk, chunk->length);
  }
  CHECK(sent == extent2);
  CHECK(!scheduler.is_drained());
  scheduler.on_acked({{extent2}, {2 * extent2}});
  CHECK(scheduler.is_drained());
  CHECK(scheduler.settled() == extent2);
}

TEST_CASE("extents: what a lane adopts or yields ends its wait for the source") {
  RangeScheduler scheduler(ChunkOrder::sequential, 64 * MiB, Rng(1), {.lane = 0, .lanes = 2});
  scheduler.offer({8 * extent2});
  for (auto chunk = scheduler.next(slab_size); chunk->at.value < 2 * extent2; chunk = scheduler.next(slab_size))
    scheduler.on_sent(*chunk, chunk->length);
  (void)scheduler.set_aside(*scheduler.next(1000));
  CHECK(!scheduler.next(1000));
  // Behind what it waits for, and read before that: nobody would come with the one while the other is not asked for.
  scheduler.adopt({.from = 1, .to = 0}, {.settled_below = extent2, .settled = {}});
  const auto late = scheduler.next(1000);
  REQUIRE(late);
  CHECK(late->at.value == extent2);
  (void)scheduler.set_aside(*late);
  CHECK(!scheduler.next(1000));
  REQUIRE(scheduler.yield(1, {8 * extent2}));
  CHECK(scheduler.next(1000));
}

namespace {

/// Lanes at both ends, their homes, and messages between them that take their time: everything of a transfer but bytes.
struct LeaseLab {
  LeaseLab(std::size_t count, std::uint64_t seed) : lanes(count), luck(seed), table(count), desk(count) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      senders.emplace_back(ChunkOrder::sequential, credit_first, Rng(seed + lane), LanePlace{lane, lanes});
      receivers.emplace_back(credit_first, LanePlace{lane, lanes});
    }
    in_flight.resize(lanes);
    to_sender.resize(lanes);
    to_receiver.resize(lanes);
    gone.resize(lanes);
  }
  static constexpr std::uint64_t credit_first = 1 * MiB;
  struct Packet {
    TransferRange range;
  };

  void offer(std::uint64_t end) {
    offered = end;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      to_sender[lane].push_back([this, lane, end] { senders[lane].offer({end}); });
      to_receiver[lane].push_back([this, lane, end] { receivers[lane].expect({end}); });
    }
  }
  void withhold(TransferRange range) {
    withheld.insert({range.begin.value, range.end.value});
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      to_sender[lane].push_back([this, lane, range] { senders[lane].withhold(range); });
      to_receiver[lane].push_back([this, lane, range] { receivers[lane].withhold(range); });
    }
  }
  void repair(TransferRange range) {
    accepted.erase({range.begin.value, range.end.value});
    withheld.erase({range.begin.value, range.end.value});
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      // What is on its way says nothing any more (Recovery::disown_data).
      std::erase_if(in_flight[lane], [&](const Packet& packet) {
        const bool touches = packet.range.begin < range.end && range.begin < packet.range.end;
        if (touches) senders[lane].on_lost(packet.range);
        return touches;
      });
      senders[lane].resend(range);
      receivers[lane].forget(range);
    }
  }

  void say(const NumberedMove& move) {
    to_sink.push_back([this, move] { REQUIRE(desk.on_move(move)); });
  }
  void kill(std::size_t lane) {
    if (table.is_over(lane)) return;
    table.on_lane_ending(lane);
    // Asked for what it has, it answers when it has heard all that was said before.
    to_sender[lane].push_back([this, lane] {
      in_flight[lane].clear();
      gone[lane] = true;
      to_source.push_back([this, lane, state = senders[lane].surrender()] { say(table.on_lane_over(lane, state)); });
    });
  }
  static void run_all(std::deque<std::function<void()>>& queue) {
    while (!queue.empty()) run_one(queue);
  }
  static bool run_one(std::deque<std::function<void()>>& queue) {
    if (queue.empty()) return false;
    const auto act = std::move(queue.front());
    queue.pop_front();
    act();
    return true;
  }

  void send(std::size_t lane) {
    if (gone[lane]) return;
    const auto chunk = senders[lane].next(luck.between(1, 400'000));
    if (!chunk) return in_flight[lane].empty() ? grant(lane) : void();  // a PING asks for it
    senders[lane].on_sent(*chunk, chunk->length);
    in_flight[lane].push_back({{chunk->at, chunk->at + chunk->length}});
  }
  void arrive(std::size_t lane) {
    if (in_flight[lane].empty()) return;
    const std::size_t which = static_cast<std::size_t>(luck.below(in_flight[lane].size()));
    const Packet packet = in_flight[lane][which];
    in_flight[lane].erase(in_flight[lane].begin() + static_cast<std::ptrdiff_t>(which));
    RangeScheduler& sender = senders[lane];
    if (luck.below(5) == 0) return sender.on_lost(packet.range);
    ReceivedRanges& receiver = receivers[lane];
    REQUIRE(receiver.is_permitted(packet.range));
    if (!receiver.owns(packet.range)) {
      ++refused;
      return sender.on_lost(packet.range);
    }
    receiver.on_duplicate(packet.range);
    for (TransferRange rest = packet.range;;) {
      const TransferRange part = receiver.first_missing(rest);
      if (part.empty()) break;
      REQUIRE(receiver.accept(part));
      // No byte is two lanes' business: none is taken in twice.
      REQUIRE(accepted.insert({part.begin.value, part.end.value}).count == part.size());
      rest.begin = part.end;
    }
    if (luck.below(5) == 0) return sender.on_lost(packet.range);  // the acknowledgement was lost
    sender.on_acked(packet.range);
    grant(lane);
  }
  void grant(std::size_t lane) {
    const CreditFrame credit = receivers[lane].credit(luck.between(1, 8) * MiB);
    receivers[lane].on_credit_granted(credit);
    senders[lane].on_credit(credit);
  }
  void homes() {
    if (const auto wish = table.poll_wish()) {
      to_sender[wish->from].push_back([this, asked = *wish] {
        to_source.push_back([this, asked, yielded = senders[asked.from].yield(asked.to, asked.below)] {
          std::optional<std::uint64_t> extent;
          if (yielded) extent = yielded->extent;
          for (const auto& told : table.on_yielded(asked, extent, yielded ? yielded->state : ExtentState{})) {
            say(told);
            ++moves;
          }
        });
      });
    }
    for (std::size_t lane = 0; lane < lanes; ++lane) table.on_frontier(lane, senders[lane].frontier());
    if (const auto move = desk.poll()) {
      run_all(to_receiver[move->move.from]);
      const auto state = receivers[move->move.from].give_up(move->move);
      REQUIRE(state);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        run_all(to_receiver[lane]);
        if (lane == move->move.to)
          REQUIRE(receivers[lane].adopt(move->move, *state));
        else if (lane != move->move.from)
          receivers[lane].note(move->move);
      }
      desk.on_done();
      to_source.push_back([this, number = move->number] {
        const auto admitted = table.on_admitted(number);
        REQUIRE(admitted);
        for (std::size_t lane = 0; lane < lanes; ++lane) {
          if (table.is_over(lane)) continue;
          to_sender[lane].push_back([this, lane, moved = *admitted] {
            if (lane == moved.move.to)
              senders[lane].adopt(moved.move, moved.state);
            else if (lane != moved.move.from)
              senders[lane].note(moved.move);
          });
        }
      });
    }
  }
  void step() {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      if (luck.below(3) == 0) (void)run_one(to_sender[lane]);
      if (luck.below(3) == 0) (void)run_one(to_receiver[lane]);
      // The last lane is slow.
      if (lane + 1 < lanes || luck.below(4) == 0) send(lane);
      if (lane + 1 < lanes || luck.below(4) == 0) arrive(lane);
    }
    if (luck.below(3) == 0) (void)run_one(to_sink);
    if (luck.below(3) == 0) (void)run_one(to_source);
    homes();
  }
  [[nodiscard]] bool is_done() const {
    if (table.is_moving() || desk.is_moving() || !to_source.empty()) return false;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      if (!to_receiver[lane].empty() || !receivers[lane].is_complete()) return false;
      if (gone[lane]) continue;
      if (!to_sender[lane].empty() || !senders[lane].is_drained()) return false;
    }
    return true;
  }

  const std::size_t lanes;
  Rng luck;
  ExtentTable table;
  ExtentDesk desk;
  std::vector<RangeScheduler> senders;
  std::vector<ReceivedRanges> receivers;
  std::vector<std::vector<Packet>> in_flight;
  std::vector<std::deque<std::function<void()>>> to_sender, to_receiver;
  std::deque<std::function<void()>> to_sink, to_source;
  IntervalSet accepted;
  IntervalSet withheld;
  std::vector<bool> gone;  // lanes that have surrendered
  std::uint64_t offered = 0;
  std::uint64_t moves = 0;
  std::uint64_t refused = 0;
};

}  // namespace

TEST_CASE("leases: under any order of moves, losses and deaths every byte is one lane's, and all arrive once") {
  std::uint64_t moves = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Rng choice(seed * 7919);
    const std::size_t lanes = static_cast<std::size_t>(choice.between(2, 9));
    LeaseLab lab(lanes, seed);
    const std::uint64_t total = choice.between(1, 14) * lanes * extent_bytes(lanes) / 2 + choice.below(MiB);
    std::uint64_t repairs = choice.below(3);
    std::uint64_t steps = 0;
    while (lab.offered < total || !lab.is_done() || repairs > 0) {
      REQUIRE(++steps < 200'000);
      lab.step();
      if (lab.offered < total && choice.below(20) == 0) {
        const std::uint64_t before = lab.offered;
        lab.offer(std::min(total, before + choice.between(1, 64) * MiB));
        if (choice.below(2) == 0) {
          const std::uint64_t begin = before + choice.below(lab.offered - before);
          // Held bytes are said before they are expected, or (to a sender) when they may have left already.
          lab.withhold({{begin}, {begin + choice.below(std::min(lab.offered - begin, 9 * MiB) + 1)}});
        }
      }
      if (choice.below(100) == 0) lab.kill(1 + static_cast<std::size_t>(choice.below(lanes - 1)));
      if (repairs > 0 && lab.offered >= total && lab.is_done()) {
        --repairs;
        const std::uint64_t begin = choice.below(total);
        lab.repair({{begin}, {std::min(total, begin + choice.between(1, 20 * MiB))}});
      }
    }
    IntervalSet here = lab.accepted;
    for (const Interval& part : lab.withheld.intervals()) (void)here.insert(part);
    CHECK(here.contains({0, total}));
    CHECK(lab.refused == 0);  // honest ends never send what is not theirs
    moves += lab.moves;
  }
  CHECK(moves > 100);
}

TEST_CASE("leases: DATA of another lane's extents is refused, and never acknowledged") {
  // A sender that takes itself for lane 0, at a receiver that is lane 1.
  Pair pair{{.sender = {.place = {.lane = 0, .lanes = 2}},
             .receiver = {.place = {.lane = 1, .lanes = 2}},
             .size = 2 * extent2}};
  pair.open();
  pair.offer_all();
  (void)pair.run_until([] { return false; }, 2s);
  CHECK(pair.receiver.stats().packets_outside_lease > 0);
  CHECK(pair.receiver.stats().payload_bytes_received == 0);
  CHECK(pair.sender.stats().bytes_settled == 0);
  CHECK(!pair.sender_drained());
  CHECK(pair.receiver_closed.empty());
}

TEST_CASE("leases: two lanes bring one transfer, each its own extents") {
  std::uint64_t brought = 0;
  for (const std::size_t lane : {0U, 1U}) {
    Pair pair{{.sender = {.place = {.lane = lane, .lanes = 2}},
               .receiver = {.place = {.lane = lane, .lanes = 2}},
               .size = 3 * extent2 + 77}};
    CHECK(pair.transfer());
    CHECK(pair.sender.stats().bytes_settled == pair.receiver.stats().bytes_settled);
    brought += pair.receiver.stats().payload_bytes_received;
  }
  CHECK(brought == 3 * extent2 + 77);
}

TEST_CASE("leases: the desk admits moves in their order alone, of lanes that there are, and not too many at once") {
  ExtentDesk desk(2);
  CHECK(!desk.on_move({.number = 2, .move = {.from = 0, .to = 1, .extent = 0}}));
  CHECK(!desk.on_move({.number = 1, .move = {.from = 0, .to = 2, .extent = 0}}));
  CHECK(!desk.on_move({.number = 1, .move = {.from = 1, .to = 0, .extent = 0}}));
  for (std::uint64_t i = 0; i < extent_moves_waiting_max; ++i)
    REQUIRE(desk.on_move({.number = i + 1, .move = {.from = 0, .to = 1, .extent = 2 * i}}));
  CHECK(!desk.on_move({.number = extent_moves_waiting_max + 1, .move = {.from = 0, .to = 1, .extent = 1000}}));
  const auto first = desk.poll();
  REQUIRE(first);
  CHECK(first->number == 1);
  CHECK(!desk.poll());
  desk.on_done();
  CHECK(desk.poll()->number == 2);
}

}  // namespace penstock::engine::test
