#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/random.h"
#include "dataplane/engine/fec/calm_watch.h"
#include "dataplane/engine/fec/held_report.h"
#include "dataplane/engine/fec/loss_meter.h"
#include "dataplane/engine/fec/repair_decoder.h"
#include "dataplane/engine/fec/repair_policy.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t symbol_size = 1410;

/// Chance that more than m of k + m are lost.
double failure(std::size_t k, std::size_t m, double loss) {
  const auto n = static_cast<double>(k + m);
  double sum = 0;
  for (std::size_t lost = m + 1; lost <= k + m; ++lost) {
    const auto x = static_cast<double>(lost);
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) + x * std::log(loss) +
                    (n - x) * std::log1p(-loss));
  }
  return sum;
}

/// A transfer of which any bytes may be here, and any generation may be laid over it.
struct Bench {
  explicit Bench(std::uint64_t bytes, std::uint64_t seed = 1)
      : luck(seed), truth(test::random_bytes(seed, bytes)), sink(bytes), ranges(1 * GiB) {
    ranges.expect({bytes});
  }

  void arrive(TransferRange range) {
    const auto part = std::span<const std::byte>(truth).subspan(range.begin.value, range.size());
    REQUIRE(sink.store(range.begin, part));
    REQUIRE(ranges.accept(range));
    decoder.on_data(range);
  }
  RepairLayout layout(std::uint64_t first, std::uint16_t stride, const std::vector<std::size_t>& slots) const {
    const SymbolGrid grid{symbol_size};
    RepairLayout made{.base = {grid.begin_of(first)}, .size = symbol_size, .stride = stride, .last = 0, .mask = {}};
    for (const std::size_t slot : slots) {
      made.mask.add(slot);
      const std::uint64_t symbol = first + slot * stride;
      made.last = static_cast<std::uint16_t>(std::min<std::uint64_t>(grid.end_of(symbol), truth.size()) -
                                             grid.begin_of(symbol));
    }
    return made;
  }
  std::vector<std::byte> repair(const RepairLayout& of, std::uint8_t index) const {
    std::vector<std::vector<std::byte>> symbols;
    std::vector<erasure::Symbol> sources;
    for_each_symbol(of, [&](std::size_t slot, TransferRange range) {
      symbols.emplace_back(of.size);
      std::copy_n(truth.begin() + static_cast<std::ptrdiff_t>(range.begin.value), range.size(), symbols.back().begin());
      sources.push_back({static_cast<std::uint8_t>(slot), symbols.back().data()});
    });
    std::vector<std::byte> out(of.size);
    std::byte* const to[] = {out.data()};
    erasure::ErasureCode{}.encode(of.size, sources, index, to);
    return out;
  }
  /// Bytes recovered, stored where they are missing as the receiver does. Checks them.
  std::uint64_t take(std::span<const RepairDecoder::Recovered> recovered) {
    std::uint64_t bytes = 0;
    for (const auto& [range, content] : recovered) {
      REQUIRE(content.size() == range.size());
      CHECK(std::equal(content.begin(), content.end(), truth.begin() + static_cast<std::ptrdiff_t>(range.begin.value)));
      for (TransferRange rest = range;;) {
        const TransferRange part = ranges.first_missing(rest);
        if (part.empty()) break;
        bytes += part.size();
        arrive(part);
        rest.begin = part.end;
      }
    }
    return bytes;
  }
  std::uint64_t give(const RepairLayout& of, std::uint8_t index, std::uint8_t repairs = 128) {
    const auto symbol = repair(of, index);
    return take(decoder.on_repair({.layout = of, .repairs = repairs, .index = index, .symbol = symbol}, ranges, sink));
  }

  Rng luck;
  std::vector<std::byte> truth;
  test::VectorSink sink;
  ReceivedRanges ranges;
  RepairDecoder decoder;
};

std::vector<std::size_t> slots(std::size_t count) {
  std::vector<std::size_t> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = i;
  return all;
}

}  // namespace

