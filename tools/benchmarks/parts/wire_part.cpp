// The codec: the clear header of a datagram, and acknowledgements in both forms.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <vector>

#include "common/bytes/wire_writer.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "dataplane/engine/wire/packet_header.h"

namespace penstock::benchmarks {
namespace {

using namespace penstock::engine;

constexpr PacketHeader header{
    .type = PacketType::data, .epoch_bits = 1, .connection = {42}, .number_low = 7, .offset = {5 * MiB}};
constexpr std::size_t datagram_size = 1471;

void header_encode(benchmark::State& state) {
  std::array<std::byte, datagram_size> out{};
  for (auto _ : state) {
    encode_packet_header(header, out);
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(header_encode);

void header_decode(benchmark::State& state) {
  std::array<std::byte, datagram_size> datagram{};
  encode_packet_header(header, datagram);
  for (auto _ : state) {
    benchmark::DoNotOptimize(datagram);
    auto decoded = decode_packet_header(datagram);
    benchmark::DoNotOptimize(decoded);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(header_decode);

/// So many ranges, of `length` numbers each, with one missing between two of them.
std::vector<bytes::Interval> holes(std::int64_t count, std::uint64_t length) {
  std::vector<bytes::Interval> received;
  for (std::uint64_t at = 1; received.size() < static_cast<std::size_t>(count); at += length + 1) {
    received.push_back({at, at + length});
  }
  return received;
}

// Short ranges make a bitmap of it, long ones a list.
void ack_encode(benchmark::State& state) {
  const auto received = holes(state.range(0), static_cast<std::uint64_t>(state.range(1)));
  std::array<std::byte, datagram_size> out{};
  for (auto _ : state) {
    bytes::WireWriter writer(out);
    benchmark::DoNotOptimize(encode_ack(writer, out.size(), {}, received, {0}));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ack_encode)->ArgNames({"ranges", "length"})->Args({1, 1000})->Args({100, 3})->Args({100, 100});

void ack_decode(benchmark::State& state) {
  const auto received = holes(state.range(0), static_cast<std::uint64_t>(state.range(1)));
  std::array<std::byte, datagram_size> out{};
  bytes::WireWriter writer(out);
  encode_ack(writer, out.size(), {}, received, {0});
  const auto body = writer.written().subspan(frame_header_size);
  std::vector<AckRange> ranges;
  for (auto _ : state) {
    if (!decode_ack(body, ranges)) state.SkipWithError("an ACK of ours is malformed");
    benchmark::DoNotOptimize(ranges.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ack_decode)->ArgNames({"ranges", "length"})->Args({1, 1000})->Args({100, 3})->Args({100, 100});

}  // namespace
}  // namespace penstock::benchmarks
