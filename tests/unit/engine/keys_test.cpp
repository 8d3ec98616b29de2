#include <doctest/doctest.h>

#include <array>
#include <set>
#include <vector>

#include "common/crypto/nonce.h"
#include "dataplane/engine/keys/open_keys.h"
#include "dataplane/engine/keys/seal_keys.h"
#include "dataplane/engine/ranges/replay_window.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

using Outcome = OpenKeys::Outcome;
constexpr std::array<std::byte, 3> aad{std::byte{1}, std::byte{2}, std::byte{3}};
constexpr std::array<std::byte, 5> plain{};

struct Direction {
  explicit Direction(std::uint64_t update_after = 8)
      : backend(crypto::aead_backends().front()),
        seal(*backend, make_keys().sender.send_secret.clone(), update_after),
        open(*backend, make_keys().receiver.receive_secret.clone()) {}

  std::vector<std::byte> sealed(std::uint64_t number) {
    std::vector<std::byte> out(plain.size() + crypto::aead_tag_size);
    seal.seal({number}, aad, plain, out.data());
    return out;
  }
  Outcome opened(std::uint64_t number, std::uint8_t bits, std::vector<std::byte> sealed_bytes, TimePoint now = {}) {
    return open.open(now, 100ms, bits, {number}, aad, sealed_bytes, sealed_bytes.data());
  }
  /// To the next epoch, as an honest pair gets there.
  void next_epoch(std::uint64_t& number, TimePoint now = {}) {
    while (!seal.update_if_due({number})) {
      const auto bytes = sealed(number);
      REQUIRE(opened(number, seal.epoch().value & 3, bytes, now) == Outcome::opened);
      seal.on_acked({number++});
    }
  }

  const crypto::AeadBackend* backend;
  SealKeys seal;
  OpenKeys open;
};

}  // namespace

TEST_CASE("seal keys: an epoch ends only after half its packets and an ACK of one of them") {
  Direction d(8);
  for (std::uint64_t n = 0; n < 20; ++n) {
    CHECK(!d.seal.update_if_due({n}));  // nothing was acknowledged
    (void)d.sealed(n);
  }
  d.seal.on_acked({3});
  CHECK(d.seal.update_if_due({20}));
  CHECK(d.seal.epoch() == KeyEpoch{1});
  for (std::uint64_t n = 20; n < 30; ++n) (void)d.sealed(n);
  d.seal.on_acked({19});  // of the epoch before
  CHECK(!d.seal.update_if_due({30}));
  CHECK(d.seal.wants_confirmation());
  d.seal.on_acked({20});
  CHECK(d.seal.update_if_due({30}));
}

TEST_CASE("seal keys: the peer's word that packets of this epoch arrived is as good as an ACK, of another it is not") {
  Direction d(8);
  for (std::uint64_t n = 0; n < 10; ++n) (void)d.sealed(n);
  CHECK_FALSE(d.seal.on_confirmed({1}));  // none was sealed
  CHECK(!d.seal.update_if_due({10}));
  CHECK(d.seal.on_confirmed({0}));
  CHECK(d.seal.update_if_due({10}));
  for (std::uint64_t n = 10; n < 20; ++n) (void)d.sealed(n);
  CHECK(d.seal.on_confirmed({0}));  // late
  CHECK(!d.seal.update_if_due({20}));
  CHECK(d.seal.on_confirmed({1}));
  CHECK(d.seal.update_if_due({20}));
}

TEST_CASE("open keys: the previous, the current and the next epoch open; others cost nothing") {
  Direction d(8);
  std::uint64_t number = 0;
  const auto epoch_0 = d.sealed(1000);
  d.next_epoch(number);
  CHECK(d.seal.epoch() == KeyEpoch{1});
  const auto epoch_1 = d.sealed(1001);
  CHECK(d.opened(1001, 1, epoch_1) == Outcome::opened);
  CHECK(d.open.epoch() == KeyEpoch{1});
  CHECK(d.opened(1000, 0, epoch_0) == Outcome::opened);
  CHECK(d.opened(1000, 3, epoch_0) == Outcome::epoch_unknown);  // two ahead, or two behind
  CHECK(d.open.epoch() == KeyEpoch{1});
}

TEST_CASE("open keys: a forged header of the next epoch moves nothing") {
  Direction d;
  const auto bytes = d.sealed(7);
  for (int i = 0; i < 100; ++i) CHECK(d.opened(7, 1, bytes) == Outcome::unauthentic);
  CHECK(d.open.epoch() == KeyEpoch{0});
  CHECK(!d.open.discard_at());
  CHECK(d.opened(7, 0, bytes) == Outcome::opened);
}

TEST_CASE("open keys: the previous epoch goes when its time is over") {
  Direction d(8);
  std::uint64_t number = 0;
  const auto old = d.sealed(1000);
  d.next_epoch(number);
  CHECK(d.opened(1001, 1, d.sealed(1001)) == Outcome::opened);
  REQUIRE(d.open.discard_at());
  CHECK(*d.open.discard_at() == TimePoint{100ms});
  CHECK(d.opened(1000, 0, old, TimePoint{100ms} - 1ns) == Outcome::opened);
  CHECK(d.opened(1000, 0, old, TimePoint{100ms}) == Outcome::epoch_unknown);
  CHECK(!d.open.discard_at());
}

TEST_CASE("keys: many epochs follow one another") {
  Direction d(8);
  std::uint64_t number = 0;
  for (std::uint32_t epoch = 1; epoch <= 9; ++epoch) {
    d.next_epoch(number);
    CHECK(d.seal.epoch() == KeyEpoch{epoch});
  }
  CHECK(d.opened(number, d.seal.epoch().value & 3, d.sealed(number)) == Outcome::opened);
  CHECK(d.open.epoch() == KeyEpoch{9});
}

TEST_CASE("replay window: each number is accepted once, in any order, and the forgotten ones never") {
  ReplayWindow window;
  CHECK(!window.largest());
  Rng rng(3);
  std::set<std::uint64_t> seen;
  std::uint64_t largest = 0;
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t number =
        rng.chance(1, 50) ? largest + rng.below(3000) : largest - rng.below(std::min<std::uint64_t>(largest + 1, 4000));
    const bool known = seen.contains(number);
    REQUIRE(window.is_seen({number}) == known);
    if (known) continue;
    window.mark_seen({number});
    seen.insert(number);
    largest = std::max(largest, number);
    REQUIRE(window.largest() == PacketNumber{largest});
  }
}

TEST_CASE("replay window: its edge is exact, and jumps leave no ghosts") {
  for (const std::uint64_t jump : {std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{64}, std::uint64_t{65},
                                   replay_window_size - 1, replay_window_size, replay_window_size + 1,
                                   2 * replay_window_size - 1, 2 * replay_window_size, 5 * replay_window_size + 77}) {
    CAPTURE(jump);
    ReplayWindow window;
    const std::uint64_t start = 1'000'000;
    for (std::uint64_t n = start; n < start + 200; ++n) window.mark_seen({n});
    const std::uint64_t top = start + 199 + jump;
    window.mark_seen({top});
    for (std::uint64_t n = start - 100; n < start + 400 && n < top; ++n) {
      const bool forgotten = top + 1 - n > replay_window_size;
      REQUIRE(window.is_seen({n}) == (forgotten || (n >= start && n < start + 200)));
    }
    CHECK(window.is_seen({top}));
    CHECK(!window.is_seen({top + 1}));
    CHECK(window.is_seen({top - replay_window_size}));
  }
}

}  // namespace penstock::engine::test
