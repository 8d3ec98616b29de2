// What a stranger who garbles datagrams, and a peer who has the keys and keeps no rules, can not do to a lane; and that
// no nonce is used twice.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/bytes/wire_writer.h"
#include "common/crypto/nonce.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "dataplane/engine/wire/frames.h"
#include "dataplane/engine/wire/packet_header.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine::test {
namespace {

/// A peer that has the keys and keeps no rules: seals whatever it is given.
class Forger {
 public:
  explicit Forger(LaneKeys keys) : keys_(std::move(keys)), packet_keys_(keys_.send_secret.packet_keys()) {
    key_ = keys_.backend->make_key(packet_keys_.key.view());
  }
  std::vector<std::byte> data(std::uint64_t number, TransferOffset at, std::span<const std::byte> payload) {
    return seal({.type = PacketType::data,
                 .connection = keys_.peer_id,
                 .number_low = static_cast<std::uint32_t>(number),
                 .offset = at},
                number, payload);
  }
  template <class Encode>
  std::vector<std::byte> frames(std::uint64_t number, Encode encode) {
    std::vector<std::byte> plain(1400);
    bytes::WireWriter out(plain);
    encode(out);
    REQUIRE(out.ok());
    return seal(
        {.type = PacketType::frames, .connection = keys_.peer_id, .number_low = static_cast<std::uint32_t>(number)},
        number, out.written());
  }

 private:
  std::vector<std::byte> seal(const PacketHeader& header, std::uint64_t number, std::span<const std::byte> plain) {
    const std::size_t size = header_size(header.type);
    std::vector<std::byte> datagram(size + plain.size() + crypto::aead_tag_size);
    encode_packet_header(header, datagram);
    key_->seal(crypto::packet_nonce(packet_keys_.iv, {number}), std::span<const std::byte>(datagram).first(size), plain,
               datagram.data() + size);
    return datagram;
  }
  LaneKeys keys_;
  crypto::PacketKeys packet_keys_;
  std::unique_ptr<crypto::AeadKey> key_;
};

struct AttackedReceiver {
  explicit AttackedReceiver(std::uint64_t expected = 4 * MiB, std::uint64_t initial_credit = 1 * MiB)
      : receiver({.initial_credit = initial_credit}, make_keys().receiver, Rng(1)),
        sink(4 * MiB),
        forger(make_keys().sender) {
    receiver.open_path({});
    receiver.expect({expected});
  }
  BatchOutcome hear(std::vector<std::byte> datagram) {
    return receiver.handle_datagrams(TimePoint{1ms}, datagram, datagram.size(), sink);
  }
  std::optional<TransportError> closed() {
    while (const auto event = receiver.poll_event())
      if (const auto* over = std::get_if<Closed>(&*event)) return over->error;
    return std::nullopt;
  }
  Receiver receiver;
  VectorSink sink;
  Forger forger;
};

}  // namespace

