#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace penstock::bytes {

/// The same bytes under another type; borrowed, lives as long as `text` or `data`.
[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}
[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

}  // namespace penstock::bytes
