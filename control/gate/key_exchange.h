#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/key_schedule.h"
#include "common/crypto/rsa_key.h"
#include "common/units.h"
#include "control/gate/identity.h"
#include "control/gate/pin.h"
#include "control/registry/records.h"

namespace penstock::control {

// The words that both halves of the key exchange share (PROTOCOL section 1): client_exchange.h, daemon_exchange.h.

// Specification.
inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::size_t versions_max = 16;  // entries read of a peer's lists; the rest is ignored
inline constexpr std::size_t capabilities_max = 64;
inline constexpr std::size_t short_text_max = 255;  // software, client name, capability, UDP host

/// Ties the exchange to one TLS connection and one daemon key. The exporters are equal at both ends of one connection
/// and of no other; none is ever sent.
struct ChannelBinding {
  std::array<std::byte, 32> bind{};  // exporter "EXPORTER-penstock/1 bind": goes into the wrap's label
  crypto::SecretArray<crypto::exporter_size> key = {};  // exporter "EXPORTER-penstock/1 key": the salt of the PRK
  Pin daemon = {};
};

/// The OAEP label: SHA-256 over the UUID (16), the pin of the daemon's SPKI (32) and the bind exporter (32).
std::array<std::byte, 32> wrap_label(const Uuid& uuid, const ChannelBinding& binding);

/// What both ends agreed on for this session.
struct Agreement {
  std::uint32_t version = protocol_version;
  std::vector<std::string> capabilities = {};  // those that both ends have
  Uuid uuid = {};
  std::vector<ConnectionId> client_ids = {};  // one a lane: put on what is sent to the client
  std::vector<ConnectionId> daemon_ids = {};  // one a lane: put on what is sent to the daemon
  std::uint16_t udp_port = 0;
  std::string udp_host = {};       // empty: the control channel's address
  std::string peer_software = {};  // for logs; escape before showing

  [[nodiscard]] std::size_t lanes() const { return client_ids.size(); }
};

/// A session as the client has it, both proofs verified.
struct ClientSession {
  Agreement agreement = {};
  crypto::SessionSecrets secrets = {};  // suite, and epoch-0 secrets of every lane
  std::string user = {};
  std::vector<std::string> grants = {};    // as text, for the user to see
  std::vector<Pin> next_pins = {};         // keys that this daemon will show later
  crypto::Ed25519PublicKey receipt_key{};  // verified against the daemon's key
  std::vector<std::byte> receipt_certification = {};
};

/// A session as the daemon has it, the client's proof verified.
struct DaemonSession {
  Agreement agreement;
  crypto::SessionSecrets secrets;
  ClientRecord client;
  bool enrolled = false;  // this exchange was (also) a registration
};

/// What this machine prefers, as an offer lists it.
inline std::vector<crypto::AeadAlgorithm> preferred_suites() {
  const auto preference = crypto::aead_preference();
  return {preference.begin(), preference.end()};
}

/// The suite for both: AES-256-GCM when both ends list it first, that is when both have AES instructions; else
/// ChaCha20-Poly1305 when both know it, else what both know. nullopt when they share none.
std::optional<crypto::AeadAlgorithm> choose_suite(std::span<const crypto::AeadAlgorithm> client,
                                                  std::span<const crypto::AeadAlgorithm> daemon);

}  // namespace penstock::control
