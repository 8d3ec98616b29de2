#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/time.h"

namespace penstock::netem::probe {

/// What a datagram of the probe says of itself. Layout in network byte order:
///   magic u32 | checksum of the rest of the header u32 | run u64 | number u64 | total u64 | sent_at ns u64 |
///   kind u32 | checksum of the body u32 | body
struct ProbeHeader {
  enum class Kind : std::uint8_t { data, finish };
  Kind kind = Kind::data;
  std::uint64_t run = 0;     // random, so that an older run's stragglers are not ours
  std::uint64_t number = 0;  // data: from 0; finish: how many were sent
  std::uint64_t total = 0;   // how many are meant to be sent
  TimePoint sent_at{};
  std::uint32_t body_checksum = 0;
  bool operator==(const ProbeHeader&) const = default;
};

inline constexpr std::size_t probe_header_size = 48;

/// Requires: out.size() >= probe_header_size.
void encode_header(const ProbeHeader& header, std::span<std::byte> out);
/// nullopt when it is too short, damaged, or something else.
std::optional<ProbeHeader> decode_header(std::span<const std::byte> datagram);

/// Equal for different bodies only by chance, one in 2^32. Of this machine: the order of bytes is its own.
std::uint32_t body_checksum(std::span<const std::byte> body);

}  // namespace penstock::netem::probe
