#include "netem/emulator/checksum_repair.h"

#include <doctest/doctest.h>

#include <bit>
#include <vector>

#include "tests/unit/netem/ip_packets.h"

namespace penstock::netem {
namespace {

using test::full_checksum;
using test::make_packet;
using test::PacketSpec;
using test::stored_checksum;
using test::Version;

struct Difference {
  int bits = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

/// Where two packets of one size differ, the two bytes at `except` left out.
Difference compare(const std::vector<std::byte>& a, const std::vector<std::byte>& b, std::size_t except) {
  Difference difference;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (i == except || i == except + 1 || a[i] == b[i]) continue;
    if (difference.bits == 0) difference.first = i;
    difference.last = i;
    difference.bits += std::popcount(std::to_integer<unsigned>(a[i] ^ b[i]));
  }
  return difference;
}

constexpr std::size_t nowhere = 1'000'000;

TEST_CASE("checksum repair: whatever bit is flipped, the checksum is that of a full computation") {
  for (const Version version : {Version::v4, Version::v6}) {
    for (const std::uint8_t protocol : {std::uint8_t{6}, std::uint8_t{17}}) {
      for (const std::size_t payload : {1U, 2U, 3U, 64U, 101U}) {  // odd and even
        for (const std::size_t options : {0U, 12U}) {
          const PacketSpec spec{.version = version,
                                .protocol = protocol,
                                .ip_options = version == Version::v4 ? options : 0,
                                .tcp_options = options,
                                .payload = payload,
                                .seed = payload + options};
          const auto packet = make_packet(spec);
          REQUIRE(stored_checksum(packet) == full_checksum(packet));
          for (std::uint64_t bit = 0; bit < 8 * packet.size(); ++bit) {
            auto damaged = packet;
            REQUIRE(flip_bit(damaged, bit, CorruptReach::application));
            REQUIRE(stored_checksum(damaged) == full_checksum(damaged));
            const std::size_t checksum_at = packet.size() - payload - (protocol == 17 ? 2 : 4 + spec.tcp_options);
            const Difference difference = compare(packet, damaged, checksum_at);
            REQUIRE(difference.bits == 1);
            REQUIRE(difference.first >= packet.size() - payload);
          }
        }
      }
    }
  }
}

TEST_CASE("checksum repair: every word of every value agrees with the full computation") {
  // One's complement sums have two zeros, which is where incremental updates go wrong (RFC 1624 section 4).
  const auto sum = [](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t total = a + b;
    return static_cast<std::uint16_t>(~((total & 0xffff) + (total >> 16)) & 0xffff);
  };
  for (std::uint32_t old_word = 0; old_word <= 0xffff; old_word += 17) {
    for (unsigned bit = 0; bit < 16; ++bit) {
      const auto new_word = static_cast<std::uint16_t>(old_word ^ 1U << bit);
      constexpr std::uint16_t rest = 0x4511;  // never an all-zero packet: IP headers are not
      REQUIRE(updated_checksum(sum(rest, old_word), static_cast<std::uint16_t>(old_word), new_word) ==
              sum(rest, new_word));
    }
  }
}

TEST_CASE("checksum repair: a UDP checksum of zero stays, since it says that there is none") {
  auto packet = make_packet({.payload = 20});
  packet[26] = packet[27] = std::byte{0};
  const auto before = packet;
  REQUIRE(flip_bit(packet, 8 * packet.size() - 1, CorruptReach::application));
  CHECK(stored_checksum(packet) == 0);
  CHECK(compare(before, packet, nowhere).bits == 1);
}

TEST_CASE("checksum repair: a UDP checksum that comes out as zero is sent as 0xffff") {
  // The last payload word is chosen so that the flip of its lowest bit makes the sum 0xffff.
  auto packet = make_packet({.payload = 20});
  packet[46] = packet[47] = std::byte{0};
  const std::uint16_t wanted = full_checksum(packet);  // put in as a word, it makes the sum 0xffff and the checksum 0
  packet[46] = static_cast<std::byte>(wanted >> 8);
  packet[47] = static_cast<std::byte>((wanted & 0xff) ^ 0x80);
  const std::uint16_t checksum = full_checksum(packet);
  packet[26] = static_cast<std::byte>(checksum >> 8);
  packet[27] = static_cast<std::byte>(checksum & 0xff);
  REQUIRE(flip_bit(packet, 8 * packet.size() - 1, CorruptReach::application));
  CHECK(packet[47] == static_cast<std::byte>(wanted & 0xff));
  CHECK(stored_checksum(packet) == 0xffff);
}

TEST_CASE("corruption: what stops in the kernel hits all behind the IP header, and only there, one bit") {
  for (const Version version : {Version::v4, Version::v6}) {
    const auto packet =
        make_packet({.version = version, .ip_options = version == Version::v4 ? 8U : 0U, .payload = 12});
    const std::size_t header = version == Version::v4 ? 28 : 40;
    std::vector<bool> hit(packet.size());
    for (std::uint64_t bit = 0; bit < 8 * packet.size(); ++bit) {
      auto damaged = packet;
      REQUIRE(flip_bit(damaged, bit, CorruptReach::kernel));
      const Difference difference = compare(packet, damaged, nowhere);
      REQUIRE(difference.bits == 1);
      hit[difference.first] = true;
      REQUIRE(stored_checksum(damaged) != full_checksum(damaged));
    }
    for (std::size_t i = 0; i < packet.size(); ++i) REQUIRE(hit[i] == (i >= header));
  }
}

TEST_CASE("corruption: a packet without payload, another protocol or a later fragment is damaged without repair") {
  for (const PacketSpec& spec : {PacketSpec{.protocol = 6, .payload = 0}, PacketSpec{.protocol = 1, .payload = 64},
                                 PacketSpec{.protocol = 17, .payload = 64, .fragment_offset = 185}}) {
    const auto packet = make_packet(spec);
    for (std::uint64_t bit = 0; bit < 8 * packet.size(); ++bit) {
      auto damaged = packet;
      REQUIRE(flip_bit(damaged, bit, CorruptReach::application));
      const Difference difference = compare(packet, damaged, nowhere);
      REQUIRE(difference.bits == 1);
      REQUIRE(difference.first >= 20);
    }
  }
}

TEST_CASE("corruption: what has nothing behind its IP header stays whole") {
  auto packet = make_packet({.protocol = 59, .payload = 0});
  const auto before = packet;
  CHECK_FALSE(flip_bit(packet, 5, CorruptReach::kernel));
  CHECK(packet == before);
}

TEST_CASE("corruption: a TCP header that lies about its length is damaged without repair, within the packet") {
  auto packet = make_packet({.protocol = 6, .payload = 8});
  for (int words = 0; words < 16; ++words) {
    packet[32] = static_cast<std::byte>(words << 4);
    for (std::uint64_t bit = 0; bit < 8 * packet.size(); bit += 5) {
      auto damaged = packet;
      REQUIRE(flip_bit(damaged, bit, CorruptReach::application));
      REQUIRE(compare(packet, damaged, 36).bits <= 1);
    }
  }
}

}  // namespace
}  // namespace penstock::netem
