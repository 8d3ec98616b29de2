#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace penstock::bytes {

/// Reads network-byte-order fields from a peer's bytes. Failure is sticky: after one short read every read fails and
/// gives 0 or an empty view, so a decoder reads all its fields and asks ok() once. Never reads past its span, never
/// allocates. Views it returns are borrowed from that span.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> data) : data_(data) {}

  [[nodiscard]] bool ok() const { return ok_; }
  /// Everything so far was there, and nothing is left over: lengths are exact.
  [[nodiscard]] bool done() const { return ok_ && remaining() == 0; }
  /// Bytes not yet read; 0 after a failure.
  [[nodiscard]] std::size_t remaining() const { return data_.size() - position_; }
  /// Bytes read so far; meaningless after a failure.
  [[nodiscard]] std::size_t position() const { return position_; }
  /// For a decoder that found a value it can not go on from.
  void fail() {
    ok_ = false;
    position_ = data_.size();
  }

  std::uint8_t u8() { return big_endian<std::uint8_t>(); }
  std::uint16_t u16() { return big_endian<std::uint16_t>(); }
  std::uint32_t u24() {
    if (remaining() < 3) return fail(), 0;
    const std::uint32_t high = u8();
    return high << 16 | u16();
  }
  std::uint32_t u32() { return big_endian<std::uint32_t>(); }
  std::uint64_t u48() {
    if (remaining() < 6) return fail(), 0;
    const std::uint64_t high = u16();
    return high << 32 | u32();
  }
  std::uint64_t u64() { return big_endian<std::uint64_t>(); }

  /// Variable-length integer, at most 2^62 - 1 (RFC 9000 section 16). Longer forms than needed are accepted.
  std::uint64_t varint() {
    if (remaining() == 0) return fail(), 0;
    const auto prefix = std::to_integer<unsigned>(data_[position_]) >> 6;
    switch (prefix) {
      case 0:
        return u8() & 0x3fU;
      case 1:
        return u16() & 0x3fffU;
      case 2:
        return u32() & 0x3fff'ffff;
      default:
        return u64() & 0x3fff'ffff'ffff'ffff;
    }
  }

  /// The next `count` bytes.
  std::span<const std::byte> bytes(std::uint64_t count) {
    if (count > remaining()) return fail(), std::span<const std::byte>{};
    const auto view = data_.subspan(position_, static_cast<std::size_t>(count));
    position_ += view.size();
    return view;
  }
  /// All that is left, maybe nothing.
  std::span<const std::byte> rest() { return bytes(remaining()); }
  void skip(std::uint64_t count) { (void)bytes(count); }

 private:
  template <class Field>
  Field big_endian() {
    if (sizeof(Field) > remaining()) return fail(), Field{0};
    Field value;
    std::memcpy(&value, data_.data() + position_, sizeof value);
    position_ += sizeof value;
    if constexpr (std::endian::native == std::endian::big || sizeof value == 1) return value;
    if constexpr (sizeof value == 2) return __builtin_bswap16(value);
    if constexpr (sizeof value == 4) return __builtin_bswap32(value);
    if constexpr (sizeof value == 8) return __builtin_bswap64(value);
  }

  std::span<const std::byte> data_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace penstock::bytes