TEST_CASE("repair policy: one generation in a hundred fails at most, and no more is spent than that takes twice over") {
  for (const std::uint32_t ppm : {1'000U, 10'000U, 50'000U, 100'000U, 200'000U}) {
    CAPTURE(ppm);
    for (const std::size_t k : {1U, 2U, 5U, 10U, 25U, 60U, 100U, 128U}) {
      CAPTURE(k);
      const std::size_t m = repairs_for(k, ppm, 100ms);
      CHECK(failure(k, m, ppm / 1e6) < 0.01);
      CHECK(failure(k, repairs_for(k, ppm, 10ms), ppm / 1e6) < 0.04);
      CHECK(repairs_for(k, ppm, 10ms) <= m);
      std::size_t least = 0;
      while (failure(k, least, ppm / 1e6) >= 0.0005) ++least;
      CHECK(m <= least + 1);
    }
  }
}

TEST_CASE("repair policy: nothing without loss, and never more than the code has") {
  CHECK(repairs_for(128, 0, 100ms) == 0);
  CHECK(repairs_for(0, 200'000, 100ms) == 0);
  CHECK(repairs_for(128, 900'000, 100ms) == 128);
  CHECK(repairs_for(128, 2'000'000, 100ms) == 128);
}

TEST_CASE("loss meter: follows the loss, forgets the old one, and takes spurious losses back") {
  LossMeter meter;
  CHECK(meter.loss_ppm() == 0);
  meter.on_acked(1000);
  CHECK(meter.loss_ppm() == 0);
  meter.on_lost(2);
  CHECK(meter.loss_ppm() == 0);  // may be chance
  meter.on_spurious(2);
  for (int i = 0; i < 5000; ++i) {
    meter.on_acked(38);
    meter.on_lost(2);
  }
  CHECK(meter.loss_ppm() > 49'000);
  CHECK(meter.loss_ppm() < 51'000);
  for (int i = 0; i < 5000; ++i) meter.on_acked(40);
  CHECK(meter.loss_ppm() == 0);
}

TEST_CASE("calm watch: a loss beside a queue says nothing, and a lane's neither when its packet met one") {
  const TimePoint start{1s};
  for (const bool has_siblings : {false, true}) {
    CAPTURE(has_siblings);
    RttEstimator rtt(100ms);
    CalmWatch calm(has_siblings);
    const auto sample = [&](Duration at, Duration took) {
      rtt.on_sample(took, {});
      calm.on_news(start + at, rtt);
    };
    sample(0ms, 100ms);
    CHECK(calm.tells_of_path(start - 50ms));
    sample(10ms, 120ms);
    CHECK_FALSE(calm.tells_of_path(start - 50ms));
    sample(20ms, 101ms);  // that was jitter
    CHECK(calm.tells_of_path(start - 50ms));
    sample(200ms, 140ms);
    sample(210ms, 150ms);
    sample(300ms, 100ms);  // the queue has gone
    CHECK(calm.tells_of_path(start + 150ms) == !has_siblings);
    CHECK(calm.tells_of_path(start + 250ms));
  }
}

TEST_CASE("repair decoder: up to six symbols, every loss is recovered exactly when enough repair symbols are here") {
  for (std::size_t k = 1; k <= 6; ++k) {
    for (unsigned lost = 0; lost < 1U << k; ++lost) {
      for (unsigned arrived = 0; arrived < 8; ++arrived) {
        Bench bench(k * 3 * symbol_size);
        const auto layout = bench.layout(0, 3, slots(k));
        std::size_t missing = 0;
        for_each_symbol(layout, [&](std::size_t slot, TransferRange range) {
          if (lost >> slot & 1) {
            ++missing;
          } else {
            bench.arrive(range);
          }
        });
        std::uint64_t recovered = 0;
        for (std::uint8_t index = 0; index < 3; ++index)
          if (arrived >> index & 1) recovered += bench.give(layout, index);
        const auto repairs = static_cast<std::size_t>(std::popcount(arrived));
        CHECK(recovered == (repairs >= missing ? missing * symbol_size : 0));
        CHECK(bench.decoder.waits() == (repairs > 0 && repairs < missing));
        CHECK(bench.sink.overwritten() == 0);
      }
    }
  }
}

TEST_CASE("repair decoder: random masks, strides, short symbols, partial arrivals and orders end with the very bytes") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Bench bench(3 * MiB + seed * 7, seed);
    Rng& luck = bench.luck;
    const SymbolGrid grid{symbol_size};
    const std::uint64_t symbols = grid.symbol_at(bench.truth.size() - 1) + 1;
    const auto stride = static_cast<std::uint16_t>(luck.between(1, symbols / 128));
    const std::uint64_t first = luck.below(stride + 1);
    std::vector<std::size_t> chosen{0};
    for (std::size_t slot = 1; slot < 128 && first + slot * stride < symbols; ++slot)
      if (luck.chance(2, 3) || first + (slot + 1) * stride >= symbols) chosen.push_back(slot);
    const auto layout = bench.layout(first, stride, chosen);
    std::vector<TransferRange> late;
    std::size_t missing = 0;
    for_each_symbol(layout, [&](std::size_t, TransferRange range) {
      switch (luck.below(8)) {
        case 0:
          ++missing;
          return;
        case 1:  // a part of it
          ++missing;
          if (range.size() > 2) bench.arrive({range.begin + 1, range.begin + luck.between(2, range.size() - 1)});
          return;
        case 2:
          late.push_back(range);
          return;
        default:
          bench.arrive(range);
      }
    });
    const std::size_t repairs = std::min<std::size_t>(missing + luck.below(3), 128);
    std::uint64_t recovered = 0;
    for (std::size_t index = 0; index < repairs; ++index)
      recovered += bench.give(layout, static_cast<std::uint8_t>(index));
    for (const TransferRange& range : late)
      if (!bench.ranges.first_missing(range).empty()) bench.arrive(range);
    while (true) {
      const auto done = bench.decoder.poll(bench.ranges, bench.sink);
      if (done.empty()) break;
      recovered += bench.take(done);
    }
    for_each_symbol(layout,
                    [&](std::size_t, TransferRange range) { CHECK(bench.ranges.first_missing(range).empty()); });
    CHECK((recovered > 0 || missing == 0));
    CHECK(!bench.decoder.waits());
    CHECK(bench.decoder.memory() == 0);
    CHECK(bench.sink.overwritten() == 0);
  }
}

TEST_CASE("repair decoder: a flood of generations takes bounded memory, and later ones are decoded all the same") {
  Bench bench(8 * MiB);
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    const auto layout = bench.layout(i, 1, {0, 1, 2});
    const std::vector<std::byte> lie(symbol_size, std::byte{7});
    CHECK(bench.decoder.on_repair({.layout = layout, .repairs = 2, .index = 0, .symbol = lie}, bench.ranges, bench.sink)
              .empty());
    REQUIRE(bench.decoder.open_generations() <= RepairDecoder::generations_max);
    REQUIRE(bench.decoder.memory() <= RepairDecoder::memory_max);
  }
  for (std::uint8_t index = 0; index < 120; ++index)  // one generation alone
    (void)bench.give(bench.layout(0, 20, slots(128)), index);
  CHECK(bench.decoder.memory() <= RepairDecoder::memory_max);
  std::uint64_t recovered = 0;
  for (std::uint8_t index = 0; index < 3; ++index) recovered += bench.give(bench.layout(5'000, 1, {0, 1, 2}), index);
  CHECK(recovered == 3 * symbol_size);
}

TEST_CASE("repair decoder: the lanes of a transfer share what one lane may keep, and each keeps a generation's worth") {
  for (const std::size_t lanes : {1U, 2U, 8U, 64U}) {
    CAPTURE(lanes);
    Bench bench(8 * MiB);
    bench.decoder = RepairDecoder(lanes);
    for (std::uint8_t index = 0; index < 60; ++index)
      for (std::uint64_t first = 0; first < 60; ++first)
        (void)bench.decoder.on_repair({.layout = bench.layout(first, 60, slots(64)),
                                       .repairs = 128,
                                       .index = index,
                                       .symbol = std::vector<std::byte>(symbol_size)},
                                      bench.ranges, bench.sink);
    CHECK(bench.decoder.memory() <= std::max(RepairDecoder::memory_max / lanes, RepairDecoder::memory_least));
    CHECK(bench.decoder.memory() > 128 * KiB);
    CHECK(bench.decoder.crowded_out() > 0);
  }
}

TEST_CASE("repair decoder: generations of bytes that went to another lane are let go, others are decoded still") {
  Bench bench(2 * MiB);
  const auto gone = bench.layout(10, 1, {0, 1});
  const auto kept = bench.layout(800, 1, {0, 1});
  (void)bench.give(gone, 0);
  (void)bench.give(kept, 0);
  CHECK(bench.decoder.open_generations() == 2);
  bench.decoder.forget({{}, {1 * MiB}});
  CHECK(bench.decoder.open_generations() == 1);
  CHECK(bench.decoder.memory() == symbol_size);
  CHECK(bench.give(kept, 1) == 2 * symbol_size);
}

TEST_CASE("repair decoder: symbols of jumbo generations never pass the memory bound") {
  Bench bench(16 * MiB);
  const SymbolGrid grid{65'472};
  RepairLayout layout{.base = {0}, .size = 65'472, .stride = 1, .last = 65'472, .mask = {}};
  for (std::size_t slot = 0; slot < 128; ++slot) layout.mask.add(slot);
  layout.last = static_cast<std::uint16_t>(grid.end_of(127) - grid.begin_of(127));
  const std::vector<std::byte> symbol(65'472);
  for (std::uint8_t index = 0; index < 127; ++index) {
    (void)bench.decoder.on_repair({.layout = layout, .repairs = 128, .index = index, .symbol = symbol}, bench.ranges,
                                  bench.sink);
    REQUIRE(bench.decoder.memory() <= RepairDecoder::memory_max);
  }
}

TEST_CASE("repair decoder: what a jumbo generation is computed with goes back, what usual ones need is kept") {
  Bench bench(16 * MiB);
  const auto decode = [&](std::uint16_t size) {
    const SymbolGrid grid{size};
    RepairLayout layout{.base = {grid.begin_of(0)}, .size = size, .stride = 1, .last = size, .mask = {}};
    for (std::size_t slot = 0; slot < 60; ++slot) layout.mask.add(slot);
    layout.last = static_cast<std::uint16_t>(grid.end_of(59) - grid.begin_of(59));
    for (std::size_t slot = 0; slot < 30; ++slot)
      for (auto rest = bench.ranges.first_missing(layout.bytes_of(slot)); !rest.empty();
           rest = bench.ranges.first_missing(layout.bytes_of(slot)))
        bench.arrive(rest);
    std::uint64_t recovered = 0;
    for (std::uint8_t index = 0; index < 30; ++index) recovered += bench.give(layout, index);
    return recovered;
  };
  CHECK(decode(1410) == 30 * 1410);
  const std::size_t usual = bench.decoder.scratch();
  CHECK(usual > 0);
  bench.decoder.rest();
  CHECK(bench.decoder.scratch() == usual);
  CHECK(decode(60'000) > MiB);
  CHECK(bench.decoder.scratch() > RepairDecoder::scratch_kept);
  bench.decoder.rest();
  CHECK(bench.decoder.scratch() == 0);
}

TEST_CASE("repair decoder: overlapping generations of different symbol sizes do not disturb each other") {
  Bench bench(1 * MiB);
  RepairLayout small{.base = {0}, .size = 100, .stride = 1, .last = 100, .mask = {}};
  for (std::size_t slot = 0; slot < 100; ++slot) small.mask.add(slot);
  const auto large = bench.layout(0, 1, slots(10));
  for (std::uint64_t at = 0; at < 10 * symbol_size; at += 10)  // every second ten bytes of all
    if (at / 10 % 2 == 0) bench.arrive({{at}, {at + 10}});
  std::uint64_t recovered = 0;
  for (std::uint8_t index = 0; index < 9; ++index) recovered += bench.give(large, index);
  CHECK(recovered == 0);
  for (std::uint8_t index = 0; index < 100; ++index) recovered += bench.give(small, index);
  CHECK(recovered == 5'000);
  recovered += bench.give(large, 9);
  // What the small ones brought is not recovered again.
  for (auto done = bench.decoder.poll(bench.ranges, bench.sink); !done.empty();
       done = bench.decoder.poll(bench.ranges, bench.sink))
    recovered += bench.take(done);
  CHECK(recovered == 5 * symbol_size);
  CHECK(bench.sink.overwritten() == 0);
}

TEST_CASE("repair decoder: without the other symbols in memory nothing is decoded, and nothing is kept") {
  Bench bench(1 * MiB);
  const auto layout = bench.layout(0, 1, slots(4));
  bench.ranges.withhold({{0}, {symbol_size}});  // here from an earlier run, and in no memory
  bench.arrive({{symbol_size}, {3 * symbol_size}});
  CHECK(bench.give(layout, 0) == 0);
  CHECK(bench.decoder.undecodable() == 1);
  CHECK(!bench.decoder.waits());
}

TEST_CASE("held report: tells each recovered byte in six ACKs, at most 24 ranges in one, and then no more") {
  ReceivedRanges ranges(1 * GiB);
  ranges.expect({1 * GiB});
  HeldReport report;
  std::map<std::uint64_t, int> told;
  for (std::uint64_t i = 0; i < 100; ++i) {
    REQUIRE(ranges.accept({{i * 1000}, {i * 1000 + 10}}));
    report.on_recovered({i * 1000});
  }
  for (int ack = 0; ack < 100; ++ack) {
    const HeldData held = report.next(ranges);
    if (held.ranges.empty()) break;
    CHECK(held.recovered == 100);
    REQUIRE(held.ranges.size() <= HeldReport::ranges_told_max);
    REQUIRE(std::is_sorted(held.ranges.begin(), held.ranges.end()));
    for (const TransferRange& range : held.ranges) ++told[range.begin.value];
    report.on_told();
  }
  CHECK(told.size() == 100);
  for (const auto& [begin, times] : told) CHECK(times == HeldReport::repeats);
  CHECK(report.next(ranges).ranges.empty());
}

TEST_CASE("held report: what lies around grows with what is recovered, and what is thrown away is not told") {
  ReceivedRanges ranges(1 * GiB);
  ranges.expect({1 * GiB});
  HeldReport report;
  REQUIRE(ranges.accept({{0}, {100}}));
  REQUIRE(ranges.accept({{100}, {110}}));
  report.on_recovered({100});
  REQUIRE(report.next(ranges).ranges.size() == 1);
  CHECK(report.next(ranges).ranges.front() == TransferRange{{0}, {110}});
  ranges.forget({{100}, {110}});
  CHECK(report.next(ranges).ranges.empty());
}

}  // namespace penstock::engine
