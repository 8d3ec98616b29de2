#include "dataplane/engine/fec/repair_book.h"

#include <doctest/doctest.h>

#include <deque>
#include <vector>

#include "common/random.h"
#include "dataplane/engine/ranges/range_scheduler.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

TEST_CASE("repair book: of what is asked for anew no generation speaks any more, and nothing waits for it") {
  constexpr std::size_t datagram = 1472;
  const std::uint64_t symbol = symbol_size_for(datagram);
  const SymbolGrid grid{symbol};
  const auto symbol_range = [&](std::uint64_t number) {
    return TransferRange{{grid.begin_of(number)}, {grid.end_of(number)}};
  };
  test::VectorSource source(test::random_bytes(1, 40 * symbol));
  RangeScheduler scheduler(ChunkOrder::sequential, 1 * GiB, Rng{1});
  scheduler.offer({40 * symbol});
  scheduler.on_credit({.credit = 1 * GiB, .offset_limit = {40 * symbol}});
  while (const auto chunk = scheduler.next(symbol)) scheduler.on_sent(*chunk, chunk->length);
  RepairBook book({.mode = FecMode::fixed, .sources = 20, .repairs = 4});
  book.on_ratio({.sources = 20, .repairs = 4, .loss_ppm = 0, .window = 1 * MiB});
  book.protect_rest(scheduler, datagram, 50ms);  // even symbols, and odd ones
  std::vector<TransferRange> repeat;
  book.on_lost(symbol_range(2), repeat);
  book.on_lost(symbol_range(3), repeat);
  REQUIRE(repeat.empty());  // both can be recovered

  book.forget(symbol_range(4));
  scheduler.resend(symbol_range(4));
  REQUIRE(book.deadline());
  book.review(*book.deadline(), scheduler, 50ms, 100ms, repeat);
  CHECK(repeat == std::vector{symbol_range(2)});
  std::deque<Prefetch> wanted;
  std::size_t symbols_sent = 0;
  while (const auto repair = book.next(scheduler, source, datagram, wanted)) {
    CHECK_FALSE(repair->frame.layout.touches(symbol_range(4)));
    book.on_sent(TimePoint{}, *repair);
    CHECK(book.parity_memory() == (++symbols_sent < 4 ? 4 * symbol : 0));
  }
  CHECK(symbols_sent == 4);
}

}  // namespace
}  // namespace penstock::engine
