// What an arriving packet costs the receiver's bookkeeping, and what an acknowledgement costs a sender with a hundred
// thousand packets on their way, losses included.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "dataplane/engine/ack/ack_tracker.h"
#include "dataplane/engine/lane/recovery.h"

namespace penstock::benchmarks {
namespace {

using namespace penstock::engine;
using namespace std::chrono_literals;

constexpr std::uint64_t in_flight = 100'000;
constexpr std::size_t acked_at_once = 32;  // an ACK every 0.5 ms at 0.75 Gbit/s: small, so that the fixed cost shows
constexpr std::uint64_t datagram_size = 1471;

// Every `state.range(0)`-th packet never comes; 0: all do.
void ack_tracker_receive(benchmark::State& state) {
  const auto missing = static_cast<std::uint64_t>(state.range(0));
  AckTracker tracker;
  TimePoint now{1s};
  std::uint64_t number = 0;
  for (auto _ : state) {
    ++number;
    if (missing == 0 || number % missing != 0) tracker.on_packet_received(now, {number}, true);
    if (number % acked_at_once == 0) {
      now += 500us;
      tracker.on_ack_sent(now);
      benchmark::DoNotOptimize(tracker.floor(now, 50ms));
    }
    if (number % in_flight == 0) tracker.on_oldest_needed({number});
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ack_tracker_receive)->ArgName("missing_every")->Arg(0)->Arg(100)->Arg(10);

/// A sender that keeps in_flight packets on their way; the peer acknowledges the oldest ones.
class Flight {
 public:
  explicit Flight(std::uint64_t lost_every) : lost_every_(lost_every) {
    while (waiting_.size() < in_flight) send(acked_at_once);
  }

  void send(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const PacketNumber number = recovery_.take_number();
      recovery_.on_packet_sent({.sent_at = now_,
                                .offset = offset_,
                                .length = 1436,
                                .size = static_cast<std::uint16_t>(datagram_size),
                                .kind = SentKind::data});
      offset_ += 1436;
      waiting_.push_back(number.value);
    }
    recovery_.on_batch_sent(now_, count, count * datagram_size);
    now_ += 20us;
  }

  /// One ACK of the oldest, which repeats `repeated` ranges of before. False: refused.
  bool acknowledge(std::size_t repeated) {
    for (std::size_t i = 0; i < acked_at_once; ++i) {
      const std::uint64_t number = waiting_.front();
      waiting_.pop_front();
      if (lost_every_ != 0 && ++arrived_ % lost_every_ == 0) continue;
      if (!history_.empty() && history_.front().largest.value + 1 == number) {
        history_.front().largest = {number};
      } else {
        history_.push_front({{number}, {number}});
      }
    }
    if (history_.size() > repeated + 1) history_.resize(repeated + 1);
    ranges_.assign(history_.begin(), history_.end());
    news_.clear();
    const AckFrame frame{.fields = {.delay = 100us}, .largest = ranges_.front().largest, .ranges = ranges_};
    return recovery_.on_ack(now_, frame, news_);
  }

 private:
  std::uint64_t lost_every_;
  std::uint64_t arrived_ = 0;
  std::uint64_t offset_ = 0;
  TimePoint now_{1s};
  Recovery recovery_{{.datagram_size = datagram_size,
                      .initial_rtt = 50ms,
                      .congestion = Congestion::fixed,
                      .rate = DataRate::megabits_per_second(40'000)},
                     Rng{1}};
  std::deque<std::uint64_t> waiting_;
  std::deque<AckRange> history_;  // newest first, as an ACK has them
  std::vector<AckRange> ranges_;
  DeliveryNews news_;
};

// An item is a packet: sent, and acknowledged or lost. lost_every 0: none is. repeated: ranges that the ACK tells
// again.
void loss_detection(benchmark::State& state) {
  Flight flight(static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state) {
    flight.send(acked_at_once);
    if (!flight.acknowledge(static_cast<std::size_t>(state.range(1)))) {
      state.SkipWithError("an honest ACK was refused");
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(acked_at_once));
}
BENCHMARK(loss_detection)
    ->ArgNames({"lost_every", "repeated"})
    ->Args({0, 0})
    ->Args({100, 0})
    ->Args({100, 200})
    ->Args({10, 200});

}  // namespace
}  // namespace penstock::benchmarks
