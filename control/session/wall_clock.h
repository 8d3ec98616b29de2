#pragma once

#include <cstdint>
#include <string>

namespace penstock::control {

/// "2026-01-02T03:04:05Z" (RFC 3339) of seconds since 1970.
std::string rfc3339_utc(std::int64_t unix_seconds);
/// The wall clock, seconds since 1970.
std::int64_t unix_now();

}  // namespace penstock::control
