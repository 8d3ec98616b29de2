#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/check.h"
#include "common/random.h"
#include "dataplane/engine/sender.h"
#include "tests/fuzz/engine/sealed_script.h"

namespace {

using namespace penstock;
using namespace penstock::engine;

constexpr std::uint64_t transfer_bytes = 2 * MiB + 77;

class ZeroSource final : public SourceWindow {
 public:
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    PENSTOCK_CHECK(at.value < transfer_bytes);
    return std::span(memory_).first(
        std::min<std::uint64_t>({length_max, slab_size - at.value % slab_size, transfer_bytes - at.value}));
  }
  void prefetch(TransferRange) override {}
  void on_progress(TransferOffset, TransferOffset, std::uint64_t) override {}

 private:
  std::vector<std::byte> memory_ = std::vector<std::byte>(slab_size);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::SealedScript script(std::as_bytes(std::span(data, size)), fuzz::peer_keys(fuzz::Victim::sender));
  Sender sender({.initial_rtt = std::chrono::milliseconds{10},
                 .initial_credit = 256 * KiB,
                 .fec = {.mode = FecMode::fixed, .sources = 20, .repairs = 3}},
                fuzz::victim_keys(fuzz::Victim::sender), Rng(1));
  static ZeroSource source;
  TimePoint now{};
  sender.open_path(now);
  sender.on_repair_agreed({.sources = 20, .repairs = 3, .loss_ppm = 0, .window = 1 * MiB});
  sender.offer({transfer_bytes});
  sender.finish({transfer_bytes});
  (void)sender.queue_control(std::as_bytes(std::span("hello", 5)));
  std::vector<std::byte> buffer(udp_payload_limit);
  const auto drain = [&] {
    std::size_t batches = 0;
    while (const auto out = sender.poll_transmit(now, source, buffer)) {
      PENSTOCK_CHECK(out->size > 0 && out->size <= buffer.size() && out->segment_size <= udp_payload_min);
      PENSTOCK_CHECK(++batches < 4096);
    }
  };
  drain();
  while (auto step = script.next()) {
    now += step->wait;
    sender.handle_datagrams(now, step->datagram, step->datagram.size());
    if (const auto due = sender.poll_timeout(); due && *due <= now) sender.handle_timeout(now);
    drain();
    while (sender.poll_event()) {
    }
    if (const auto due = sender.poll_timeout(); due && *due <= now) {
      sender.handle_timeout(now);
      drain();
      PENSTOCK_CHECK(!sender.poll_timeout() || *sender.poll_timeout() > now);
    }
    PENSTOCK_CHECK(sender.oldest_unacknowledged() <= TransferOffset{transfer_bytes});
    PENSTOCK_CHECK(sender.frontier() <= TransferOffset{transfer_bytes});
  }
  return 0;
}
