#pragma once

#include <cstdint>
#include <string_view>

#include "common/result.h"

namespace penstock {

/// What was wrong with bytes that a peer sent. Counted and dropped, or the session is closed; never aborts, never
/// logged per packet.
enum class WireError : std::uint8_t {
  truncated,               // fewer bytes than the layout needs
  trailing_bytes,          // bytes left over after the layout
  unexpected_packet_type,  // unknown version or type in the first byte
  unknown_frame,           // a mandatory frame type that this version does not know
  value_out_of_range,      // a field beyond its stated bound
  not_ordered,             // ranges or names that must ascend do not
};

std::string_view to_string(WireError error);

template <class T>
using Decoded = Result<T, WireError>;

}  // namespace penstock
