#pragma once

#include <cstdint>
#include <string>

namespace penstock::tools {

// Numbers for people. Decimal prefixes, as rates are. Pure.

/// `999 B`, `1.2 kB`, `61 MB`, `2.0 TB`: two or three digits.
std::string show_bytes(std::uint64_t bytes);
/// `61 MB/s (490 Mbit/s)`: both, since disks speak the one and lines the other.
std::string show_rate(std::uint64_t bits_per_second);
/// `7s`, `4m12s`, `3h05m`, `2d07h`.
std::string show_seconds(std::uint64_t seconds);
/// `0.4 %`; `0 %` for nothing at all.
std::string show_share(double share);

}  // namespace penstock::tools
