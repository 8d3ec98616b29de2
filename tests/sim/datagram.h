#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/units.h"

namespace penstock::sim {

using Datagram = std::vector<std::byte>;

/// What anybody on the path can read of a datagram (PROTOCOL section 2). Read here by hand and not by the engine's
/// decoder, so that the two check each other.
struct ClearHeader {
  std::uint8_t first_byte = 0;
  ConnectionId connection;
  std::uint32_t number = 0;              // low 32 bits
  std::optional<TransferOffset> offset;  // of bulk DATA
  std::uint64_t payload = 0;             // file bytes, of bulk DATA
};

/// Nullopt where the datagram is too short to have one.
std::optional<ClearHeader> read_clear_header(std::span<const std::byte> datagram);

/// Everything that went over the network, as one number: FNV-1a over the words fed in.
class TraceHash {
 public:
  void add(std::uint64_t word);
  [[nodiscard]] std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace penstock::sim
