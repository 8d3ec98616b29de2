#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/check.h"
#include "common/random.h"
#include "dataplane/engine/receiver.h"
#include "tests/fuzz/engine/sealed_script.h"

namespace {

using namespace penstock;
using namespace penstock::engine;

constexpr std::uint64_t manifest_bytes = 3 * MiB;
constexpr std::uint64_t sink_room = 1 * MiB;

/// Checks what the receiver promises its sink: each byte once, never beyond the manifest, within one slab a call.
class CheckingSink final : public SinkWindow {
 public:
  std::span<std::byte> lend(TransferOffset at, std::size_t length) override {
    check_place(at, length);
    PENSTOCK_CHECK(!taken_.intersects({at.value, at.value + length}));
    if (!open_[at.value / slab_size]) return {};
    return std::span(memory_).subspan(at.value, length);
  }
  void commit(TransferOffset at, std::size_t length) override { take(at, length); }
  bool store(TransferOffset at, std::span<const std::byte> bytes) override {
    if (taken_.size() + bytes.size() > sink_room) return false;
    take(at, bytes.size());
    open_[at.value / slab_size] = true;
    std::copy(bytes.begin(), bytes.end(), memory_.begin() + static_cast<std::ptrdiff_t>(at.value));
    return true;
  }
  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    const auto run = taken_.find(at.value);
    if (!run) return {};
    return std::span(memory_).subspan(at.value, std::min<std::uint64_t>(run->end - at.value, length_max));
  }
  std::uint64_t room() const override { return sink_room - std::min(sink_room, taken_.size()); }
  void on_quiet() override {}

 private:
  static void check_place(TransferOffset at, std::size_t length) {
    PENSTOCK_CHECK(length > 0 && at.value / slab_size == (at.value + length - 1) / slab_size);
  }
  void take(TransferOffset at, std::size_t length) {
    check_place(at, length);
    PENSTOCK_CHECK(at.value + length <= manifest_bytes);
    PENSTOCK_CHECK(taken_.insert({at.value, at.value + length}).count == length);
  }

  // Forged offsets reach beyond the manifest: memory there is lent, as a careless sink might, and nothing is committed.
  // Its content does not matter, so that one block serves all inputs.
  static inline std::vector<std::byte> memory_ = std::vector<std::byte>(17 * MiB);
  std::vector<bool> open_ = std::vector<bool>(17);
  bytes::IntervalSet taken_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::SealedScript script(std::as_bytes(std::span(data, size)), fuzz::peer_keys(fuzz::Victim::receiver));
  Receiver receiver({.initial_credit = 256 * KiB, .key_update_packets = 16}, fuzz::victim_keys(fuzz::Victim::receiver),
                    Rng(1));
  CheckingSink sink;
  TimePoint now{};
  receiver.open_path(now);
  receiver.expect({manifest_bytes});
  receiver.withhold({{700'000}, {800'000}});
  receiver.on_repair_agreed({.sources = 128, .repairs = 10, .loss_ppm = 0, .window = 1 * MiB});
  (void)receiver.queue_control(std::as_bytes(std::span("hello", 5)));
  std::vector<std::byte> buffer(udp_payload_limit);
  std::uint64_t streamed = 0;
  while (auto step = script.next()) {
    now += step->wait;
    if (step->datagram.empty()) {
      // As take_data lets through: any place, any size but none.
      if (!step->plain.empty()) receiver.handle_stream(now, {step->offset}, step->plain, sink);
    } else {
      const auto outcome = receiver.handle_datagrams(now, step->datagram, step->datagram.size(), sink);
      fuzz::follow_address(receiver, now, *step, outcome);
    }
    if (const auto ack = receiver.poll_stream_ack(now, sink)) {
      PENSTOCK_CHECK(ack->messages >= streamed && ack->credit.offset_limit <= TransferOffset{manifest_bytes});
      streamed = ack->messages;
    }
    if (const auto due = receiver.poll_timeout(); due && *due <= now) receiver.handle_timeout(now);
    std::size_t answers = 0;
    while (receiver.poll_transmit(now, sink, buffer)) PENSTOCK_CHECK(++answers < 64);
    while (receiver.poll_event()) {
    }
    if (const auto due = receiver.poll_timeout(); due && *due <= now) {
      receiver.handle_timeout(now);
      while (receiver.poll_transmit(now, sink, buffer)) PENSTOCK_CHECK(++answers < 128);
      PENSTOCK_CHECK(!receiver.poll_timeout() || *receiver.poll_timeout() > now);
    }
  }
  return 0;
}
