#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "common/random.h"
#include "tests/unit/engine/pair.h"

// FEC between a real sender and a real receiver: fec/README.md.

namespace penstock::engine {
namespace {

using namespace test;

Pair::Options pair_options(const Fec& fec, std::uint64_t size = 4 * MiB) {
  return {.sender = {.udp_payload_size = 1472,
                     .congestion = Congestion::fixed,
                     .rate = DataRate::megabits_per_second(100),
                     .initial_rtt = 50ms,
                     .fec = fec},
          .receiver = {.udp_payload_size = 1472, .initial_rtt = 50ms},
          .one_way = 25ms,
          .size = size};
}
constexpr Fec automatic{.mode = FecMode::automatic};

Pair::Judge loses(std::uint64_t percent, std::uint64_t seed) {
  return [luck = Rng{seed}, percent](auto, auto) mutable {
    return luck.below(100) < percent ? Pair::Fate::drop : Pair::Fate::deliver;
  };
}

void check_whole(const Pair& pair) {
  CHECK(pair.sink.bytes() == pair.source.bytes());
  CHECK(pair.sink.overwritten() == 0);
  CHECK(pair.sender_closed.empty());
  CHECK(pair.receiver_closed.empty());
}

}  // namespace

TEST_CASE("fec: automatic repair spends nothing on a path that loses nothing") {
  Pair pair(pair_options(automatic));
  REQUIRE(pair.transfer());
  check_whole(pair);
  CHECK(pair.sender.stats().repairs_sent == 0);
  CHECK(pair.sink.retained == 0);
}

TEST_CASE("fec: automatic repair recovers losses of the tail, whose bytes are not sent again") {
  Pair pair(pair_options(automatic));
  std::uint64_t retained_most = 0;
  pair.forward = [&, lose = loses(5, 11)](auto datagram, TimePoint now) mutable {
    retained_most = std::max(retained_most, pair.sink.retained);
    return lose(datagram, now);
  };
  REQUIRE(pair.transfer());
  check_whole(pair);
  const LaneStats& sent = pair.sender.stats();
  const LaneStats& received = pair.receiver.stats();
  CHECK(sent.repairs_sent > 0);
  CHECK(received.symbols_recovered > 5);
  CHECK(sent.symbols_recovered == received.symbols_recovered);  // it was told
  CHECK(sent.payload_bytes_retransmitted / 1400 + received.symbols_recovered >= sent.packets_lost * 8 / 10);
  CHECK(received.payload_bytes_duplicate == 0);
  CHECK(retained_most > 0);
  CHECK(pair.sink.retained == 0);  // and let go again
}

TEST_CASE("fec: the packets of recovered bytes stay unacknowledged, so congestion control sees their loss") {
  Pair plain(pair_options({}));
  Pair coded(pair_options({.mode = FecMode::fixed, .sources = 20, .repairs = 4}));
  for (Pair* pair : {&plain, &coded}) {
    pair->forward = loses(5, 3);
    REQUIRE(pair->transfer());
    check_whole(*pair);
    CHECK(pair->sender.stats().packets_lost * 100 / pair->sender.stats().packets_sent >= 4);
  }
  CHECK(coded.receiver.stats().symbols_recovered > 100);
}

TEST_CASE("fec: a given ratio protects the whole transfer, at that ratio") {
  Pair pair(pair_options({.mode = FecMode::fixed, .sources = 20, .repairs = 4}));
  REQUIRE(pair.transfer());
  check_whole(pair);
  // From the first agreement on, which takes a round trip of 600 kB.
  const std::uint64_t symbols = 4 * MiB / 1410;
  CHECK(pair.sender.stats().repairs_sent >= symbols * 4 / 20 * 7 / 10);
  CHECK(pair.sender.stats().repairs_sent <= symbols * 4 / 20 + 64);
}

TEST_CASE("fec: without the peer's agreement no repair symbol leaves") {
  for (const Fec& fec : {automatic, Fec{.mode = FecMode::fixed, .sources = 10, .repairs = 5}}) {
    Pair pair(pair_options(fec));
    pair.agrees_to_repair = false;
    pair.forward = loses(5, 5);
    REQUIRE(pair.transfer());
    check_whole(pair);
    CHECK(pair.sender.stats().repairs_sent == 0);
    CHECK(pair.receiver.stats().symbols_recovered == 0);
  }
}

TEST_CASE("fec: a lane among several protects its own extents, at that ratio, and tells of no others") {
  for (const std::size_t lane : {0U, 1U}) {
    CAPTURE(lane);
    auto options = pair_options({.mode = FecMode::fixed, .sources = 20, .repairs = 4}, 20 * MiB);
    options.sender.place = options.receiver.place = {.lane = lane, .lanes = 2};
    Pair pair(options);
    pair.forward = loses(5, 17);
    REQUIRE(pair.transfer());
    CHECK(pair.sink.overwritten() == 0);
    CHECK(pair.sender_closed.empty());
    CHECK(pair.receiver_closed.empty());
    const LaneStats& sent = pair.sender.stats();
    const std::uint64_t own = (lane == 0 ? 3 : 2) * 4 * MiB;
    CHECK(sent.bytes_settled == own);
    CHECK(pair.receiver.stats().payload_bytes_received == own);
    CHECK(pair.receiver.stats().packets_outside_lease == 0);
    CHECK(pair.receiver.stats().symbols_recovered > 100);
    CHECK(pair.receiver.stats().repairs_received > 0);
    CHECK(sent.repairs_sent >= own / 1410 * 4 / 20 * 6 / 10);
    CHECK(sent.repairs_sent <= own / 1410 * 4 / 20 * 13 / 10);
  }
}

TEST_CASE("fec: repair symbols of extents that are not the lane's are dropped, as its DATA is") {
  auto options = pair_options({.mode = FecMode::fixed, .sources = 10, .repairs = 10}, 8 * MiB);
  options.sender.place = {.lane = 0, .lanes = 2};
  options.receiver.place = {.lane = 1, .lanes = 2};
  Pair pair(options);
  pair.open();
  pair.offer_all();
  (void)pair.run_until([] { return false; }, 2s);
  CHECK(pair.sender.stats().repairs_sent > 0);
  CHECK(pair.receiver.stats().packets_outside_lease > 0);
  CHECK(pair.receiver.stats().repairs_received == 0);
  CHECK(pair.receiver.stats().symbols_recovered == 0);
  CHECK(pair.receiver.stats().payload_bytes_received == 0);
  CHECK(pair.receiver_closed.empty());
}

TEST_CASE("fec: a sender knows its tail: from its last new byte's leaving until all is acknowledged") {
  Pair pair(pair_options({}, 1 * MiB));
  REQUIRE(pair.transfer());
  const auto clean = tail_of(pair.sender.stats());
  REQUIRE(clean);
  CHECK(*clean >= 50ms);  // there and back
  CHECK(*clean < 60ms);
  // The last byte is lost, and comes a repeat later.
  Pair lossy(pair_options({}, 1 * MiB));
  lossy.forward = [&, lost = false](auto datagram, auto) mutable {
    const bool last = !lost && lossy.sender.frontier().value == 1 * MiB && datagram.size() < 1472;
    lost = lost || last;
    return last ? Pair::Fate::drop : Pair::Fate::deliver;
  };
  REQUIRE(lossy.transfer());
  const auto late = tail_of(lossy.sender.stats());
  REQUIRE(late);
  CHECK(*late > 100ms);
}

TEST_CASE("fec: where a generation fails, what it kept back is sent again") {
  Pair pair(pair_options(automatic));
  // From the tail on nearly all repair symbols are lost: they are the only FRAMES packets of full size.
  pair.forward = [luck = Rng{9}](auto datagram, auto) mutable {
    const bool repair = (static_cast<unsigned>(datagram[0]) >> 2 & 15) == 2 && datagram.size() > 1400;
    return luck.below(100) < (repair ? 95U : 5U) ? Pair::Fate::drop : Pair::Fate::deliver;
  };
  REQUIRE(pair.transfer());
  check_whole(pair);
  CHECK(pair.sender.stats().repairs_sent > 50);
}

TEST_CASE("fec: bytes that a source has to read again are protected as soon as they are there") {
  Pair pair(pair_options(automatic, 2 * MiB));
  pair.forward = loses(10, 21);
  pair.on_sender_event = [&](const SenderEvent& event) {
    if (std::holds_alternative<Prefetch>(event)) {
      pair.source.absent.clear();
      pair.sender.on_source_ready();
    }
  };
  pair.open();
  pair.offer_all();
  bool hidden = false;
  REQUIRE(pair.run_until([&] {
    if (!hidden && pair.sender.frontier().value == 2 * MiB) {
      hidden = true;
      for (std::uint64_t slab = 0; slab < 2; ++slab) pair.source.absent[slab] = true;
    }
    return pair.sender_drained() && pair.receiver_drained();
  }));
  check_whole(pair);
  CHECK(!pair.prefetches.empty());
  CHECK(pair.receiver.stats().symbols_recovered > 0);
}

TEST_CASE("fec: a repair round sends damaged bytes again, whatever late ACKs say is held") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Pair pair(pair_options(getenv("FECOFF") ? Fec{} : automatic, 1 * MiB));
    pair.forward = loses(8, seed);
    pair.open();
    pair.offer_all();
    int rounds = 0;
    CHECK(pair.run_until([&] {
      if (!pair.receiver_drained()) return false;
      if (rounds < 2) {
        ++rounds;
        const TransferRange damaged{{100'000U * static_cast<unsigned>(rounds)}, {500'000}};
        pair.sink.forget(damaged);
        pair.receiver.forget(damaged);
        pair.sender.resend(damaged);  // sooner than any ACK on its way
        pair.forget_drained();
        return false;
      }
      return pair.sender_drained();
    }));
    check_whole(pair);
  }
}

TEST_CASE("fec: repair symbols obey the pacer and count as in flight") {
  Pair pair(pair_options({.mode = FecMode::fixed, .sources = 10, .repairs = 10}, 8 * MiB));
  std::uint64_t bytes = 0;
  pair.forward = [&](auto datagram, auto) {
    bytes += datagram.size() + 28;
    return Pair::Fate::deliver;
  };
  REQUIRE(pair.transfer());
  const Duration took = pair.now() - TimePoint{};
  CHECK(bytes <= DataRate::megabits_per_second(100).bytes_in(took));
  CHECK(bytes > 14 * MiB);
}

}  // namespace penstock::engine
