#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/time.h"
#include "dataplane/engine/fec/repair_policy.h"

namespace penstock::sim {

/// A repair symbol as it left: m symbols of a generation of k.
struct SeenRepair {
  TimePoint at;
  std::size_t sources = 0;
  std::size_t repairs = 0;
};
struct SeenRatio {
  TimePoint at;
  engine::RepairRatio ratio;
};

/// Somebody on the path who has the keys of one direction, and reads what its repair frames say. Epoch 0 only.
class RepairTap {
 public:
  RepairTap(const crypto::TrafficSecret& secret, const crypto::AeadBackend& backend);
  /// nullopt: it carries none.
  [[nodiscard]] std::optional<SeenRepair> read(TimePoint at, std::span<const std::byte> datagram);

 private:
  crypto::PacketKeys keys_;
  std::unique_ptr<crypto::AeadKey> key_;
  std::vector<std::byte> plaintext_;
};

}  // namespace penstock::sim
