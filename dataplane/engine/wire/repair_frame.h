#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/bytes/wire_writer.h"
#include "common/wire_error.h"
#include "dataplane/engine/fec/repair_layout.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// One repair symbol, and of what: fec/README.md. k is the number of slots in the mask.
struct RepairFrame {
  RepairLayout layout;
  std::uint8_t repairs = 0;           // m: so many repair symbols may come of this generation
  std::uint8_t index = 0;             // below m
  std::span<const std::byte> symbol;  // layout.size bytes, borrowed
};

// Specification: base (6), S (2), stride (2), bytes of the last slot (2), m (1), index (1), mask (16: slot i is bit i
// mod 8, low bits first, of byte i / 8), symbol (S).
inline constexpr std::size_t repair_fields_size = 30;
inline constexpr std::size_t repair_frame_overhead = frame_header_size + repair_fields_size;

/// The largest symbol whose frame fits one datagram of this size.
[[nodiscard]] constexpr std::size_t symbol_size_for(std::size_t datagram_size) {
  return datagram_size - frames_header_size - crypto::aead_tag_size - repair_frame_overhead;
}
static_assert(symbol_size_for(udp_payload_min) >= erasure::symbol_size_min);

[[nodiscard]] Decoded<RepairFrame> decode_repair(std::span<const std::byte> body);
void encode_repair(bytes::WireWriter& out, const RepairFrame& frame);

}  // namespace penstock::engine
