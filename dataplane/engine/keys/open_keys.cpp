#include "dataplane/engine/keys/open_keys.h"

#include <utility>

#include "common/crypto/nonce.h"

namespace penstock::engine {

OpenKeys::OpenKeys(const crypto::AeadBackend& backend, crypto::TrafficSecret secret)
    : backend_(&backend),
      secret_(std::move(secret)),
      current_epoch_{secret_.epoch()},
      failures_max_(backend.algorithm() == crypto::AeadAlgorithm::aes_256_gcm ? open_failures_max_gcm
                                                                              : open_failures_max_chacha) {
  current_ = expand();
  secret_.advance();
  next_ = expand();
}

OpenKeys::Outcome OpenKeys::open(TimePoint now, Duration previous_kept, std::uint8_t epoch_bits, PacketNumber number,
                                 std::span<const std::byte> aad, std::span<const std::byte> sealed, std::byte* out) {
  discard_if_due(now);
  EpochKeys* keys = keys_for(epoch_bits);
  if (keys == nullptr) return Outcome::epoch_unknown;
  if (!keys->key->open(crypto::packet_nonce(keys->iv, number), aad, sealed, out)) {
    ++failures_;
    return Outcome::unauthentic;
  }
  if (keys == &next_) {
    previous_ = std::exchange(current_, std::move(next_));
    discard_at_ = now + previous_kept;
    ++current_epoch_.value;
    secret_.advance();
    next_ = expand();
  }
  return Outcome::opened;
}

void OpenKeys::discard_if_due(TimePoint now) {
  if (!discard_at_ || now < *discard_at_) return;
  previous_ = {};
  discard_at_.reset();
}

OpenKeys::EpochKeys OpenKeys::expand() const {
  const crypto::PacketKeys keys = secret_.packet_keys();
  return {backend_->make_key(keys.key.view()), keys.iv};
}

OpenKeys::EpochKeys* OpenKeys::keys_for(std::uint8_t epoch_bits) {
  const auto bits_of = [&](std::uint32_t ahead) { return (current_epoch_.value + ahead) & 3; };
  if (epoch_bits == bits_of(0)) return &current_;
  if (epoch_bits == bits_of(1)) return &next_;
  if (epoch_bits == bits_of(3) && previous_.key) return &previous_;
  return nullptr;
}

}  // namespace penstock::engine
