#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock::storage {

/// CRC-32C (Castagnoli), as iSCSI and ext4 use it. Source: RFC 3720 appendix B.4.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> data);

}  // namespace penstock::storage
