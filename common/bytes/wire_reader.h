#pragma once

#include <cstddef>
#include <cstdint>
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

  std::uint8_t u8() { return static_cast<std::uint8_t>(big_endian(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(big_endian(2)); }
  std::uint32_t u24() { return static_cast<std::uint32_t>(big_endian(3)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(big_endian(4)); }
  std::uint64_t u48() { return big_endian(6); }
  std::uint64_t u64() { return big_endian(8); }

  /// Variable-length integer, at most 2^62 - 1 (RFC 9000 section 16). Longer forms than needed are accepted.
  std::uint64_t varint() {
    if (remaining() == 0) return fail(), 0;
    const auto prefix = std::to_integer<unsigned>(data_[position_]) >> 6;
    const std::size_t length = std::size_t{1} << prefix;
    return big_endian(length) & (~std::uint64_t{0} >> (66 - 8 * length));
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
  std::uint64_t big_endian(std::size_t count) {
    if (count > remaining()) return fail(), 0;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | std::to_integer<std::uint64_t>(data_[position_ + i]);
    position_ += count;
    return value;
  }

  std::span<const std::byte> data_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace penstock::bytes
