#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/units.h"

namespace penstock::engine {

/// No epoch ever seals more (PROTOCOL section 2); RFC 9001 section 6.6 puts the limit of AES-GCM at 2^23.
inline constexpr std::uint64_t epoch_packets_max = std::uint64_t{1} << 22;

/// The sealing side of one direction: which epoch we seal in, and when the next one begins.
/// The next epoch begins once this one has sealed half of `update_after` packets and the peer has acknowledged one of
/// them; an epoch that was never confirmed ends at epoch_packets_max, after which only probes are sealed (see
/// exhausted). Source: PROTOCOL section 2, RFC 9001 section 6. Threads: one owner.
class SealKeys {
 public:
  SealKeys(const crypto::AeadBackend& backend, crypto::TrafficSecret secret, std::uint64_t update_after);

  [[nodiscard]] KeyEpoch epoch() const { return {secret_.epoch()}; }
  /// The epoch's packets are used up and no ACK of one of them has come: bulk has to wait for it.
  [[nodiscard]] bool exhausted() const { return packets_ >= epoch_packets_max; }
  /// An ACK of one of this epoch's packets is missing and soon needed: whoever sends nothing that is acknowledged,
  /// asks.
  [[nodiscard]] bool wants_confirmation() const { return !confirmed_ && packets_ >= update_after_ / 2; }

  /// Moves to the next epoch when one is due. `next` is the number that is sealed next. True: it moved.
  bool update_if_due(PacketNumber next);
  /// The peer acknowledged this number.
  void on_acked(PacketNumber number) { confirmed_ = confirmed_ || number >= epoch_first_; }
  /// The peer says that packets of this epoch arrived. False: none was ever sealed.
  [[nodiscard]] bool on_confirmed(KeyEpoch told) {
    confirmed_ = confirmed_ || told == epoch();
    return told <= epoch();
  }

  /// Seals under the current epoch; `out` takes plaintext.size() + aead_tag_size bytes. Requires: `number` was never
  /// sealed before.
  void seal(PacketNumber number, std::span<const std::byte> aad, std::span<const std::byte> plaintext, std::byte* out);

 private:
  void expand();

  const crypto::AeadBackend* backend_;
  crypto::TrafficSecret secret_;
  std::unique_ptr<crypto::AeadKey> key_;
  crypto::Nonce iv_{};
  std::uint64_t update_after_;  // packets of an epoch
  std::uint64_t packets_ = 0;
  PacketNumber epoch_first_;
  bool confirmed_ = false;
};

}  // namespace penstock::engine
