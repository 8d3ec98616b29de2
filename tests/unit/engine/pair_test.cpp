#include <doctest/doctest.h>

#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

Pair::Judge losing(std::uint64_t seed, std::uint64_t percent) {
  auto rng = std::make_shared<Rng>(seed);
  return [rng, percent](auto, auto) { return rng->chance(percent, 100) ? Pair::Fate::drop : Pair::Fate::deliver; };
}

}  // namespace

TEST_CASE("engine pair: sizes around every boundary arrive whole on a clean path") {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1164}, std::uint64_t{1165},
                                   std::uint64_t{1166}, 1 * MiB - 1, 1 * MiB, 1 * MiB + 1, 5 * MiB + 17}) {
    CAPTURE(size);
    Pair pair({.size = size});
    REQUIRE(pair.transfer());
    CHECK(pair.sink.bytes() == pair.source.bytes());
    CHECK(pair.sink.overwritten() == 0);
    CHECK(pair.sender.oldest_unacknowledged() == TransferOffset{size});
    CHECK(pair.sender.stats().payload_bytes_retransmitted == 0);
  }
}

TEST_CASE("engine pair: loss, duplication and corruption change no byte") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Pair pair({.size = 3 * MiB + 5, .seed = seed});
    auto rng = std::make_shared<Rng>(seed);
    const auto judge = [rng](auto, auto) {
      const auto dice = rng->below(100);
      return dice < 10   ? Pair::Fate::drop
             : dice < 15 ? Pair::Fate::duplicate
             : dice < 20 ? Pair::Fate::corrupt
                         : Pair::Fate::deliver;
    };
    pair.forward = judge;
    pair.backward = judge;
    REQUIRE(pair.transfer());
    CHECK(pair.sink.bytes() == pair.source.bytes());
    CHECK(pair.sink.overwritten() == 0);
    CHECK(pair.receiver.stats().packets_unauthentic > 0);
    CHECK(pair.receiver.stats().packets_duplicate > 0);
  }
}

TEST_CASE("engine pair: a fifth of the packets lost costs little more than a fifth of the bytes") {
  Pair pair({.sender = {.congestion = Congestion::fixed, .rate = DataRate::megabits_per_second(100)}, .size = 8 * MiB});
  pair.forward = losing(3, 20);
  pair.backward = losing(4, 20);
  REQUIRE(pair.transfer());
  CHECK(pair.sink.bytes() == pair.source.bytes());
  const auto& stats = pair.sender.stats();
  CHECK(stats.payload_bytes_sent < 8 * MiB * 100 / 80 * 102 / 100);
  CHECK(stats.spurious_losses <= 2);  // six ACKs in a row may be lost
}

TEST_CASE("engine pair: at another host the round trip begins as the challenge's, whatever it was at the old one") {
  Pair pair({.sender = {.initial_rtt = 1ms}, .receiver = {.initial_rtt = 1ms}, .one_way = 50ms, .size = 8 * MiB});
  pair.open();
  pair.offer_all();
  REQUIRE(pair.run_until([&] { return pair.receiver.stats().packets_received > 500; }));
  CHECK(pair.receiver.path_rtt() == 1ms);
  REQUIRE(pair.sender.propose_address(pair.now(), AddressChange::host, 1200));
  REQUIRE(pair.receiver.propose_address(pair.now(), AddressChange::host, 1200));
  REQUIRE(pair.run_until([&] { return pair.sender.stats().peer_moves == 1 && pair.receiver.stats().peer_moves == 1; }));
  const auto timeouts = pair.sender.stats().pto_count;
  CHECK_FALSE(pair.run_until([] { return false; }, 90ms));  // nothing can have been answered yet
  CHECK(pair.sender.stats().pto_count == timeouts);
  REQUIRE(pair.run_until([&] { return pair.sender_drained() && pair.receiver_drained(); }));
  CHECK(pair.receiver.path_rtt() >= 100ms);
  CHECK(pair.receiver.path_rtt() <= 130ms);
}

TEST_CASE("engine pair: control messages arrive whole and in order in both directions under loss") {
  Pair pair({.size = 1 * MiB});
  pair.forward = losing(5, 30);
  pair.backward = losing(6, 30);
  std::vector<std::vector<std::byte>> down;
  std::vector<std::vector<std::byte>> up;
  for (std::size_t i = 0; i < 60; ++i) {
    down.push_back(random_bytes(i, 1 + i * i * 7));
    up.push_back(random_bytes(1000 + i, 1 + i * 131));
    REQUIRE(pair.sender.queue_control(down.back()));
    REQUIRE(pair.receiver.queue_control(up.back()));
  }
  REQUIRE(pair.transfer());
  REQUIRE(pair.run_until(
      [&] { return pair.to_receiver_control.size() == down.size() && pair.to_sender_control.size() == up.size(); }));
  CHECK(pair.to_receiver_control == down);
  CHECK(pair.to_sender_control == up);
}

}  // namespace penstock::engine::test
