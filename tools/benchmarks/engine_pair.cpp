// Moves bytes from a Sender to a Receiver in memory on one thread: what the engine and the cipher cost without sockets
// and disks. Usage: penstock_bench_engine [GiB] [UDP payload size] [backend]. Not a test.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "common/crypto/aead.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"

namespace {

using namespace penstock;
using namespace penstock::engine;

constexpr std::uint64_t store_size = 16 * MiB;  // of slabs in memory, used again and again

class RingSource final : public SourceWindow {
 public:
  RingSource() : bytes_(store_size) {}
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    const std::uint64_t begin = at.value % store_size;
    return std::span(bytes_).subspan(begin, std::min<std::uint64_t>(length_max, slab_size - begin % slab_size));
  }
  void prefetch(TransferRange) override {}
  void on_progress(TransferOffset, TransferOffset, std::uint64_t) override {}

 private:
  std::vector<std::byte> bytes_;
};

class RingSink final : public SinkWindow {
 public:
  RingSink() : bytes_(store_size) {}
  std::span<std::byte> lend(TransferOffset at, std::size_t length) override {
    return std::span(bytes_).subspan(at.value % store_size, length);
  }
  void commit(TransferOffset, std::size_t) override {}
  bool store(TransferOffset at, std::span<const std::byte> bytes) override {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at.value % store_size));
    return true;
  }
  std::uint64_t room() const override { return store_size; }
  void on_quiet() override {}

 private:
  std::vector<std::byte> bytes_;
};

LaneKeys keys_of(const crypto::AeadBackend* backend, bool sender) {
  const auto secret = [](int fill) {
    crypto::SecretArray<crypto::traffic_secret_size> bytes;
    std::fill(bytes.writable().begin(), bytes.writable().end(), static_cast<std::byte>(fill));
    return crypto::TrafficSecret(std::move(bytes));
  };
  return {.backend = backend,
          .send_secret = secret(sender ? 1 : 2),
          .receive_secret = secret(sender ? 2 : 1),
          .peer_id = ConnectionId{sender ? 2U : 1U},
          .own_id = ConnectionId{sender ? 1U : 2U}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t total = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4) * GiB;
  const std::size_t payload_size = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1472;
  const crypto::AeadBackend* backend = argc > 3 ? crypto::aead_backend_named(argv[3]) : crypto::aead_backends().front();
  if (backend == nullptr) {
    std::fprintf(stderr, "no such AEAD backend here\n");
    return 2;
  }
  Sender sender({.udp_payload_size = payload_size}, keys_of(backend, true), Rng(1));
  Receiver receiver({.udp_payload_size = payload_size}, keys_of(backend, false), Rng(2));
  RingSource source;
  RingSink sink;
  std::vector<std::byte> buffer(udp_payload_limit);

  const std::clock_t started = std::clock();  // processor time: what else the machine does is not counted
  const auto now = [] { return TimePoint{std::chrono::steady_clock::now().time_since_epoch()}; };
  sender.open_path(now());
  receiver.open_path(now());
  sender.offer({total});
  sender.finish({total});
  receiver.expect({total});
  receiver.finish({total});
  bool done = false;
  std::uint64_t batches = 0;
  while (!done) {
    const TimePoint at = now();
    if (const auto due = sender.poll_timeout(); due && *due <= at) sender.handle_timeout(at);
    if (const auto due = receiver.poll_timeout(); due && *due <= at) receiver.handle_timeout(at);
    while (const auto out = sender.poll_transmit(at, source, buffer)) {
      receiver.handle_datagrams(at, std::span(buffer).first(out->size), out->segment_size, sink);
      if (++batches % 8 == 0) break;  // acknowledgements get their turn
    }
    while (const auto out = receiver.poll_transmit(at, sink, buffer))
      sender.handle_datagrams(at, std::span(buffer).first(out->size), out->segment_size);
    while (const auto event = sender.poll_event()) done = done || std::holds_alternative<Drained>(*event);
    while (receiver.poll_event()) {
    }
  }
  const double seconds = static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC;
  const LaneStats& stats = sender.stats();
  std::printf(
      "%s: %.2f Gbit/s of payload on one core; %.0f ns a packet; %llu packets, %llu lost, %llu batches, cwnd %llu\n",
      std::string(backend->name()).c_str(), static_cast<double>(total) * 8 / seconds / 1e9,
      seconds * 1e9 / static_cast<double>(stats.packets_sent), static_cast<unsigned long long>(stats.packets_sent),
      static_cast<unsigned long long>(stats.packets_lost), static_cast<unsigned long long>(batches),
      static_cast<unsigned long long>(stats.cwnd));
  return 0;
}
