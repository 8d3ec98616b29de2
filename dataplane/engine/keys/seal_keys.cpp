#include "dataplane/engine/keys/seal_keys.h"

#include <algorithm>
#include <utility>

#include "common/crypto/nonce.h"

namespace penstock::engine {

SealKeys::SealKeys(const crypto::AeadBackend& backend, crypto::TrafficSecret secret, std::uint64_t update_after)
    : backend_(&backend),
      secret_(std::move(secret)),
      update_after_(std::clamp<std::uint64_t>(update_after / 2, 1, epoch_packets_max / 2)) {
  expand();
}

bool SealKeys::update_if_due(PacketNumber next) {
  if (!confirmed_ || packets_ < update_after_) return false;
  secret_.advance();
  expand();
  packets_ = 0;
  confirmed_ = false;
  epoch_first_ = next;
  return true;
}

void SealKeys::seal(PacketNumber number, std::span<const std::byte> aad, std::span<const std::byte> plaintext,
                    std::byte* out) {
  key_->seal(crypto::packet_nonce(iv_, number), aad, plaintext, out);
  ++packets_;
}

void SealKeys::expand() {
  const crypto::PacketKeys keys = secret_.packet_keys();
  key_ = backend_->make_key(keys.key.view());
  iv_ = keys.iv;
}

}  // namespace penstock::engine
