#include "netem/emulator/ip_ecn.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "tests/unit/netem/ip_packets.h"

namespace penstock::netem {
namespace {

using test::make_packet;
using test::Version;

/// The sum of an IPv4 header's words, its checksum among them: 0xffff when that is right (RFC 791).
std::uint32_t header_sum(const std::vector<std::byte>& packet) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 20; i += 2) {
    sum += std::to_integer<std::uint32_t>(packet[i]) << 8 | std::to_integer<std::uint32_t>(packet[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

void set_checksum(std::vector<std::byte>& packet) {
  packet[10] = packet[11] = std::byte{0};
  const std::uint32_t checksum = ~header_sum(packet) & 0xffff;
  packet[10] = static_cast<std::byte>(checksum >> 8);
  packet[11] = static_cast<std::byte>(checksum & 0xff);
}

TEST_CASE("ip ecn: every mark but none asks for marks, and CE changes two bits and the header's checksum alone") {
  for (const unsigned dscp : {0U, 46U, 63U}) {
    for (unsigned mark = 0; mark < 4; ++mark) {
      CAPTURE(dscp);
      CAPTURE(mark);
      const unsigned field = dscp << 2 | mark;
      auto v4 = make_packet({});
      v4[1] = static_cast<std::byte>(field);
      set_checksum(v4);
      CHECK(heeds_marks(v4) == (mark != 0));
      const auto before = v4;
      mark_congested(v4);
      CHECK(v4[1] == static_cast<std::byte>(field | 3));
      CHECK(header_sum(v4) == 0xffff);
      v4[1] = before[1];
      v4[10] = before[10];
      v4[11] = before[11];
      CHECK(v4 == before);

      auto v6 = make_packet({.version = Version::v6});
      v6[0] = static_cast<std::byte>(0x60 | field >> 4);
      v6[1] = static_cast<std::byte>((field & 0xf) << 4 | 0x5);  // the flow label begins here
      CHECK(heeds_marks(v6) == (mark != 0));
      auto wanted = v6;
      wanted[1] |= std::byte{0x30};
      mark_congested(v6);
      CHECK(v6 == wanted);
    }
  }
}

}  // namespace
}  // namespace penstock::netem
