#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

// Specification: both ends must agree (PROTOCOL section 2, dataplane/README).
inline constexpr std::size_t data_header_size = 19;     // first byte, connection id, packet number, transfer offset
inline constexpr std::size_t frames_header_size = 13;   // the same without the offset
inline constexpr std::size_t packet_overhead_max = 36;  // room kept for header and tag
inline constexpr std::size_t udp_payload_min = 1200;    // RFC 8899 BASE_PLPMTU; every path is taken to carry it
inline constexpr std::size_t udp_payload_limit = 65507;
/// A DATA datagram never crosses a multiple of this in transfer space, so it always lies within one slab.
inline constexpr std::uint64_t slab_size = 1 * MiB;
static_assert(data_header_size + crypto::aead_tag_size <= packet_overhead_max);

/// What protects one lane at one end; consumed by the engine's constructor.
struct LaneKeys {
  const crypto::AeadBackend* backend = nullptr;  // static lifetime
  crypto::TrafficSecret send_secret;             // epoch 0 of the direction that this end seals
  crypto::TrafficSecret receive_secret;          // epoch 0 of the direction that this end opens
  ConnectionId peer_id;                          // put on what we send
  ConnectionId own_id;                           // expected on what we receive
};

/// Which lane of how many this is, of one transfer. The lanes share out its bytes by extents (ranges/extent_map.h), and
/// together take one flow's share of the path.
struct LanePlace {
  std::size_t lane = 0;
  std::size_t lanes = 1;
};

/// `measure` finds out what the path carries and then stops (LaneStats::path).
enum class Congestion : std::uint8_t { cubic, fixed, measure, bbr, scavenger };
enum class ChunkOrder : std::uint8_t { sequential, shuffled };

/// Repair symbols: fec/README.md. `fixed`: `repairs` for each `sources`, through the whole transfer.
enum class FecMode : std::uint8_t { off, automatic, fixed };
struct Fec {
  FecMode mode = FecMode::off;
  std::uint8_t sources = 0;
  std::uint8_t repairs = 0;
  bool operator==(const Fec&) const = default;
};

struct SenderConfig {
  std::size_t udp_payload_size = udp_payload_min;  // bytes of one full datagram at the start
  /// What PMTU search may move DATA to (path/pmtu_search.h); no more than the former: it stays as it is.
  std::size_t udp_payload_max = 0;
  Congestion congestion = Congestion::bbr;
  /// IP bytes, repeats included; the target of `fixed`, a cap elsewhere. Of all lanes together.
  std::optional<DataRate> rate = std::nullopt;
  std::size_t ip_overhead = 28;                           // IPv4 and UDP headers, counted by rates; 48 with IPv6
  Duration initial_rtt = std::chrono::milliseconds{100};  // the control channel's own, where it is known
  /// IP bytes that an earlier transfer found this path to carry (LaneStats::estimate); `bbr`, alone, begins with half
  /// of it. It may be a peer's word: what it can do is bounded (congestion/careful_start.h).
  std::optional<DataRate> remembered_rate = std::nullopt;
  std::uint64_t initial_credit = 1 * MiB;                     // both ends use the same; before the first CREDIT arrives
  ChunkOrder order = ChunkOrder::sequential;                  // shuffled: a test of the far end's assembly
  std::uint64_t key_update_packets = std::uint64_t{1} << 22;  // an epoch ends before, once it is confirmed
  LanePlace place = {};
  Fec fec = {};     // of each lane for itself
  bool ecn = true;  // marks what it sends, where the controller heeds marks and the path leaves them alone
};

struct ReceiverConfig {
  std::size_t udp_payload_size = udp_payload_min;
  std::size_t ip_overhead = 28;
  Duration initial_rtt = std::chrono::milliseconds{100};
  std::uint64_t initial_credit = 1 * MiB;
  std::uint64_t key_update_packets = std::uint64_t{1} << 22;
  bool hello_until_heard = false;  // pull: repeat a UDP hello until the sender's first datagram arrives
  LanePlace place = {};
};

}  // namespace penstock::engine
