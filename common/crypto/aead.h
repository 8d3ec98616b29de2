#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace penstock::crypto {

// Specification: both suites have the same three sizes (RFC 5116, RFC 8439).
inline constexpr std::size_t aead_key_size = 32;
inline constexpr std::size_t aead_nonce_size = 12;
inline constexpr std::size_t aead_tag_size = 16;

/// On the wire as control.proto's AeadSuite and in the key schedule: numbers are frozen.
enum class AeadAlgorithm : std::uint8_t { aes_256_gcm = 1, chacha20_poly1305 = 2 };

[[nodiscard]] std::string_view to_string(AeadAlgorithm algorithm);  // "aes-256-gcm", "chacha20-poly1305"

using Nonce = std::array<std::byte, aead_nonce_size>;

/// One expanded key for both directions of use; wiped on destruction. Nothing is allocated per call.
/// Threads: one owner at a time; seal and open change inner state, so no two calls may overlap.
class AeadKey {
 public:
  AeadKey() = default;
  AeadKey(const AeadKey&) = delete;
  AeadKey& operator=(const AeadKey&) = delete;
  virtual ~AeadKey();

  /// Writes the ciphertext, then the tag: plaintext.size() + aead_tag_size bytes at `out`. `out` is plaintext.data()
  /// (in place) or does not overlap it. Requires: `nonce` has never sealed under this key, and the plaintext is at most
  /// 2^31 - 1 bytes.
  virtual void seal(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> plaintext,
                    std::byte* out) = 0;

  /// Opens `sealed` (ciphertext, then tag) into `out`, which takes sealed.size() - aead_tag_size bytes and is
  /// sealed.data() (in place) or does not overlap it. False: not authentic (or shorter than a tag); `out` is then
  /// unspecified but holds no plaintext (zeroed, or untouched). All 16 bytes of the tag count.
  [[nodiscard]] virtual bool open(const Nonce& nonce, std::span<const std::byte> aad, std::span<const std::byte> sealed,
                                  std::byte* out) = 0;
};

/// One implementation of one algorithm. Threads: any.
class AeadBackend {
 public:
  virtual ~AeadBackend();
  /// "ipsec-mb", "openssl", "libsodium", "openssl-chacha20".
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual AeadAlgorithm algorithm() const = 0;
  [[nodiscard]] virtual std::unique_ptr<AeadKey> make_key(std::span<const std::byte, aead_key_size> key) const = 0;
};

/// Every backend usable on this machine, decided once at run time by CPU features; best first within an algorithm,
/// AES-256-GCM first where the CPU has AES instructions. Lives for the whole process. Threads: any.
[[nodiscard]] std::span<const AeadBackend* const> aead_backends();
/// The best one of `algorithm`; both algorithms always have one.
[[nodiscard]] const AeadBackend& aead_backend_for(AeadAlgorithm algorithm);
/// nullptr when unknown or not usable here.
[[nodiscard]] const AeadBackend* aead_backend_named(std::string_view name);
/// The order in which this end offers suites: AES-256-GCM first unless the CPU has no AES instructions.
[[nodiscard]] std::array<AeadAlgorithm, 2> aead_preference();

}  // namespace penstock::crypto
