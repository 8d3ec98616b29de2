// Sender and receiver in memory on one thread: engine and cipher without kernel and disks.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/engine/blank_windows.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "tools/benchmarks/parts/lane_keys.h"

namespace penstock::benchmarks {
namespace {

using namespace penstock::engine;

constexpr std::uint64_t total = 64 * MiB;
constexpr int batches_a_turn = 8;

TimePoint now() { return TimePoint{std::chrono::steady_clock::now().time_since_epoch()}; }

bool is_drained(const SenderEvent& event) { return std::holds_alternative<Drained>(event); }

void move(const crypto::AeadBackend& backend, std::size_t payload_size, std::vector<std::byte>& buffer) {
  PairKeys keys = make_pair_keys(backend);
  Sender sender({.udp_payload_size = payload_size}, std::move(keys.sender), Rng(1));
  Receiver receiver({.udp_payload_size = payload_size}, std::move(keys.receiver), Rng(2));
  BlankSource source;
  DiscardSink sink;
  sender.open_path(now());
  receiver.open_path(now());
  sender.offer({total});
  sender.finish({total});
  receiver.expect({total});
  receiver.finish({total});
  for (bool done = false; !done;) {
    const TimePoint at = now();
    if (const auto due = sender.poll_timeout(); due && *due <= at) sender.handle_timeout(at);
    if (const auto due = receiver.poll_timeout(); due && *due <= at) receiver.handle_timeout(at);
    for (int i = 0; i < batches_a_turn; ++i) {
      const auto out = sender.poll_transmit(at, source, buffer);
      if (!out) break;
      receiver.handle_datagrams(at, std::span(buffer).first(out->size), out->segment_size, sink);
    }
    while (const auto out = receiver.poll_transmit(at, sink, buffer)) {
      sender.handle_datagrams(at, std::span(buffer).first(out->size), out->segment_size);
    }
    while (const auto event = sender.poll_event()) done = done || is_drained(*event);
    while (receiver.poll_event()) {
    }
  }
}

void engine_pair(benchmark::State& state, const crypto::AeadBackend& backend, std::size_t payload_size) {
  std::vector<std::byte> buffer(udp_payload_limit);
  for (auto _ : state) move(backend, payload_size, buffer);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(total));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(total / (payload_size - packet_overhead_max)));
}

const bool registered = [] {
  for (const crypto::AeadBackend* backend : crypto::aead_backends()) {
    for (const std::size_t size : {std::size_t{1472}, std::size_t{8972}}) {
      benchmark::RegisterBenchmark(
          ("engine_pair/" + std::string{backend->name()} + "/payload:" + std::to_string(size)).c_str(),
          [backend, size](auto& state) { engine_pair(state, *backend, size); })
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace penstock::benchmarks
