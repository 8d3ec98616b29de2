#include "dataplane/engine/lane/data_answers.h"

#include <doctest/doctest.h>

#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

constexpr TimePoint at(Duration time) { return TimePoint{} + time; }

/// Full datagrams meet a filter on their way to the receiver.
void shut_full_datagrams(Pair& pair) {
  pair.forward = [](std::span<const std::byte> datagram, auto) {
    return datagram.size() > 1000 ? Pair::Fate::drop : Pair::Fate::deliver;
  };
}
/// As a source does that hears nothing.
void ping_for(Pair& pair, Duration time) {
  for (const TimePoint end = pair.now() + time; pair.now() < end;) {
    pair.sender.ping();
    (void)pair.run_until([] { return false; }, 250ms);
  }
}

}  // namespace

TEST_CASE("data answers: they wait since the first departure, and then since the last answer") {
  DataAnswers data;
  CHECK_FALSE(data.unanswered_since());
  data.on_sent(at(1s), 10, 1s);
  data.on_sent(at(1500ms), 11, 1s);
  CHECK(data.unanswered_since() == at(1s));
  CHECK_FALSE(data.answered_at());
  data.on_acked(at(1600ms), 10);
  CHECK(data.answered_at() == at(1600ms));
  CHECK(data.unanswered_since() == at(1600ms));
  data.on_acked(at(1700ms), 11);
  CHECK_FALSE(data.unanswered_since());
  data.on_acked(at(1800ms), 9);  // late: nothing left after what was acknowledged
  CHECK_FALSE(data.unanswered_since());
  data.on_sent(at(2s), 12, 1s);
  CHECK(data.unanswered_since() == at(2s));
}

TEST_CASE("data answers: repeats into the dark do not set them back, but a pause does, and another path") {
  DataAnswers data;
  for (int i = 0; i < 20; ++i) data.on_sent(at(i * 250ms), static_cast<std::uint64_t>(i), 1s);
  CHECK(data.unanswered_since() == at(0s));
  data.on_sent(at(10s), 30, 1s);
  CHECK(data.unanswered_since() == at(10s));
  data.restart();
  data.on_sent(at(10500ms), 31, 1s);
  CHECK(data.unanswered_since() == at(10500ms));
}

TEST_CASE("data answers: bytes that a sink had no room for have arrived") {
  DataAnswers data;
  data.on_arrived(at(1s));
  CHECK(data.answered_at() == at(1s));
  CHECK_FALSE(data.unanswered_since());
  data.on_sent(at(2s), 1, 1s);
  data.on_arrived(at(3s));
  CHECK(data.unanswered_since() == at(3s));
}

TEST_CASE("data answers: pings that are answered say nothing of full datagrams that are not") {
  Pair pair({.size = 8 * MiB});
  pair.open();
  SUBCASE("from the start") {}
  SUBCASE("midway") {
    pair.offer_all();
    REQUIRE(pair.run_until([&] { return pair.receiver.stats().payload_bytes_received > 1 * MiB; }));
  }
  shut_full_datagrams(pair);
  pair.offer_all();
  const TimePoint shut_at = pair.now();
  ping_for(pair, 3s);
  const LaneStats stats = pair.sender.stats();
  REQUIRE(stats.answered_at);
  CHECK(*stats.answered_at > shut_at + 2s);
  REQUIRE(stats.data_unanswered_since);
  CHECK(*stats.data_unanswered_since <= shut_at + 100ms);
  CHECK(stats.data_answered_at.value_or(shut_at) <= shut_at + 100ms);

  pair.forward = [](auto, auto) { return Pair::Fate::deliver; };
  REQUIRE(pair.run_until([&] { return pair.sender_drained() && pair.receiver_drained(); }));
  (void)pair.run_until([] { return false; }, 1s);
  CHECK(pair.sender.stats().data_answered_at > shut_at + 3s);
  CHECK_FALSE(pair.sender.stats().data_unanswered_since);
}

TEST_CASE("data answers: a stalled disk at the other end is no darkness") {
  Pair pair({.size = 8 * MiB});
  pair.sink.room_limit = 0;
  pair.open();
  pair.offer_all();
  ping_for(pair, 5s);
  const LaneStats stats = pair.sender.stats();
  CHECK((!stats.data_unanswered_since || *stats.data_unanswered_since > pair.now() - 1s));
}

}  // namespace penstock::engine::test
