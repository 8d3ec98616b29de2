#include "dataplane/io/early_datagrams.h"

#include "tests/unit/io/lane_support.h"

namespace penstock::io {
namespace {

constexpr ConnectionId ours{7};
constexpr ConnectionId another{8};
constexpr std::size_t cost = EarlyDatagrams::batch_cost;
constexpr std::size_t large_total_max = EarlyDatagrams::total_max - EarlyDatagrams::small_total_max;

TimePoint at(int ms) { return TimePoint{std::chrono::milliseconds{ms}}; }

bool keep(EarlyDatagrams& early, int ms, ConnectionId id, std::size_t size) {
  EarlyDatagrams::Batch batch;
  batch.arrived = at(ms);
  batch.segment_size = size;
  return early.keep(std::move(batch), id, random_bytes(size, size));
}

}  // namespace

TEST_CASE("early datagrams: only an awaited lane's are kept, in order, as of when they came, and given out once") {
  EarlyDatagrams early;
  CHECK(!keep(early, 1, ours, 100));
  early.await(ours, 1000);
  CHECK(keep(early, 2, ours, 100));
  CHECK(keep(early, 3, ours, 101));
  CHECK(!keep(early, 3, another, 1));
  CHECK(early.bytes() == 201 + 2 * cost);
  const auto batches = early.take(ours);
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].arrived == at(2));
  CHECK(batches[0].bytes == random_bytes(100, 100));
  CHECK(batches[1].arrived == at(3));
  CHECK(batches[1].segment_size == 101);
  CHECK(early.bytes() == 0);
  CHECK(!early.awaits(ours));
  CHECK(early.take(ours).empty());
  CHECK(!keep(early, 4, ours, 100));
}

TEST_CASE("early datagrams: what one id may have is bounded, and may be raised") {
  EarlyDatagrams early;
  early.await(ours, 150 + 2 * cost);
  CHECK(keep(early, 1, ours, 100));
  CHECK(!keep(early, 1, ours, 51));
  CHECK(keep(early, 1, ours, 50));
  early.await(ours, 1000 + 3 * cost);
  CHECK(keep(early, 1, ours, 850));
  CHECK(!keep(early, 1, ours, 1));
  CHECK(early.bytes() == 1000 + 3 * cost);
}

TEST_CASE("early datagrams: the smallest are charged with all the memory that they take") {
  CHECK(cost > sizeof(EarlyDatagrams::Batch));
  EarlyDatagrams early;
  early.await(ours, EarlyDatagrams::small_max);
  std::size_t kept = 0;
  while (keep(early, 1, ours, 29)) ++kept;
  CHECK(kept == EarlyDatagrams::small_max / (29 + cost));
  CHECK(early.bytes() <= EarlyDatagrams::small_max);
}

TEST_CASE("early datagrams: all ids together have a bound, and whoever waits too long makes room for others") {
  EarlyDatagrams early;
  constexpr std::size_t share = large_total_max / 2;
  early.await(ours, share);
  early.await(another, share);
  const ConnectionId third{9};
  early.await(third, share);
  CHECK(keep(early, 0, ours, share - cost));
  CHECK(keep(early, 1000, another, share - cost));
  CHECK(!keep(early, 1999, third, share - cost));
  CHECK(!keep(early, 2000, another, 1));  // beyond its own bound: that drops nobody's
  CHECK(early.bytes() == large_total_max);
  CHECK(keep(early, 2000, third, share - cost));  // ours has waited for two seconds
  CHECK(early.bytes() == large_total_max);
  CHECK(early.take(ours).empty());
  CHECK(early.take(another).size() == 1);
  early.forget(third);
  CHECK(early.bytes() == 0);
}

TEST_CASE("early datagrams: how old the oldest is stays known, whoever of them goes") {
  EarlyDatagrams early;
  constexpr std::size_t share = large_total_max / 2;
  const ConnectionId third{9};
  for (const auto id : {ours, another, third}) early.await(id, share);
  CHECK(keep(early, 0, ours, share - cost));
  CHECK(keep(early, 1000, another, share - cost));
  CHECK(early.take(ours).size() == 1);
  CHECK(keep(early, 1500, third, share - cost));
  early.await(ours, share);
  CHECK(!keep(early, 2500, ours, share - cost));  // a look in vain: nobody's is two seconds old
  CHECK(!keep(early, 2999, ours, share - cost));
  CHECK(keep(early, 3000, ours, share - cost));
  CHECK(early.take(another).empty());
  CHECK(early.take(third).size() == 1);
}

TEST_CASE("early datagrams: ids with little have a part to themselves, and can not take the others' room") {
  EarlyDatagrams early;
  constexpr std::size_t small = EarlyDatagrams::small_max;
  constexpr std::size_t strangers = EarlyDatagrams::small_total_max / small;
  for (std::uint64_t id = 100; id < 100 + strangers; ++id) {
    early.await(ConnectionId{id}, small);
    CHECK(keep(early, 1, ConnectionId{id}, small - cost));
  }
  early.await(ours, small);
  CHECK(!keep(early, 1, ours, 1));
  early.await(another, large_total_max);
  CHECK(keep(early, 1, another, large_total_max - cost - small));
  CHECK(early.bytes() == EarlyDatagrams::total_max - small);

  // Whoever turns out to be known takes along what it has, and its room is a newcomer's.
  early.await(ConnectionId{100}, 2 * small);
  CHECK(keep(early, 1, ours, small - cost));
  CHECK(early.bytes() == EarlyDatagrams::total_max);
  // Where the others have no room that is lost on the way.
  early.await(ConnectionId{101}, 2 * small);
  CHECK(early.bytes() == EarlyDatagrams::total_max - small);
  CHECK(early.take(ConnectionId{101}).empty());
  CHECK(early.take(ConnectionId{100}).size() == 1);
}

TEST_CASE("worker: a lane that is added behind its peer's first flight gets all of it, and a forgotten one nothing") {
  const auto daemon = start_worker({"127.0.0.1:0"});
  const auto client = start_worker({});
  LanePair pair{random_bytes(40'000, 5), 5};
  daemon->await_lane(pair.receiver_id, 1'000'000);
  pair.add_sender(*client, daemon->local_endpoints()[0]);
  const auto early = [&] {
    finish_turn(*daemon);
    return daemon->counters().datagrams_early;
  };
  while (early() < 30) {
  }
  CHECK(daemon->counters().datagrams_unknown == 0);
  pair.add_receiver(*daemon, std::nullopt);
  pair.check_complete();
  // No datagram was lost by coming early. (A probe may leave all the same, when the machine is busy.)
  CHECK(pair.sender_seen->await([](const RecordingObserver::Record& record) {
    return record.last_stats.bytes_settled == 40'000 && record.last_stats.packets_lost == 0;
  }));

  LanePair late{random_bytes(1000, 6), 6};
  daemon->await_lane(late.receiver_id, 1'000'000);
  daemon->forget_awaited(late.receiver_id);
  late.add_sender(*client, daemon->local_endpoints()[0]);
  while (daemon->counters().datagrams_unknown == 0) finish_turn(*daemon);
  late.add_receiver(*daemon, std::nullopt);
  late.check_complete();
}

}  // namespace penstock::io
