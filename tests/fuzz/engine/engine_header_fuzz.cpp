#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "dataplane/engine/wire/packet_header.h"

/// A header that is taken is written again byte for byte, and the number it stands for has its low bits.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock;
  using namespace penstock::engine;
  const auto datagram = std::as_bytes(std::span(data, size));
  const auto header = decode_packet_header(datagram);
  if (!header) return 0;
  std::array<std::byte, data_header_size> again;
  encode_packet_header(*header, again);
  PENSTOCK_CHECK(std::equal(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(header_size(header->type)),
                            datagram.begin()));
  const PacketNumber largest{header->connection.value >> 2};
  const PacketNumber number = reconstruct_packet_number(header->number_low, largest);
  PENSTOCK_CHECK(static_cast<std::uint32_t>(number.value) == header->number_low);
  const std::uint64_t apart = number > largest ? number.value - largest.value : largest.value - number.value;
  PENSTOCK_CHECK(apart <= (std::uint64_t{1} << 31) + 1 || number.value < (std::uint64_t{1} << 32));
  return 0;
}
