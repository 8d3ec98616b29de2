#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/bytes/wire_reader.h"
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

/// What a peer's words about the stream make its driver do (control/session/data_switch.h), or our own end does of
/// itself: go over to the stream, and back.
class Stream {
 public:
  explicit Stream(Sender& sender) : sender_(sender) {}

  void on_step(TimePoint now, std::span<const std::byte> plain) {
    bytes::WireReader in(plain);
    switch (in.u8() % 5) {
      case 0:
        sender_.go_by_stream();
        by_stream_ = true;
        break;
      case 1:
        sender_.go_by_datagrams();
        by_stream_ = false;
        break;
      case 2: {  // DataSwitched: ranges and credit
        if (!by_stream_) break;
        const CreditFrame credit = read_credit(in);
        std::uint64_t end = 0;
        while (in.remaining() > 0) {
          const std::uint64_t gap = in.varint();
          const std::uint64_t size = in.varint();
          // As decode_holdings lets through.
          if (!in.ok() || size == 0 || gap > transfer_space_max - end || size > transfer_space_max - end - gap) break;
          sender_.on_held({{end + gap}, {end + gap + size}});
          end += gap + size;
        }
        sender_.on_credit(credit);
        break;
      }
      case 3: {  // DataAck, which a peer may send at any time
        StreamAck ack;
        ack.messages = in.varint();
        ack.credit = read_credit(in);
        while (in.remaining() > 0) ack.refused.push_back(in.varint());
        sender_.on_stream_ack(now, ack);
        break;
      }
      default:
        sender_.ping();
    }
  }

  /// Takes what may leave, as long as there is room for it.
  void drain(TimePoint now, SourceWindow& window) {
    for (int messages = 0; messages < 16; ++messages) {
      const auto chunk = sender_.poll_stream(now, window, stream_payload_usual);
      if (!chunk) return;
      PENSTOCK_CHECK(by_stream_ && !chunk->payload.empty() && chunk->payload.size() <= stream_payload_usual);
      PENSTOCK_CHECK(chunk->at.value + chunk->payload.size() <= transfer_bytes);
      PENSTOCK_CHECK(chunk->at.value / slab_size == (chunk->at.value + chunk->payload.size() - 1) / slab_size);
    }
    sender_.on_stream_full(now);
  }

 private:
  static CreditFrame read_credit(bytes::WireReader& in) {
    const std::uint64_t credit = in.u64();
    return {.credit = credit, .offset_limit = {std::min(in.u64(), transfer_space_max)}};
  }

  Sender& sender_;
  bool by_stream_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::SealedScript script(std::as_bytes(std::span(data, size)), fuzz::peer_keys(fuzz::Victim::sender));
  Sender sender({.initial_rtt = std::chrono::milliseconds{10},
                 .initial_credit = 256 * KiB,
                 .key_update_packets = 64,
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
  Stream stream(sender);
  const auto drain = [&] {
    std::size_t batches = 0;
    while (const auto out = sender.poll_transmit(now, source, buffer)) {
      PENSTOCK_CHECK(out->size > 0 && out->size <= buffer.size() && out->segment_size <= udp_payload_min);
      PENSTOCK_CHECK(++batches < 4096);
    }
    stream.drain(now, source);
  };
  drain();
  while (auto step = script.next()) {
    now += step->wait;
    if (step->datagram.empty()) {
      stream.on_step(now, step->plain);
    } else {
      const auto outcome = sender.handle_datagrams(now, step->datagram, step->datagram.size());
      fuzz::follow_address(sender, now, *step, outcome);
    }
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
