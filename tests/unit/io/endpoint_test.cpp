#include "dataplane/io/endpoint.h"

#include <net/if.h>
#include <netinet/in.h>

#include <string>
#include <unordered_set>

#include <doctest/doctest.h>

namespace penstock::io {
namespace {

std::string reprinted(const std::string& text) {
  const auto parsed = Endpoint::parse(text);
  return parsed ? parsed->to_string() : "refused";
}

}  // namespace

TEST_CASE("endpoint: what is printed is what was parsed") {
  for (const std::string text : {"192.0.2.1:7440", "0.0.0.0:0", "255.255.255.255:65535", "[::]:7440", "[::1]:1",
                                 "[2001:db8::5]:443", "[fe80::1%lo]:9"}) {
    CHECK(reprinted(text) == text);
  }
}

TEST_CASE("endpoint: anything but one numeric address with a port is refused") {
  for (const std::string text : {"",
                                 ":",
                                 "7440",
                                 "192.0.2.1",
                                 "192.0.2.1:",
                                 "192.0.2.1:65536",
                                 "192.0.2.1:-1",
                                 "192.0.2.1:+1",
                                 "192.0.2.1: 1",
                                 "192.0.2.1:7x",
                                 "192.0.2:1",
                                 "192.0.2.256:1",
                                 "host:1",
                                 "::1:7440",
                                 "[::1]",
                                 "[::1]:",
                                 "[::1:7440",
                                 "::1]:7440",
                                 "[]:1",
                                 "[192.0.2.1]:1",
                                 "[::1%]:1",
                                 "[fe80::1%no-such-interface]:1",
                                 "[fe80::1%an-overlong-interface]:1",
                                 "[2001:db8:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0]:1"}) {
    CHECK_MESSAGE(reprinted(text) == "refused", text);
  }
  CHECK_FALSE(Endpoint::parse(std::string_view{"192.0.2.1\0x:1", 13}));
}

TEST_CASE("endpoint: an IPv4-mapped IPv6 address is the IPv4 address") {
  const auto mapped = Endpoint::parse("[::ffff:192.0.2.1]:7440");
  const auto plain = Endpoint::parse("192.0.2.1:7440");
  REQUIRE(mapped);
  REQUIRE(plain);
  CHECK(*mapped == *plain);
  CHECK(std::hash<Endpoint>{}(*mapped) == std::hash<Endpoint>{}(*plain));
  CHECK(mapped->is_v4());
  CHECK(mapped->to_string() == "192.0.2.1:7440");

  sockaddr_storage storage{};
  const auto length = plain->to_sockaddr_for(AF_INET6, storage);
  REQUIRE(length);
  CHECK(Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), *length) == plain);
}

TEST_CASE("endpoint: address, port and zone each make a difference") {
  const std::unordered_set<Endpoint> all{*Endpoint::parse("192.0.2.1:1"),   *Endpoint::parse("192.0.2.1:2"),
                                         *Endpoint::parse("192.0.2.2:1"),   *Endpoint::parse("[::1]:1"),
                                         *Endpoint::parse("[fe80::1%1]:1"), *Endpoint::parse("[fe80::1%2]:1")};
  CHECK(all.size() == 6);
  CHECK(*Endpoint::parse("192.0.2.1:1") < *Endpoint::parse("192.0.2.1:2"));
}

TEST_CASE("endpoint: a zone means something for link-local addresses alone") {
  CHECK(Endpoint::parse("[fe80::1%7]:1")->scope_id() == 7);
  CHECK(*Endpoint::parse("[2001:db8::1%1]:1") == *Endpoint::parse("[2001:db8::1]:1"));
}

TEST_CASE("endpoint: socket addresses come back as they went") {
  for (const std::string text : {"192.0.2.1:7440", "[2001:db8::5]:443", "[fe80::1%3]:9"}) {
    const auto original = *Endpoint::parse(text);
    sockaddr_storage storage{};
    const socklen_t length = original.to_sockaddr(storage);
    const auto* address = reinterpret_cast<const sockaddr*>(&storage);
    CHECK(Endpoint::from_sockaddr(address, length) == original);
    CHECK_FALSE(Endpoint::from_sockaddr(address, length - 1));
  }
  sockaddr_storage storage{};
  CHECK_FALSE(Endpoint::parse("[::1]:1")->to_sockaddr_for(AF_INET, storage));
  storage.ss_family = AF_UNIX;
  CHECK_FALSE(Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), sizeof storage));
}

TEST_CASE("endpoint: kinds of addresses are told apart") {
  CHECK(Endpoint{}.is_wildcard());
  CHECK(Endpoint::parse("0.0.0.0:5")->is_wildcard());
  CHECK_FALSE(Endpoint::parse("[::1]:5")->is_wildcard());
  CHECK(Endpoint::parse("127.8.0.1:5")->is_loopback());
  CHECK(Endpoint::parse("[::1]:5")->is_loopback());
  CHECK_FALSE(Endpoint::parse("128.0.0.1:5")->is_loopback());
  CHECK_FALSE(Endpoint{}.is_loopback());
  CHECK(Endpoint::parse("169.254.3.4:5")->is_link_local());
  CHECK(Endpoint::parse("[febf::1]:5")->is_link_local());
  CHECK_FALSE(Endpoint::parse("[fec0::1]:5")->is_link_local());
}

}  // namespace penstock::io
