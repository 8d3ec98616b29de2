#include "tests/fuzz/engine/sealed_script.h"

#include <algorithm>
#include <utility>

#include "common/bytes/wire_reader.h"
#include "common/crypto/nonce.h"
#include "dataplane/engine/wire/packet_header.h"

namespace penstock::engine::fuzz {
namespace {

LaneKeys keys(unsigned seals, unsigned opens) {
  const auto secret = [](unsigned fill) {
    crypto::SecretArray<crypto::traffic_secret_size> bytes;
    std::fill(bytes.writable().begin(), bytes.writable().end(), static_cast<std::byte>(fill));
    return crypto::TrafficSecret(std::move(bytes));
  };
  return {.backend = &crypto::aead_backend_for(crypto::AeadAlgorithm::aes_256_gcm),
          .send_secret = secret(seals),
          .receive_secret = secret(opens),
          .peer_id = ConnectionId{opens},
          .own_id = ConnectionId{seals}};
}

}  // namespace

LaneKeys victim_keys(Victim victim) { return victim == Victim::sender ? keys(1, 2) : keys(2, 1); }
LaneKeys peer_keys(Victim victim) { return victim == Victim::sender ? keys(2, 1) : keys(1, 2); }

SealedScript::SealedScript(std::span<const std::byte> script, LaneKeys lane_keys)
    : script_(script), keys_(std::move(lane_keys)), packet_keys_(keys_.send_secret.packet_keys()) {
  key_ = keys_.backend->make_key(packet_keys_.key.view());
}

void SealedScript::next_epoch() {
  keys_.send_secret.advance();
  packet_keys_ = keys_.send_secret.packet_keys();
  key_ = keys_.backend->make_key(packet_keys_.key.view());
}

std::optional<SealedScript::Step> SealedScript::next() {
  bytes::WireReader in(script_);
  const std::uint8_t kind = in.u8();
  const std::uint8_t wait = in.u8();
  number_ += in.u8();
  const std::size_t length = in.u16() % 2048;
  const bool is_data = (kind & 1) != 0;
  const std::uint32_t offset = is_data ? in.u24() : 0;
  if (!in.ok()) return std::nullopt;
  const auto plain = in.bytes(std::min(length, in.remaining()));
  script_ = script_.subspan(in.position());
  if ((kind & 0x10) != 0)
    return Step{.wait = std::chrono::milliseconds{wait}, .datagram = {}, .offset = offset, .plain = plain};
  if ((kind & 0x40) != 0) next_epoch();

  const PacketHeader header{.type = is_data ? PacketType::data : PacketType::frames,
                            .epoch_bits = static_cast<std::uint8_t>(keys_.send_secret.epoch() & 3),
                            .connection = keys_.peer_id,
                            .number_low = static_cast<std::uint32_t>(number_),
                            .offset = {offset}};
  const std::size_t size = header_size(header.type);
  Step step{.wait = std::chrono::milliseconds{wait},
            .datagram = std::vector<std::byte>(size + plain.size() + crypto::aead_tag_size),
            .from_elsewhere = (kind & 0x20) != 0};
  encode_packet_header(header, step.datagram);
  key_->seal(crypto::packet_nonce(packet_keys_.iv, {number_}), std::span<const std::byte>(step.datagram).first(size),
             plain, step.datagram.data() + size);
  if ((kind & 0x80) != 0) step.datagram.back() ^= std::byte{1};
  return step;
}

}  // namespace penstock::engine::fuzz
