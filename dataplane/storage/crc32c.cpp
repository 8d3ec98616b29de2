#include "dataplane/storage/crc32c.h"

#include <array>

namespace penstock::storage {

namespace {

constexpr std::uint32_t polynomial_reflected = 0x82f63b78;

// Slicing by eight: tables[k][b] is what byte b does to the sum k bytes further on, so that eight bytes cost eight
// independent look-ups and not eight in a row.
constexpr std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ polynomial_reflected : value >> 1;
    tables[0][i] = value;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t i = 0; i < 256; ++i) tables[k][i] = tables[k - 1][i] >> 8 ^ tables[0][tables[k - 1][i] & 0xff];
  }
  return tables;
}
constexpr auto tables = make_tables();

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> data) {
  std::uint32_t crc = ~std::uint32_t{0};
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(data[i]); };
  while (data.size() >= 8) {
    crc ^= byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
    crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^ tables[4][crc >> 24] ^
          tables[3][byte(4)] ^ tables[2][byte(5)] ^ tables[1][byte(6)] ^ tables[0][byte(7)];
    data = data.subspan(8);
  }
  for (const std::byte last : data) crc = crc >> 8 ^ tables[0][(crc ^ std::to_integer<std::uint32_t>(last)) & 0xff];
  return ~crc;
}

}  // namespace penstock::storage
