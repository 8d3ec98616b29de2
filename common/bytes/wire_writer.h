#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "common/check.h"

namespace penstock::bytes {

inline constexpr std::uint64_t varint_max = (std::uint64_t{1} << 62) - 1;  // RFC 9000 section 16

/// Bytes that varint() takes for `value`. Requires: value <= varint_max.
[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) {
  return value < (1U << 6) ? 1 : value < (1U << 14) ? 2 : value < (1U << 30) ? 4 : 8;
}

/// Writes network-byte-order fields into the caller's span. Overflow is sticky: what does not fit is not written at
/// all, nor is anything after it, and ok() turns false; nothing past the span is ever touched. Never allocates.
/// A value too large for its field is a fault of ours and aborts.
class WireWriter {
 public:
  explicit WireWriter(std::span<std::byte> out) : out_(out) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t size() const { return position_; }
  /// Room left; 0 after an overflow.
  [[nodiscard]] std::size_t remaining() const { return ok_ ? out_.size() - position_ : 0; }
  /// What has been written, in place.
  [[nodiscard]] std::span<std::byte> written() const { return out_.first(position_); }

  void u8(std::uint8_t value) { big_endian(value, 1); }
  void u16(std::uint16_t value) { big_endian(value, 2); }
  void u24(std::uint32_t value) { big_endian(value, 3); }
  void u32(std::uint32_t value) { big_endian(value, 4); }
  void u48(std::uint64_t value) { big_endian(value, 6); }
  void u64(std::uint64_t value) { big_endian(value, 8); }

  /// The shortest form (RFC 9000 section 16). Requires: value <= varint_max.
  void varint(std::uint64_t value) {
    PENSTOCK_CHECK(value <= varint_max);
    switch (varint_size(value)) {
      case 1:
        return big_endian(value, 1);
      case 2:
        return big_endian(value | std::uint64_t{1} << 14, 2);
      case 4:
        return big_endian(value | std::uint64_t{2} << 30, 4);
      default:
        return big_endian(value | std::uint64_t{3} << 62, 8);
    }
  }

  void bytes(std::span<const std::byte> data) {
    const auto room = reserve(data.size());
    if (!room.empty()) std::memcpy(room.data(), data.data(), room.size());
  }
  void zeros(std::size_t count) {
    const auto room = reserve(count);
    if (!room.empty()) std::memset(room.data(), 0, room.size());
  }
  /// Room for `count` bytes that the caller fills in place; empty, and an overflow, when they do not fit.
  std::span<std::byte> reserve(std::size_t count) {
    if (count > remaining()) {
      ok_ = false;
      return {};
    }
    const auto room = out_.subspan(position_, count);
    position_ += count;
    return room;
  }

 private:
  void big_endian(std::uint64_t value, std::size_t count) {
    PENSTOCK_CHECK(count == 8 || value >> (8 * count) == 0);
    if (count > remaining()) {
      ok_ = false;
      return;
    }
    for (std::size_t i = count; i-- > 0; value >>= 8) out_[position_ + i] = static_cast<std::byte>(value & 0xff);
    position_ += count;
  }

  std::span<std::byte> out_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace penstock::bytes
