#include "tests/sim/forging_peer.h"

#include <algorithm>
#include <array>

#include "common/check.h"
#include "common/crypto/nonce.h"
#include "dataplane/engine/wire/packet_header.h"
#include "tests/sim/made_up.h"

namespace penstock::sim {
namespace {

struct Identity {
  explicit Identity(std::uint64_t seed)
      : luck(seed),
        to_victim(make_secret(luck)),
        from_victim(make_secret(luck)),
        victim{luck.next()},
        own{luck.next()} {}
  Rng luck;
  crypto::TrafficSecret to_victim;
  crypto::TrafficSecret from_victim;
  ConnectionId victim;
  ConnectionId own;
};

}  // namespace

ForgingPeer::ForgingPeer(std::uint64_t seed)
    : backend_(&crypto::aead_backend_for(crypto::AeadAlgorithm::aes_256_gcm)),
      to_victim_(Identity{seed}.to_victim.clone()),
      from_victim_(Identity{seed}.from_victim.clone()),
      victim_id_(Identity{seed}.victim),
      own_id_(Identity{seed}.own),
      packet_keys_(to_victim_.packet_keys()),
      key_(backend_->make_key(packet_keys_.key.view())) {}

engine::LaneKeys ForgingPeer::victim_keys() const {
  return {backend_, from_victim_.clone(), to_victim_.clone(), own_id_, victim_id_};
}

Datagram ForgingPeer::frames(const std::function<void(bytes::WireWriter&)>& write) {
  std::vector<std::byte> plaintext(60'000);
  bytes::WireWriter out{plaintext};
  write(out);
  PENSTOCK_CHECK(out.ok());
  std::array<std::byte, engine::frames_header_size> header;
  engine::encode_packet_header({.type = engine::PacketType::frames,
                                .epoch_bits = 0,
                                .connection = victim_id_,
                                .number_low = static_cast<std::uint32_t>(next_.value),
                                .offset = {}},
                               header);
  return seal(header, out.written());
}

Datagram ForgingPeer::data(TransferOffset at, std::span<const std::byte> payload) {
  std::array<std::byte, engine::data_header_size> header;
  engine::encode_packet_header({.type = engine::PacketType::data,
                                .epoch_bits = 0,
                                .connection = victim_id_,
                                .number_low = static_cast<std::uint32_t>(next_.value),
                                .offset = at},
                               header);
  return seal(header, payload);
}

Datagram ForgingPeer::seal(std::span<const std::byte> header, std::span<const std::byte> plaintext) {
  Datagram datagram(header.size() + plaintext.size() + crypto::aead_tag_size);
  std::copy(header.begin(), header.end(), datagram.begin());
  key_->seal(crypto::packet_nonce(packet_keys_.iv, next_), header, plaintext, datagram.data() + header.size());
  ++next_.value;
  return datagram;
}

}  // namespace penstock::sim
