#pragma once

#include <cstdint>
#include <string_view>

#include "common/result.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::tools {

// Text to value. Pure. Every error is USAGE and its message quotes the text and shows how to write it; the caller puts
// in front where the text stood. Nothing is trimmed, nothing is guessed.

/// `500M` is 500 000 000 bit/s; with a final `B` it is bytes a second: `60MB`. k M G T are powers of 1000, Ki Mi Gi of
/// 1024; a fraction is allowed (`1.5G`). From 8 bit/s to 1 Tbit/s.
Result<DataRate> parse_rate(std::string_view text);

/// `50us 250ms 15s 5m 24h 7d`, and `0`. At most 100 years.
Result<Duration> parse_duration(std::string_view text);

/// A decimal number within [least, most].
Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most);

}  // namespace penstock::tools
