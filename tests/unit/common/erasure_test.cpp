#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "common/erasure/erasure_code.h"
#include "common/random.h"

namespace penstock::erasure {
namespace {

using Block = std::vector<std::byte>;

/// Products in GF(2^8) by the textbook, bit by bit.
std::uint8_t times(std::uint8_t a, std::uint8_t b) {
  unsigned product = 0;
  for (unsigned bit = 0; bit < 8; ++bit)
    if (b >> bit & 1) product ^= static_cast<unsigned>(a) << bit;
  for (unsigned bit = 15; bit >= 8; --bit)
    if (product >> bit & 1) product ^= 0x11dU << (bit - 8);
  return static_cast<std::uint8_t>(product);
}

struct Fixture {
  Fixture(std::size_t symbol_size, std::size_t sources, std::size_t repair_count, std::uint64_t seed)
      : size(symbol_size), repairs(repair_count, Block(symbol_size)) {
    Rng luck{seed};
    std::vector<std::uint8_t> numbers(source_symbols_max);
    std::iota(numbers.begin(), numbers.end(), std::uint8_t{0});
    for (std::size_t i = 0; i < sources; ++i) {  // any slots, in any order
      std::swap(numbers[i], numbers[i + luck.below(numbers.size() - i)]);
      slots.push_back(numbers[i]);
      blocks.emplace_back(size);
      luck.fill(blocks.back());
    }
    std::vector<Symbol> all;
    for (std::size_t i = 0; i < sources; ++i) all.push_back({slots[i], blocks[i].data()});
    std::vector<std::byte*> out;
    for (Block& repair : repairs) out.push_back(repair.data());
    code.encode(size, all, 0, out);
  }

  /// Loses the sources of `lost` (positions) and has the repair symbols `used` instead.
  bool recovers(const std::vector<std::size_t>& lost, const std::vector<std::size_t>& used) {
    std::vector<Symbol> present, repair;
    std::vector<std::uint8_t> missing;
    std::vector<Block> results(lost.size(), Block(size));
    std::vector<std::byte*> out;
    for (std::size_t i = 0; i < slots.size(); ++i)
      if (std::find(lost.begin(), lost.end(), i) == lost.end()) present.push_back({slots[i], blocks[i].data()});
    for (const std::size_t i : lost) missing.push_back(slots[i]);
    for (const std::size_t index : used) repair.push_back({static_cast<std::uint8_t>(index), repairs[index].data()});
    for (Block& result : results) out.push_back(result.data());
    code.recover(size, present, repair, missing, out);
    for (std::size_t i = 0; i < lost.size(); ++i)
      if (results[i] != blocks[lost[i]]) return false;
    return true;
  }

  std::size_t size;
  ErasureCode code;
  std::vector<std::uint8_t> slots;
  std::vector<Block> blocks;
  std::vector<Block> repairs;
};

std::vector<std::size_t> positions_of(unsigned bits) {
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; bits >> i; ++i)
    if (bits >> i & 1) positions.push_back(i);
  return positions;
}

}  // namespace

TEST_CASE("erasure code: repair symbols are the sums that the format says") {
  Fixture fixture(100, 5, 3, 1);
  for (std::uint8_t index = 0; index < 3; ++index) {
    Block expected(100);
    for (std::size_t i = 0; i < 5; ++i) {
      const std::uint8_t factor = coefficient(index, fixture.slots[i]);
      // 1 / x is what gives 1 when multiplied with x
      CHECK(times(factor, static_cast<std::uint8_t>((128 + index) ^ fixture.slots[i])) == 1);
      for (std::size_t at = 0; at < 100; ++at)
        expected[at] ^= std::byte{times(factor, static_cast<std::uint8_t>(fixture.blocks[i][at]))};
    }
    CHECK(fixture.repairs[index] == expected);
  }
}

TEST_CASE("erasure code: up to eight sources, every loss and every choice of as many repair symbols is recovered") {
  for (std::size_t sources = 1; sources <= 8; ++sources) {
    Fixture fixture(64, sources, 8, sources);
    for (unsigned lost = 1; lost < 1U << sources; ++lost) {
      const auto gone = positions_of(lost);
      for (unsigned used = 1; used < 1U << 8; ++used) {
        const auto repair = positions_of(used);
        if (repair.size() == gone.size()) REQUIRE(fixture.recovers(gone, repair));
      }
    }
  }
}

TEST_CASE("erasure code: the largest generation survives random losses up to all of its sources") {
  Rng luck{7};
  for (const std::size_t size : {64U, 65U, 95U, 127U, 1400U, 1411U, 8909U}) {
    CAPTURE(size);
    Fixture fixture(size, source_symbols_max, repair_symbols_max, luck.next());
    for (const std::size_t count : {1U, 2U, 5U, 17U, 50U, 127U, 128U}) {
      CAPTURE(count);
      std::vector<std::size_t> lost(source_symbols_max), used(repair_symbols_max);
      for (auto* list : {&lost, &used}) {
        std::iota(list->begin(), list->end(), std::size_t{0});
        for (std::size_t i = 0; i < count; ++i) std::swap((*list)[i], (*list)[i + luck.below(list->size() - i)]);
        list->resize(count);
      }
      REQUIRE(fixture.recovers(lost, used));
    }
  }
}

TEST_CASE("erasure code: a repair symbol depends on its index, not on how many are made at once") {
  Fixture fixture(200, 20, 10, 3);
  std::vector<Symbol> all;
  for (std::size_t i = 0; i < 20; ++i) all.push_back({fixture.slots[i], fixture.blocks[i].data()});
  for (std::uint8_t index = 0; index < 10; ++index) {
    Block alone(200);
    std::byte* const out[] = {alone.data()};
    fixture.code.encode(200, all, index, out);
    CHECK(alone == fixture.repairs[index]);
  }
}

TEST_CASE("erasure code: slots that hold zeros may as well be left out") {
  Fixture fixture(128, 30, 4, 9);
  std::vector<Symbol> some, all;
  const Block zeros(128);
  for (std::size_t i = 0; i < 30; ++i) {
    if (i < 11) some.push_back({fixture.slots[i], fixture.blocks[i].data()});
    all.push_back({fixture.slots[i], i < 11 ? fixture.blocks[i].data() : zeros.data()});
  }
  Block with(128), without(128);
  std::byte* const to_with[] = {with.data()};
  std::byte* const to_without[] = {without.data()};
  fixture.code.encode(128, all, 2, to_with);
  fixture.code.encode(128, some, 2, to_without);
  CHECK(with == without);
}

}  // namespace penstock::erasure
