#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

// Failed opens under one lane's keys after which they must go. PROTOCOL section 2; RFC 9001 section 6.6.
inline constexpr std::uint64_t open_failures_max_gcm = std::uint64_t{1} << 52;
inline constexpr std::uint64_t open_failures_max_chacha = std::uint64_t{1} << 36;

/// The opening side of one direction: holds the previous, the current and the precomputed next epoch, so that a forged
/// header costs one open and never a derivation. The peer's first authentic packet of the next epoch moves us on.
/// Source: PROTOCOL section 2, RFC 9001 section 6.3. Threads: one owner.
class OpenKeys {
 public:
  OpenKeys(const crypto::AeadBackend& backend, crypto::TrafficSecret secret);

  enum class Outcome : std::uint8_t { opened, unauthentic, epoch_unknown };
  /// Opens one packet into `out`, which is sealed.data() or disjoint from it. `previous_kept` is how long the old epoch
  /// stays openable should this packet be the first of a new one (3 PTO).
  [[nodiscard]] Outcome open(TimePoint now, Duration previous_kept, std::uint8_t epoch_bits, PacketNumber number,
                             std::span<const std::byte> aad, std::span<const std::byte> sealed, std::byte* out);

  [[nodiscard]] KeyEpoch epoch() const { return current_epoch_; }
  [[nodiscard]] std::uint64_t updates() const { return current_epoch_.value; }
  /// When the previous epoch's keys must go; nullopt when there are none.
  [[nodiscard]] std::optional<TimePoint> discard_at() const { return discard_at_; }
  void discard_if_due(TimePoint now);
  /// Too many datagrams did not open: a fresh key exchange is due.
  [[nodiscard]] bool worn_out() const { return failures_ >= failures_max_; }

 private:
  struct EpochKeys {
    std::unique_ptr<crypto::AeadKey> key;
    crypto::Nonce iv{};
  };
  [[nodiscard]] EpochKeys expand() const;
  [[nodiscard]] EpochKeys* keys_for(std::uint8_t epoch_bits);

  const crypto::AeadBackend* backend_;
  crypto::TrafficSecret secret_;  // of the next epoch
  KeyEpoch current_epoch_;
  EpochKeys previous_;  // key is null when there are none
  EpochKeys current_;
  EpochKeys next_;
  std::optional<TimePoint> discard_at_;
  std::uint64_t failures_ = 0;
  std::uint64_t failures_max_;
};

}  // namespace penstock::engine