TEST_CASE("engine: no nonce is used twice in three million packets across key updates") {
  // The packet number alone makes the nonce within an epoch, and keys differ between epochs: so numbers strictly ascend
  // and the epoch bits move on by one at a time.
  SenderConfig config{.congestion = Congestion::fixed, .rate = DataRate::megabits_per_second(100'000)};
  config.key_update_packets = 100'000;
  Pair pair({.sender = config, .one_way = 50us, .size = 0});
  class Endless final : public SourceWindow {
   public:
    std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
      return std::span<const std::byte>(bytes_).first(
          std::min<std::uint64_t>(length_max, slab_size - at.value % slab_size));
    }
    void prefetch(TransferRange) override {}
    void on_progress(TransferOffset, TransferOffset, std::uint64_t) override {}

   private:
    std::vector<std::byte> bytes_ = std::vector<std::byte>(slab_size);
  } source;
  Forger forger(make_keys().receiver);
  Sender sender(config, make_keys().sender, Rng(9));
  sender.open_path({});
  sender.offer({8 * GiB});
  TimePoint now{};
  std::vector<std::byte> buffer(udp_payload_limit);
  std::optional<std::uint64_t> last;
  std::uint64_t packets = 0;
  std::uint64_t updates = 0;
  std::uint8_t epoch = 0;
  std::uint64_t acks = 0;
  bytes::IntervalSet arrived;
  while (packets < 3'000'000) {
    while (const auto out = sender.poll_transmit(now, source, buffer)) {
      for (std::size_t at = 0; at < out->size; at += out->segment_size) {
        const auto header = decode_packet_header(
            std::span<const std::byte>(buffer).subspan(at, std::min(out->segment_size, out->size - at)));
        REQUIRE(header.ok());
        const PacketNumber number =
            last ? reconstruct_packet_number(header->number_low, {*last}) : PacketNumber{header->number_low};
        if (last) REQUIRE(number.value > *last);
        last = number.value;
        if (header->epoch_bits != epoch) {
          REQUIRE(header->epoch_bits == ((epoch + 1) & 3));
          epoch = header->epoch_bits;
          ++updates;
        }
        arrived.insert({number.value, number.value + 1});
        ++packets;
      }
    }
    auto ack = forger.frames(acks++, [&](bytes::WireWriter& out) {
      encode_ack(out, 1000, {.credit = {8 * GiB, {8 * GiB}}}, arrived.intervals(), {0});
    });
    if (arrived.interval_count() > 30) arrived.erase_below(arrived.intervals()[20].begin);
    now += 1ms;
    sender.handle_datagrams(now, ack, ack.size());
    if (const auto due = sender.poll_timeout(); due && *due <= now) sender.handle_timeout(now);
  }
  CHECK(updates >= 25);
  CHECK(sender.stats().key_updates == updates);
}

TEST_CASE("engine: a replayed datagram is dropped before it is opened") {
  AttackedReceiver victim;
  const auto datagram = victim.forger.data(0, {0}, random_bytes(1, 1000));
  CHECK(victim.hear(datagram).authentic == 1);
  CHECK(victim.hear(datagram).authentic == 0);
  CHECK(victim.receiver.stats().packets_duplicate == 1);
  CHECK(victim.receiver.stats().payload_bytes_received == 1000);
}

TEST_CASE("engine: any flipped bit of a datagram is refused, and none of its bytes accepted") {
  AttackedReceiver victim;
  const auto payload = random_bytes(1, 40);
  for (const bool data : {true, false}) {
    const auto datagram =
        data ? victim.forger.data(7, {0}, payload) : victim.forger.frames(8, [](auto& out) { encode_ping(out); });
    for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
      auto flipped = datagram;
      flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      CHECK(victim.hear(flipped).authentic == 0);
    }
  }
  CHECK(victim.receiver.stats().payload_bytes_received == 0);
  CHECK(victim.receiver.stats().packets_received == 0);
  CHECK(victim.hear(victim.forger.data(7, {0}, payload)).authentic == 1);
}

