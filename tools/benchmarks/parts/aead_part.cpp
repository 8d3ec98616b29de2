// Sealing and opening as the engine does it: packet by packet, header as AAD, from a slab straight into a batch of 44,
// and from a received batch straight into a slab.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/crypto/aead.h"
#include "common/crypto/nonce.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::benchmarks {
namespace {

constexpr std::size_t payload = 1400;  // what public figures of other stacks are given for
constexpr std::size_t batch = 44;
constexpr std::size_t header = engine::data_header_size;
constexpr std::size_t datagram = header + payload + crypto::aead_tag_size;
constexpr crypto::Nonce iv{};

class Batch {
 public:
  explicit Batch(const crypto::AeadBackend& backend)
      : key_(backend.make_key(std::array<std::byte, crypto::aead_key_size>{})), slab_(MiB), sealed_(batch * datagram) {}

  void seal() {
    place_ = place_ + batch * payload > slab_.size() ? 0 : place_;
    for (std::size_t i = 0; i < batch; ++i) {
      std::byte* const out = sealed_.data() + i * datagram;
      key_->seal(crypto::packet_nonce(iv, {number_++}), {out, header}, {slab_.data() + place_, payload}, out + header);
      place_ += payload;
    }
  }

  /// The batch that was sealed last, again and again. False: not authentic.
  bool open() {
    place_ = place_ + batch * payload > slab_.size() ? 0 : place_;
    bool good = true;
    for (std::size_t i = 0; i < batch; ++i) {
      const std::byte* const in = sealed_.data() + i * datagram;
      good &= key_->open(crypto::packet_nonce(iv, {number_ - batch + i}), {in, header},
                         {in + header, payload + crypto::aead_tag_size}, slab_.data() + place_);
      place_ += payload;
    }
    return good;
  }

 private:
  std::unique_ptr<crypto::AeadKey> key_;
  std::vector<std::byte> slab_;
  std::vector<std::byte> sealed_;
  std::size_t place_ = 0;
  std::uint64_t number_ = 0;
};

void count(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(batch * payload));
}

void seal(benchmark::State& state, const crypto::AeadBackend& backend) {
  Batch packets(backend);
  for (auto _ : state) packets.seal();
  count(state);
}

void open(benchmark::State& state, const crypto::AeadBackend& backend) {
  Batch packets(backend);
  packets.seal();
  for (auto _ : state) {
    if (!packets.open()) state.SkipWithError("a sealed batch did not open");
  }
  count(state);
}

const bool registered = [] {
  for (const crypto::AeadBackend* backend : crypto::aead_backends()) {
    const std::string name{backend->name()};
    benchmark::RegisterBenchmark(("aead_seal/" + name).c_str(), [backend](auto& state) { seal(state, *backend); });
    benchmark::RegisterBenchmark(("aead_open/" + name).c_str(), [backend](auto& state) { open(state, *backend); });
  }
  return true;
}();

}  // namespace
}  // namespace penstock::benchmarks
