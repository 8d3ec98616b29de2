// Two workers of one process over loopback, with windows that hold nothing: the driver and the kernel without disks.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <utility>
#include <variant>

#include "dataplane/engine/blank_windows.h"
#include "dataplane/io/path_mtu.h"
#include "dataplane/io/worker.h"
#include "tools/benchmarks/parts/lane_keys.h"

namespace penstock::benchmarks {
namespace {

constexpr std::uint64_t total = 256 * MiB;

/// Tells when all is acknowledged, or that it never will be.
class End final : public io::LaneObserver {
 public:
  void on_event(const engine::SenderEvent& event) override {
    if (const auto* drained = std::get_if<engine::Drained>(&event); drained != nullptr && drained->end.value == total) {
      tell(true);
    } else if (std::holds_alternative<engine::Closed>(event)) {
      tell(false);
    }
  }
  void on_lane_gone() override { tell(false); }
  [[nodiscard]] std::future<bool> future() { return promise_.get_future(); }

 private:
  void tell(bool well) {
    if (!std::exchange(told_, true)) promise_.set_value(well);
  }
  std::promise<bool> promise_;
  bool told_ = false;
};

bool move(io::Worker& sending, io::Worker& receiving, std::uint64_t lane, const engine::SenderConfig& sender_config,
          const engine::ReceiverConfig& receiver_config) {
  PairKeys keys = make_pair_keys(*crypto::aead_backends().front(), lane);
  engine::Receiver receiver{receiver_config, std::move(keys.receiver), Rng{1}};
  receiver.expect({total});
  receiver.finish({total});
  engine::Sender sender{sender_config, std::move(keys.sender), Rng{2}};
  sender.offer({total});
  sender.finish({total});
  const auto end = std::make_shared<End>();
  auto over = end->future();
  receiving.add_receiver(keys.receiver_id, std::move(receiver), std::make_shared<engine::DiscardSink>(), std::nullopt,
                         std::make_shared<io::LaneObserver>());
  sending.add_sender(keys.sender_id, std::move(sender), std::make_shared<engine::BlankSource>(),
                     receiving.local_endpoints().front(), end);
  const bool well = over.get();
  sending.remove(keys.sender_id);
  receiving.remove(keys.receiver_id);
  return well;
}

// range(0): UDP payload; range(1): GSO and GRO.
void worker_pair(benchmark::State& state) {
  io::WorkerConfig receiving_config;
  receiving_config.socket.gso = receiving_config.socket.gro = state.range(1) != 0;
  io::WorkerConfig sending_config = receiving_config;
  receiving_config.listen = {io::Endpoint::v4({127, 0, 0, 1}, 0)};
  auto receiving = io::Worker::create(receiving_config);
  auto sending = io::Worker::create(sending_config);
  if (!receiving || !sending) {
    state.SkipWithError("no socket");
    return;
  }
  const auto size = static_cast<std::size_t>(state.range(0));
  const auto rtt = std::chrono::milliseconds{1};
  std::uint64_t lane = 0;
  for (auto _ : state) {
    if (!move(**sending, **receiving, lane++, {.udp_payload_size = size, .initial_rtt = rtt},
              {.udp_payload_size = size, .initial_rtt = rtt})) {
      state.SkipWithError("the lane was closed");
      break;
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(total));
}
BENCHMARK(worker_pair)
    ->ArgNames({"payload", "offload"})
    ->Args({1472, 1})
    ->Args({1472, 0})
    ->Args({8972, 1})
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

}  // namespace
}  // namespace penstock::benchmarks
