#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>

namespace penstock::crypto {

/// Overwrites with zeros in a way that the compiler does not drop.
void wipe(std::span<std::byte> data);

/// Compares without telling by its time where the difference is. Lengths are public; different lengths are unequal.
[[nodiscard]] bool constant_time_equal(std::span<const std::byte> a, std::span<const std::byte> b);

/// N secret bytes in place: wiped on destruction, and in the source of a move. Never copied silently (see clone).
template <std::size_t N>
class SecretArray {
 public:
  SecretArray() = default;
  /// Copies in; wiping the original is the caller's matter.
  explicit SecretArray(std::span<const std::byte, N> bytes) { std::copy(bytes.begin(), bytes.end(), bytes_.begin()); }
  SecretArray(SecretArray&& other) noexcept : bytes_(other.bytes_) { other.wipe(); }
  SecretArray& operator=(SecretArray&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.wipe();
    }
    return *this;
  }
  SecretArray(const SecretArray&) = delete;
  SecretArray& operator=(const SecretArray&) = delete;
  ~SecretArray() { wipe(); }

  [[nodiscard]] SecretArray clone() const { return SecretArray{view()}; }
  [[nodiscard]] std::span<const std::byte, N> view() const { return bytes_; }
  [[nodiscard]] std::span<std::byte, N> writable() { return bytes_; }
  [[nodiscard]] static constexpr std::size_t size() { return N; }
  void wipe() { crypto::wipe(bytes_); }
  bool operator==(const SecretArray& other) const { return constant_time_equal(bytes_, other.bytes_); }

 private:
  std::array<std::byte, N> bytes_{};
};

/// Secret bytes whose count is known at run time: wiped on destruction; a move takes the block itself.
class SecretBytes {
 public:
  SecretBytes() = default;
  /// `size` zero bytes.
  explicit SecretBytes(std::size_t size);
  explicit SecretBytes(std::span<const std::byte> bytes);
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { wipe(); }

  [[nodiscard]] std::span<const std::byte> view() const { return {bytes_.get(), size_}; }
  [[nodiscard]] std::span<std::byte> writable() { return {bytes_.get(), size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// Zeroes the bytes; the size stays.
  void wipe() { crypto::wipe(writable()); }
  bool operator==(const SecretBytes& other) const { return constant_time_equal(view(), other.view()); }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0;
};

}  // namespace penstock::crypto
