// The range scheduler: which bytes leave next, with and without repeats.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <deque>

#include "dataplane/engine/ranges/range_scheduler.h"

namespace penstock::benchmarks {
namespace {

using namespace penstock::engine;

constexpr std::uint64_t payload = 1436;
constexpr std::size_t in_flight = 10'000;

// An item is a chunk: chosen, sent, and later acknowledged, or lost and sent again. lost_every 0: none is.
void range_scheduler(benchmark::State& state) {
  const auto lost_every = static_cast<std::uint64_t>(state.range(0));
  RangeScheduler scheduler(ChunkOrder::sequential, 0, Rng{1});
  scheduler.offer({transfer_space_max});
  scheduler.on_credit({.credit = transfer_space_max, .offset_limit = {transfer_space_max}});
  std::deque<TransferRange> on_their_way;
  std::uint64_t sent = 0;
  for (auto _ : state) {
    const auto chunk = scheduler.next(payload);
    if (!chunk) {
      state.SkipWithError("nothing to send");
      break;
    }
    scheduler.on_sent(*chunk, chunk->length);
    on_their_way.push_back({chunk->at, chunk->at + chunk->length});
    if (on_their_way.size() < in_flight) continue;
    const TransferRange oldest = on_their_way.front();
    on_their_way.pop_front();
    if (lost_every != 0 && ++sent % lost_every == 0) {
      scheduler.on_lost(oldest);
    } else {
      scheduler.on_acked(oldest);
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(range_scheduler)->ArgName("lost_every")->Arg(0)->Arg(100)->Arg(10);

}  // namespace
}  // namespace penstock::benchmarks
