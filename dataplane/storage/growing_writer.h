#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/bytes/view.h"

namespace penstock::storage {

/// Appends network-byte-order fields to a vector that grows: for records of our own whose size is not known before.
/// Read back by bytes::WireReader. Threads: one owner.
class GrowingWriter {
 public:
  /// `out` is borrowed for the writer's life.
  explicit GrowingWriter(std::vector<std::byte>& out) : out_(out) {}

  void u8(std::uint8_t value) { big_endian(value, 1); }
  void u32(std::uint32_t value) { big_endian(value, 4); }
  void u64(std::uint64_t value) { big_endian(value, 8); }
  void bytes(std::span<const std::byte> data) { out_.insert(out_.end(), data.begin(), data.end()); }
  /// A 32-bit length, then the text.
  void text(std::string_view text) {
    u32(static_cast<std::uint32_t>(text.size()));
    bytes(penstock::bytes::as_bytes(text));
  }

 private:
  void big_endian(std::uint64_t value, unsigned count) {
    std::array<std::byte, 8> field{};
    for (unsigned i = 0; i < count; ++i) field[i] = static_cast<std::byte>(value >> (8 * (count - 1 - i)) & 0xff);
    bytes(std::span{field}.first(count));
  }
  std::vector<std::byte>& out_;
};

}  // namespace penstock::storage
