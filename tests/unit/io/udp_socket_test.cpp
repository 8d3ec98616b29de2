#include "dataplane/io/udp_socket.h"

#include <netinet/in.h>

#include <vector>

#include "dataplane/io/path_mtu.h"
#include "tests/unit/io/support.h"

namespace penstock::io {

TEST_CASE("udp socket: a taken address is named in the error") {
  const UdpSocket first = bound("127.0.0.1:0");
  const auto second = UdpSocket::bind(first.local());
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == ErrorCode::IO_ERROR);
  CHECK(second.error().message.find(first.local().to_string()) != std::string::npos);
}

TEST_CASE("udp socket: the wildcard of IPv6 takes both families") {
  const UdpSocket socket = bound("[::]:0");
  CHECK(socket.reaches(endpoint("127.0.0.1:1")));
  CHECK(socket.reaches(endpoint("[::1]:1")));
  const UdpSocket v4 = bound("127.0.0.1:0");
  CHECK(v4.reaches(endpoint("127.0.0.1:1")));
  CHECK_FALSE(v4.reaches(endpoint("[::1]:1")));
  const UdpSocket v6 = bound("[::1]:0");
  CHECK_FALSE(v6.reaches(endpoint("127.0.0.1:1")));
}

TEST_CASE("udp socket: don't-fragment is set and the kernel's path MTU is not believed") {
  const UdpSocket socket = bound("[::]:0");
  int mode = 0;
  socklen_t length = sizeof mode;
  REQUIRE(::getsockopt(socket.fd(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, &length) == 0);
  CHECK(mode == IPV6_PMTUDISC_PROBE);
  REQUIRE(::getsockopt(socket.fd(), IPPROTO_IP, IP_MTU_DISCOVER, &mode, &length) == 0);
  CHECK(mode == IP_PMTUDISC_PROBE);
}

TEST_CASE("udp socket: the buffers that the kernel granted are reported") {
  UdpSocketOptions options;
  options.receive_buffer = 64 * KiB;
  options.send_buffer = 32 * KiB;
  const UdpSocket socket = bound("127.0.0.1:0", options);
  CHECK(socket.receive_buffer() >= 64 * KiB);
  CHECK(socket.receive_buffer() < 1 * MiB);
  CHECK(socket.send_buffer() >= 32 * KiB);
}

TEST_CASE("bind with companion: numbers that the companion can not have are given back") {
  std::vector<std::uint16_t> offered;
  const auto socket = bind_with_companion(endpoint("127.0.0.1:0"), {}, [&](const Endpoint& local) {
    offered.push_back(local.port());
    return offered.size() == 3;
  });
  REQUIRE(socket.ok());
  CHECK(offered.size() == 3);
  CHECK(socket->local().port() == offered.back());
}

TEST_CASE("bind with companion: a number that was asked for is not the companion's to refuse") {
  const std::uint16_t port = bound("127.0.0.1:0").local().port();
  const auto socket = bind_with_companion(endpoint("127.0.0.1:0").with_port(port), {}, [](const Endpoint&) {
    FAIL("asked");
    return false;
  });
  REQUIRE(socket.ok());
  CHECK(socket->local().port() == port);
}

TEST_CASE("bind with companion: it gives up in the end") {
  int asked = 0;
  const auto socket = bind_with_companion(endpoint("127.0.0.1:0"), {}, [&](const Endpoint&) {
    ++asked;
    return false;
  });
  CHECK_FALSE(socket.ok());
  CHECK(asked == 32);
}

TEST_CASE("path mtu: the believed size is capped, and never below what every path carries") {
  CHECK(*udp_payload_towards(endpoint("127.0.0.1:1")) == 1472);  // loopback is no wire
  CHECK(*udp_payload_towards(endpoint("[::1]:1")) == 1452);
  CHECK(*udp_payload_towards(endpoint("127.0.0.1:1"), 9000) == 8972);
  CHECK(*udp_payload_towards(endpoint("127.0.0.1:1"), 600) == 1200);
  CHECK(*udp_payload_towards(endpoint("127.0.0.1:1"), mtu_of_no_wire) == 65507);
}

}  // namespace penstock::io
