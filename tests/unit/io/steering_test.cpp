#include "dataplane/io/steering.h"

#include <set>
#include <vector>

#include "dataplane/io/bound_ports.h"
#include "tests/unit/io/support.h"

namespace penstock::io {
namespace {

Bytes datagram_with(ConnectionId id, std::size_t size) {
  Bytes out(size, std::byte{0x45});
  for (std::size_t i = 0; i < 8 && 1 + i < size; ++i) out[1 + i] = static_cast<std::byte>(id.value >> (56 - 8 * i));
  return out;
}

BoundPorts ports_of(const std::vector<std::string>& listen, std::size_t workers,
                    UdpSteering steering = UdpSteering::automatic) {
  std::vector<Endpoint> addresses;
  for (const auto& text : listen) addresses.push_back(endpoint(text));
  auto ports = bind_ports(addresses, {}, {}, workers, steering);
  REQUIRE(ports.ok());
  return std::move(ports).value();
}

}  // namespace

TEST_CASE("steering: an id that was made for a worker names it, and keeps the rest of its randomness") {
  Rng rng{1};
  for (std::size_t workers = 1; workers <= 16; ++workers) {
    std::set<std::uint64_t> first_bytes;
    for (int i = 0; i < 4000; ++i) {
      const std::uint64_t random = rng.next();
      const std::size_t worker = rng.below(workers);
      const ConnectionId id = id_naming(worker, workers, random);
      REQUIRE(worker_named_by(id, workers) == worker);
      REQUIRE((id.value << 8) == (random << 8));
      first_bytes.insert(id.value >> 56);
    }
    // Every value of the byte occurs, so that the id tells nothing beyond its worker.
    CHECK(first_bytes.size() == 256);
  }
}

TEST_CASE("steering: the kernel hands each datagram to the socket that its id names, over both families") {
  for (const std::string listen : {"127.0.0.1:0", "[::1]:0"}) {
    CAPTURE(listen);
    const BoundPorts ports = ports_of({listen}, 5);
    REQUIRE(ports.steered);
    REQUIRE(ports.of_worker.size() == 5);
    const UdpSocket stranger = bound(listen);
    Rng rng{7};
    for (int i = 0; i < 200; ++i) {
      const std::size_t worker = rng.below(5);
      const Bytes sent = datagram_with(id_naming(worker, 5, rng.next()), 40 + rng.below(1000));
      push_plain(stranger, ports.of_worker[0][0].local(), sent);
      ReceiveQueue in{ports.of_worker[worker][0]};
      CHECK(receive_datagrams(ports.of_worker[worker][0], in, 1) == std::vector<Bytes>{sent});
    }
  }
}

TEST_CASE("steering: a dual-stack socket's IPv4 peers are steered as well") {
  const BoundPorts ports = ports_of({"[::]:0"}, 3);
  REQUIRE(ports.steered);
  const Endpoint v4 = Endpoint::v4({127, 0, 0, 1}, ports.of_worker[0][0].local().port());
  const UdpSocket stranger = bound("127.0.0.1:0");
  Rng rng{8};
  for (std::size_t i = 0; i < 60; ++i) {
    const Bytes sent = datagram_with(id_naming(i % 3, 3, rng.next()), 100);
    push_plain(stranger, v4, sent);
    ReceiveQueue in{ports.of_worker[i % 3][0]};
    CHECK(receive_datagrams(ports.of_worker[i % 3][0], in, 1) == std::vector<Bytes>{sent});
  }
}

TEST_CASE("steering: what is too short to have an id goes to the first worker") {
  const BoundPorts ports = ports_of({"127.0.0.1:0"}, 4);
  REQUIRE(ports.steered);
  const UdpSocket stranger = bound("127.0.0.1:0");
  push_plain(stranger, ports.of_worker[0][0].local(), Bytes(1, std::byte{0xff}));
  ReceiveQueue in{ports.of_worker[0][0]};
  CHECK(receive_datagrams(ports.of_worker[0][0], in, 1).size() == 1);
}

TEST_CASE("bound ports: all workers have every address, with one port number each") {
  const BoundPorts ports = ports_of({"127.0.0.1:0", "[::1]:0"}, 3);
  REQUIRE(ports.of_worker.size() == 3);
  for (const auto& of_one : ports.of_worker) {
    REQUIRE(of_one.size() == 2);
    CHECK(of_one[0].local() == ports.of_worker[0][0].local());
    CHECK(of_one[1].local() == ports.of_worker[0][1].local());
  }
  CHECK(ports.trouble.empty());
}

TEST_CASE("bound ports: a second group of the same user is refused the port, as a single socket is") {
  const BoundPorts first = ports_of({"127.0.0.1:0"}, 3);
  const Endpoint taken = first.of_worker[0][0].local();
  for (const std::size_t workers : {1U, 3U}) {
    const auto second = bind_ports({taken}, {}, {}, workers, UdpSteering::automatic);
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code == ErrorCode::IO_ERROR);
    CHECK(second.error().message.find(taken.to_string()) != std::string::npos);
  }
}

TEST_CASE("bound ports: steering can be left off") {
  CHECK_FALSE(ports_of({"127.0.0.1:0"}, 3, UdpSteering::off).steered);
  CHECK_FALSE(ports_of({"127.0.0.1:0"}, 1).steered);
}

}  // namespace penstock::io
