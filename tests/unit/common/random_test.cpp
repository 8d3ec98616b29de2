#include "common/random.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

namespace penstock {
namespace {

TEST_CASE("rng: the same seed gives the published sequence of xoshiro256** over splitmix64") {
  // From the reference C code of Blackman and Vigna, seeded with splitmix64 from 0.
  Rng rng{0};
  CHECK(rng.next() == 0x99ec5f36cb75f2b4U);
  CHECK(rng.next() == 0xbf6e1f784956452aU);
  CHECK(rng.next() == 0x1a5f849d4933e6e0U);
}

TEST_CASE("rng: equal seeds agree and different seeds part") {
  Rng a{7};
  Rng b{7};
  Rng c{8};
  int same_as_c = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto value = a.next();
    CHECK(value == b.next());
    same_as_c += value == c.next() ? 1 : 0;
  }
  CHECK(same_as_c == 0);
}

TEST_CASE("rng: below stays below and reaches every value evenly") {
  Rng rng{1};
  std::array<int, 6> seen{};
  for (int i = 0; i < 60'000; ++i) ++seen.at(rng.below(6));
  for (const int count : seen) {
    CHECK(count > 9'500);
    CHECK(count < 10'500);
  }
  for (int i = 0; i < 100; ++i) CHECK(rng.below(1) == 0);
  // A bound just above 2^63 rejects nearly half of all draws: the loop ends, and the result is in range.
  const std::uint64_t large = (std::uint64_t{1} << 63) + 1;
  for (int i = 0; i < 1000; ++i) CHECK(rng.below(large) < large);
}

TEST_CASE("rng: between includes both ends, over the full range too") {
  Rng rng{2};
  bool low = false;
  bool high = false;
  for (int i = 0; i < 1000; ++i) {
    const auto value = rng.between(10, 12);
    CHECK(value >= 10);
    CHECK(value <= 12);
    low |= value == 10;
    high |= value == 12;
  }
  CHECK(low);
  CHECK(high);
  CHECK(rng.between(5, 5) == 5);
  CHECK(rng.between(0, Rng::max()) != rng.between(0, Rng::max()));
}

TEST_CASE("rng: chance is never at 0, always at 1, and close to its share between") {
  Rng rng{3};
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) {
    CHECK_FALSE(rng.chance(0, 10));
    CHECK(rng.chance(10, 10));
    hits += rng.chance(1, 10) ? 1 : 0;
  }
  CHECK(hits > 850);
  CHECK(hits < 1150);
}

TEST_CASE("rng: fill writes little-endian words, all bytes, none beyond") {
  Rng words{4};
  Rng bytes{4};
  std::vector<std::byte> out(11, std::byte{0xee});
  bytes.fill(std::span{out}.first(10));
  const auto first = words.next();
  const auto second = words.next();
  for (std::size_t i = 0; i < 8; ++i) CHECK(out[i] == static_cast<std::byte>(first >> (8 * i) & 0xff));
  CHECK(out[8] == static_cast<std::byte>(second & 0xff));
  CHECK(out[10] == std::byte{0xee});
}

TEST_CASE("rng: a split generator does not follow its parent") {
  Rng parent{5};
  Rng child = parent.split();
  CHECK(parent.next() != child.next());
}

}  // namespace
}  // namespace penstock
