#include "common/wire_error.h"

#include "common/check.h"

namespace penstock {

std::string_view to_string(WireError error) {
  switch (error) {
    case WireError::truncated:
      return "truncated";
    case WireError::trailing_bytes:
      return "trailing bytes";
    case WireError::unexpected_packet_type:
      return "unexpected packet type";
    case WireError::unknown_frame:
      return "unknown frame";
    case WireError::value_out_of_range:
      return "value out of range";
    case WireError::not_ordered:
      return "not ordered";
  }
  PENSTOCK_UNREACHABLE("a WireError has a name");
}

}  // namespace penstock
