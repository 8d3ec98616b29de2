#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "common/crypto/aead.h"
#include "common/crypto/secret_bytes.h"

namespace penstock::crypto {

// Specification (PROTOCOL section 1):
//   PRK    = HKDF-Extract-SHA256(salt = TLS exporter, ikm = K [ | KEM share, later ])
//   X      = HKDF-Expand(PRK, info, 32), info = "penstock/1 " purpose 0x00 suite(1) direction(1) lane(2, big-endian)
//   secret[n + 1] = HKDF-Expand(secret[n], "update", 32); key = (secret[n], "key", 32); IV = (secret[n], "iv", 12)
// purpose: "data" (direction 1 or 2, and the lane), "client-confirm", "daemon-confirm" (direction 0, lane 0). A purpose
// holds no zero byte and what follows it has a fixed length, so no two infos coincide.
inline constexpr std::size_t session_key_size = 32;  // K, fresh for each session
inline constexpr std::size_t exporter_size = 32;     // "EXPORTER-penstock/1 key"
inline constexpr std::size_t traffic_secret_size = 32;
inline constexpr std::size_t lanes_max = 64;  // more than that many workers serve no single transfer

/// Who seals. ACKs go under their own direction's keys.
enum class Direction : std::uint8_t { client_to_daemon = 1, daemon_to_client = 2 };

/// What protects one direction of one lane during one epoch; wiped on destruction.
struct PacketKeys {
  SecretArray<aead_key_size> key;
  Nonce iv{};

  PacketKeys() = default;
  PacketKeys(PacketKeys&&) = default;
  PacketKeys& operator=(PacketKeys&&) = default;
  ~PacketKeys() { wipe(iv); }
};

/// secret[n] of one direction of one lane. Only ever moves forward; wiped on destruction.
class TrafficSecret {
 public:
  explicit TrafficSecret(SecretArray<traffic_secret_size> epoch_zero) : secret_(std::move(epoch_zero)) {}
  TrafficSecret(TrafficSecret&&) = default;
  TrafficSecret& operator=(TrafficSecret&&) = default;

  /// The number of the epoch whose secret is held; starts at 0.
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  [[nodiscard]] PacketKeys packet_keys() const;
  /// To the next epoch; the old secret is wiped.
  void advance();
  /// For tests and for handing one session's secret to a second owner on purpose.
  [[nodiscard]] TrafficSecret clone() const;

 private:
  SecretArray<traffic_secret_size> secret_;
  std::uint32_t epoch_ = 0;
};

struct LaneSecrets {
  TrafficSecret client_to_daemon;
  TrafficSecret daemon_to_client;
};

/// All that one key exchange yields; neither K nor PRK can be had from it.
struct SessionSecrets {
  AeadAlgorithm suite;
  SecretArray<traffic_secret_size> client_confirm;  // HMAC key of the client's proof
  SecretArray<traffic_secret_size> daemon_confirm;  // HMAC key of the daemon's proof
  std::vector<LaneSecrets> lanes;                   // by lane number
};

/// Derives every epoch-0 secret at once; K (by being consumed) and PRK are wiped before it returns. The exporter
/// belongs to the caller, who wipes it. Requires: 1 <= lane_count <= lanes_max.
[[nodiscard]] SessionSecrets derive_session_secrets(SecretArray<session_key_size>&& session_key,
                                                    std::span<const std::byte, exporter_size> exporter,
                                                    AeadAlgorithm suite, std::size_t lane_count);

}  // namespace penstock::crypto
