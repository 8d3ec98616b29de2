#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "common/bytes/wire_writer.h"
#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/random.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"
#include "tests/sim/datagram.h"

namespace penstock::sim {

/// The other end of a lane in hostile hands: it has the keys, so what it says is authentic, and says what it likes.
/// Epoch 0 only.
class ForgingPeer {
 public:
  explicit ForgingPeer(std::uint64_t seed);

  /// Keys of the honest engine at our other end.
  [[nodiscard]] engine::LaneKeys victim_keys() const;

  /// A packet of frames, sealed under the next number.
  [[nodiscard]] Datagram frames(const std::function<void(bytes::WireWriter&)>& write);
  /// Bulk DATA.
  [[nodiscard]] Datagram data(TransferOffset at, std::span<const std::byte> payload);
  /// Sets the number of the next packet.
  void jump_to(PacketNumber number) { next_ = number; }

 private:
  Datagram seal(std::span<const std::byte> header, std::span<const std::byte> plaintext);

  const crypto::AeadBackend* backend_;
  crypto::TrafficSecret to_victim_;
  crypto::TrafficSecret from_victim_;
  ConnectionId victim_id_;
  ConnectionId own_id_;
  crypto::PacketKeys packet_keys_;
  std::unique_ptr<crypto::AeadKey> key_;
  PacketNumber next_{};
};

}  // namespace penstock::sim
