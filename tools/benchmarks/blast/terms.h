#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/units.h"
#include "common/wire_error.h"

namespace penstock::benchmarks {

// What the two ends of a blast say to each other beside the datagrams, over TCP. Both messages have a fixed size.
// One connection id and one key, the same in every run: a blast seals because that costs time, it protects nothing.
inline constexpr ConnectionId blast_connection{0x626c617374};
inline constexpr std::uint64_t blast_bytes_max = std::uint64_t{1} << 40;  // so that packet numbers fit into 32 bits

/// What the sender asks for, before its first datagram.
struct BlastTerms {
  std::string aead;                 // backend that both ends use; empty: in the clear, and nobody meets a file
  std::uint64_t total = 0;          // payload bytes that will be sent
  std::uint16_t datagram_size = 0;  // of a full one
  std::uint64_t report_every = 0;   // bytes after which the receiver tells how far it is

  bool operator==(const BlastTerms&) const = default;
};

/// How far the receiver is.
struct BlastProgress {
  bool done = false;               // the last word: nothing more is taken, and the file is closed
  std::uint64_t passed = 0;        // bytes that arrived, or that later ones overtook: room for as many
  std::uint64_t arrived = 0;       // bytes that arrived whole and authentic
  std::uint64_t socket_drops = 0;  // datagrams that found the socket's buffer full

  bool operator==(const BlastProgress&) const = default;
};

inline constexpr std::size_t blast_aead_name_max = 24;
inline constexpr std::size_t blast_terms_size = 4 + blast_aead_name_max + 8 + 2 + 8;
inline constexpr std::size_t blast_progress_size = 1 + 8 + 8 + 8;

[[nodiscard]] std::array<std::byte, blast_terms_size> encode_terms(const BlastTerms& terms);
/// An error for another program's bytes, and for terms that no blast has: a total of 0 or above blast_bytes_max, a
/// datagram too small for header, tag and a byte or too large for UDP, reports of nothing.
[[nodiscard]] Decoded<BlastTerms> decode_terms(std::span<const std::byte, blast_terms_size> bytes);

[[nodiscard]] std::array<std::byte, blast_progress_size> encode_progress(const BlastProgress& progress);
[[nodiscard]] Decoded<BlastProgress> decode_progress(std::span<const std::byte, blast_progress_size> bytes);

}  // namespace penstock::benchmarks
