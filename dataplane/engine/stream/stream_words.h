#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

// Specification (control/session/README, "TCP data"): no message carries more, and none crosses a slab.
inline constexpr std::size_t stream_payload_max = 65536 - 64;
// Tuning: what we put into one. Seventeen equal messages fill a slab; a larger one would leave a crumb at its end.
inline constexpr std::size_t stream_payload_usual = 61696;
static_assert(stream_payload_usual <= stream_payload_max && 17 * stream_payload_usual >= slab_size);
/// Messages of one lane on their way at most, however small they are: 24 bytes of memory each.
inline constexpr std::size_t stream_messages_max = std::size_t{1} << 16;

/// The next message of a lane's stream: bytes borrowed from the window, until the sender is called again.
struct StreamChunk {
  TransferOffset at;
  std::span<const std::byte> payload;
};

/// What the far end has made of a lane's stream. It is in order, so a count says which messages are meant.
struct StreamAck {
  std::uint64_t messages = 0;  // handled since the lane began
  std::vector<std::uint64_t>
      refused;  // of those since the last StreamAck, the ones without room: numbers from 0, rising
  CreditFrame credit;
  bool operator==(const StreamAck&) const = default;
};

}  // namespace penstock::engine
