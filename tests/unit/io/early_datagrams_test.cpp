#include "dataplane/io/early_datagrams.h"

#include "tests/unit/io/lane_support.h"

namespace penstock::io {
namespace {

constexpr ConnectionId ours{7};
constexpr ConnectionId another{8};

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
  CHECK(early.bytes() == 201);
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
  early.await(ours, 150);
  CHECK(keep(early, 1, ours, 100));
  CHECK(!keep(early, 1, ours, 51));
  CHECK(keep(early, 1, ours, 50));
  early.await(ours, 1000);
  CHECK(keep(early, 1, ours, 850));
  CHECK(!keep(early, 1, ours, 1));
  CHECK(early.bytes() == 1000);
}

TEST_CASE("early datagrams: all ids together have a bound, and whoever waits too long makes room for others") {
  EarlyDatagrams early;
  constexpr std::size_t share = EarlyDatagrams::total_max / 2;
  early.await(ours, share);
  early.await(another, share);
  const ConnectionId third{9};
  early.await(third, share);
  CHECK(keep(early, 0, ours, share));
  CHECK(keep(early, 1000, another, share));
  CHECK(!keep(early, 1999, third, share));
  CHECK(keep(early, 2000, third, share));  // ours has waited for two seconds
  CHECK(early.bytes() == EarlyDatagrams::total_max);
  CHECK(early.take(ours).empty());
  CHECK(early.take(another).size() == 1);
  early.forget(third);
  CHECK(early.bytes() == 0);
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
  // Nothing was sent again: no datagram was lost by coming early.
  CHECK(pair.sender_seen->await([](const RecordingObserver::Record& record) {
    return record.last_stats.bytes_settled == 40'000 && record.last_stats.payload_bytes_retransmitted == 0;
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