TEST_CASE("engine: forged offsets never alter a byte that was accepted") {
  AttackedReceiver victim;
  const auto payload = random_bytes(1, 1000);
  for (std::uint64_t i = 0; i < 50; ++i) victim.hear(victim.forger.data(i, {i * 1000}, payload));
  const auto before = victim.sink.bytes();
  Rng rng(5);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    auto forged = victim.forger.data(1000 + i, {0}, random_bytes(i, 1 + rng.below(1400)));
    const std::uint64_t at = rng.below(60'000);  // the offset is changed after sealing
    for (std::size_t k = 0; k < 6; ++k) forged[13 + k] = static_cast<std::byte>(at >> (8 * (5 - k)) & 0xff);
    if (at == 0) continue;
    CHECK(victim.hear(forged).authentic == 0);
  }
  CHECK(std::equal(before.begin(), before.begin() + 50'000, victim.sink.bytes().begin()));
  // Authentic bytes do not replace accepted ones either: only what is missing is taken.
  victim.hear(victim.forger.data(5000, {49'500}, random_bytes(77, 1000)));
  CHECK(std::equal(before.begin(), before.begin() + 50'000, victim.sink.bytes().begin()));
  CHECK(victim.sink.overwritten() == 0);
  CHECK(victim.receiver.stats().payload_bytes_received == 50'500);
  CHECK(!victim.closed());
}

TEST_CASE("engine: DATA beyond the manifest, beyond the credit, or across a slab ends the lane") {
  const auto payload = random_bytes(1, 1000);
  {
    AttackedReceiver victim(1'500'000);
    victim.hear(victim.forger.data(0, {1'499'001}, payload));
    CHECK(victim.closed() == TransportError::credit_exceeded);
  }
  {
    AttackedReceiver victim(2 * MiB, 1500);
    victim.hear(victim.forger.data(0, {0}, payload));
    CHECK(!victim.closed());
    victim.hear(victim.forger.data(1, {1000}, payload));
    CHECK(victim.closed() == TransportError::credit_exceeded);
    CHECK(victim.receiver.stats().payload_bytes_received == 1000);
  }
  {
    AttackedReceiver victim;
    victim.hear(victim.forger.data(0, {1 * MiB - 1}, payload));
    CHECK(victim.closed() == TransportError::protocol_violation);
  }
}

TEST_CASE("engine: well-sealed nonsense ends the lane, unknown optional frames do not") {
  const auto outcome_of = [](auto encode) {
    AttackedReceiver victim;
    victim.hear(victim.forger.frames(0, encode));
    return victim.closed();
  };
  using bytes::WireWriter;
  CHECK(!outcome_of([](WireWriter& out) {
    out.u8(0xee);
    out.u16(5);
    out.zeros(5);
    encode_path_data(out, FrameType::path_challenge, {});
    out.u8(static_cast<std::uint8_t>(FrameType::repair));
    out.u16(1);
    out.u8(0);
    encode_padding(out, 50);
    encode_skip(out, {});
    encode_final_offset(out, {});
  }));
  CHECK(outcome_of([](WireWriter& out) {
          out.u8(0x7f);
          out.u16(0);
        }) == TransportError::protocol_violation);
  CHECK(outcome_of([](WireWriter& out) {
          out.u8(static_cast<std::uint8_t>(FrameType::credit));
          out.u16(3);
          out.zeros(3);
        }) == TransportError::protocol_violation);
  CHECK(outcome_of([](WireWriter& out) { out.u16(0); }) == TransportError::protocol_violation);
  CHECK(outcome_of([](WireWriter& out) {
          bytes::IntervalSet lie;
          lie.insert({0, 1});
          encode_ack(out, 100, {}, lie.intervals(), {0});
        }) == TransportError::acknowledged_unsent);
  CHECK(outcome_of([](WireWriter& out) { encode_close(out, TransportError::cancelled); }) == TransportError::cancelled);
}

TEST_CASE("engine: strangers and garbage get no answer and cost no state") {
  AttackedReceiver victim;
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    auto garbage = random_bytes(static_cast<std::uint64_t>(i), rng.below(1500));
    if (garbage.size() > 9 && rng.chance(1, 2)) {  // as far as a stranger gets: version, type and connection id
      PacketHeader header{.type = PacketType::data, .connection = receiver_id, .number_low = 1, .offset = {5}};
      if (garbage.size() >= data_header_size) encode_packet_header(header, garbage);
    }
    CHECK(victim.hear(garbage).authentic == 0);
  }
  std::vector<std::byte> buffer(udp_payload_limit);
  CHECK(!victim.receiver.poll_transmit(TimePoint{1s}, victim.sink, buffer));
  CHECK(!victim.receiver.poll_event());
  CHECK(!victim.receiver.poll_timeout());
}

}  // namespace penstock::engine::test
