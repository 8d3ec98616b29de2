#include "tests/sim/checksum_seal.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "common/check.h"
#include "common/digest/xxh3.h"

namespace penstock::sim {
namespace {

constexpr std::size_t aad_max = 64;

class ChecksumKey final : public crypto::AeadKey {
 public:
  explicit ChecksumKey(std::span<const std::byte, crypto::aead_key_size> key) { std::ranges::copy(key, key_.begin()); }

  void seal(const crypto::Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> plaintext,
            std::byte* out) override {
    const auto tag = tag_of(nonce, aad, plaintext);
    if (out != plaintext.data()) std::memcpy(out, plaintext.data(), plaintext.size());
    std::ranges::copy(tag, out + plaintext.size());
  }

  bool open(const crypto::Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> sealed,
            std::byte* out) override {
    if (sealed.size() < crypto::aead_tag_size) return false;
    const auto content = sealed.first(sealed.size() - crypto::aead_tag_size);
    if (!std::ranges::equal(tag_of(nonce, aad, content), sealed.last(crypto::aead_tag_size))) {
      std::fill_n(out, content.size(), std::byte{0});
      return false;
    }
    if (out != content.data()) std::memcpy(out, content.data(), content.size());
    return true;
  }

 private:
  [[nodiscard]] std::array<std::byte, crypto::aead_tag_size> tag_of(const crypto::Nonce& nonce,
                                                                    std::span<const std::byte> aad,
                                                                    std::span<const std::byte> content) const {
    PENSTOCK_CHECK(aad.size() <= aad_max);
    std::array<std::byte, crypto::aead_key_size + crypto::aead_nonce_size + crypto::aead_tag_size + aad_max> all;
    auto end = std::ranges::copy(key_, all.begin()).out;
    end = std::ranges::copy(nonce, end).out;
    end = std::ranges::copy(digest::xxh3(content).bytes, end).out;
    end = std::ranges::copy(aad, end).out;
    return digest::xxh3({all.begin(), end}).bytes;
  }

  std::array<std::byte, crypto::aead_key_size> key_{};
};

class ChecksumBackend final : public crypto::AeadBackend {
 public:
  [[nodiscard]] std::string_view name() const override { return "checksum"; }
  [[nodiscard]] crypto::AeadAlgorithm algorithm() const override { return crypto::AeadAlgorithm::aes_256_gcm; }
  [[nodiscard]] std::unique_ptr<crypto::AeadKey> make_key(
      std::span<const std::byte, crypto::aead_key_size> key) const override {
    return std::make_unique<ChecksumKey>(key);
  }
};

}  // namespace

const crypto::AeadBackend& checksum_backend() {
  static const ChecksumBackend backend;
  return backend;
}

}  // namespace penstock::sim
