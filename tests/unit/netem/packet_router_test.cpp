#include "netem/emulator/packet_router.h"

#include <doctest/doctest.h>

#include "tests/unit/netem/ip_packets.h"

namespace penstock::netem {
namespace {

using test::address;
using test::make_packet;
using test::Version;

PacketRouter two_hosts() {
  PacketRouter router;
  REQUIRE(router.add(address("10.77.0.1"), 0));
  REQUIRE(router.add(address("fd77::1"), 0));
  REQUIRE(router.add(address("10.77.0.2"), 1));
  REQUIRE(router.add(address("fd77::2"), 1));
  return router;
}

TEST_CASE("packet router: IPv4 and IPv6 packets go to the host that has the address") {
  const PacketRouter router = two_hosts();
  for (const Version version : {Version::v4, Version::v6}) {
    CHECK(router.route(make_packet({.version = version, .destination = 1})) == 0);
    CHECK(router.route(make_packet({.version = version, .destination = 2})) == 1);
    CHECK_FALSE(router.route(make_packet({.version = version, .destination = 3})));
  }
}

TEST_CASE("packet router: an address has one host") {
  PacketRouter router = two_hosts();
  CHECK_FALSE(router.add(address("10.77.0.2"), 5));
  CHECK(router.route(make_packet({.destination = 2})) == 1);
}

TEST_CASE("packet router: what is no whole IP packet has no host, at every length") {
  const PacketRouter router = two_hosts();
  for (const Version version : {Version::v4, Version::v6}) {
    const auto packet = make_packet({.version = version, .payload = 30});
    for (std::size_t size = 0; size < packet.size(); ++size) {
      REQUIRE_FALSE(router.route(std::span{packet}.first(size)));
    }
    auto wrong = packet;
    wrong[0] = std::byte{0x55};
    CHECK_FALSE(router.route(wrong));
  }
  auto short_header = make_packet({});
  short_header[0] = std::byte{0x44};
  CHECK_FALSE(router.route(short_header));
  auto short_total = make_packet({});
  short_total[2] = std::byte{0};
  short_total[3] = std::byte{19};
  CHECK_FALSE(router.route(short_total));
}

TEST_CASE("packet router: multicast has no host") {
  auto packet = make_packet({.version = Version::v6});
  packet[24] = std::byte{0xff};
  packet[25] = std::byte{0x02};
  CHECK_FALSE(two_hosts().route(packet));
}

}  // namespace
}  // namespace penstock::netem
