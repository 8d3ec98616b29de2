#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/crypto/key_schedule.h"
#include "common/random.h"

namespace penstock::sim {

/// A secret and content for a simulated transfer: the same for the same luck.
inline crypto::TrafficSecret make_secret(Rng& luck) {
  std::array<std::byte, crypto::traffic_secret_size> bytes;
  luck.fill(bytes);
  return crypto::TrafficSecret{crypto::SecretArray<crypto::traffic_secret_size>{bytes}};
}

inline std::vector<std::byte> make_content(Rng& luck, std::uint64_t size) {
  std::vector<std::byte> content(size);
  luck.fill(content);
  return content;
}

}  // namespace penstock::sim
