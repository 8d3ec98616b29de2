#include <cerrno>
#include <string>
#include <vector>

#include "dataplane/io/receive_queue.h"
#include "dataplane/io/send_queue.h"
#include "tests/unit/io/support.h"

namespace penstock::io {
namespace {

/// A sending and a receiving socket, with the kernel between them.
struct Wire {
  explicit Wire(const UdpSocketOptions& out_options = {}, const UdpSocketOptions& in_options = {},
                const std::string& from = "127.0.0.1:0", const std::string& to = "127.0.0.1:0")
      : out_socket(bound(from, out_options)), in_socket(bound(to, in_options)), out(out_socket), in(in_socket) {}
  [[nodiscard]] Path path() const { return {.peer = in_socket.local(), .from = std::nullopt}; }
  std::vector<Bytes> receive(std::size_t count) { return receive_datagrams(in_socket, in, count); }

  UdpSocket out_socket;
  UdpSocket in_socket;
  SendQueue out;
  ReceiveQueue in;
};

UdpSocketOptions with(ScriptedCalls& calls) {
  UdpSocketOptions options;
  options.calls = &calls;
  return options;
}

}  // namespace

TEST_CASE("queues: the same datagrams arrive whatever the kernel batches") {
  for (const bool gso : {true, false}) {
    for (const bool gro : {true, false}) {
      for (const auto& addresses : {std::pair{"127.0.0.1:0", "127.0.0.1:0"}, std::pair{"[::1]:0", "[::1]:0"},
                                    std::pair{"[::]:0", "127.0.0.1:0"}, std::pair{"[::]:0", "[::1]:0"}}) {
        // Named, not bound: clang 14 lets no lambda (CAPTURE makes one) refer to a structured binding.
        const std::string from = addresses.first;
        const std::string to = addresses.second;
        CAPTURE(gso);
        CAPTURE(gro);
        CAPTURE(from);
        CAPTURE(to);
        UdpSocketOptions out_options;
        out_options.gso = gso;
        UdpSocketOptions in_options;
        in_options.gro = gro;
        Wire wire{out_options, in_options, from, to};
        CHECK(wire.out_socket.gso() == gso);
        CHECK(wire.in_socket.gro() == gro);
        // A full batch, one with a short last datagram, single datagrams.
        const std::vector<std::pair<std::size_t, std::size_t>> batches{
            {1436 * 40, 1436}, {1200 * 7 + 31, 1200}, {1472, 1472}, {29, 1200}, {2 * 100, 100}};
        std::vector<Bytes> sent;
        for (const auto& [size, segment_size] : batches) {
          const Bytes bytes = random_bytes(size, size);
          push(wire.out, wire.path(), bytes, segment_size);
          for (auto& datagram : cut(bytes, segment_size)) sent.push_back(std::move(datagram));
        }
        CHECK(wire.out.flush());
        CHECK(wire.receive(sent.size()) == sent);
        CHECK(wire.out.counters().datagrams == sent.size());
        CHECK(wire.out.counters().batches == (gso ? batches.size() : sent.size()));
      }
    }
  }
}

TEST_CASE("queues: a batch that GSO refuses goes out as the very same datagrams, and GSO stays off for that peer") {
  for (const int error : {EIO, EINVAL, EMSGSIZE}) {
    CAPTURE(error);
    ScriptedCalls calls;
    calls.on_send = [&](const mmsghdr& first) { return ScriptedCalls::segmented(first) ? error : 0; };
    Wire wire{with(calls)};
    const Bytes bytes = random_bytes(1200 * 50 - 7, 1);
    push(wire.out, wire.path(), bytes, 1200);
    CHECK(wire.out.flush());
    CHECK(wire.receive(50) == cut(bytes, 1200));
    CHECK(wire.out.counters().gso_fallbacks == 1);
    CHECK(wire.out.counters().refused == 0);
    CHECK(calls.segmented_messages == 1);

    push(wire.out, wire.path(), bytes, 1200);
    CHECK(wire.out.flush());
    CHECK(wire.receive(50) == cut(bytes, 1200));
    CHECK(calls.segmented_messages == 1);

    // Another peer is another path.
    calls.on_send = nullptr;
    const UdpSocket other = bound("127.0.0.1:0");
    ReceiveQueue other_in{other};
    push(wire.out, {.peer = other.local(), .from = std::nullopt}, bytes, 1200);
    CHECK(wire.out.flush());
    CHECK(receive_datagrams(other, other_in, 50) == cut(bytes, 1200));
    CHECK(calls.segmented_messages == 2);
    CHECK(wire.out.counters().gso_fallbacks == 1);
  }
}

TEST_CASE("queues: GSO is not blamed for a path that refuses single datagrams too") {
  ScriptedCalls calls;
  calls.on_send = [](const mmsghdr&) { return EINVAL; };
  Wire wire{with(calls)};
  push(wire.out, wire.path(), random_bytes(3000, 1), 1000);
  CHECK(wire.out.flush());
  CHECK(wire.out.counters().refused == 3);
  CHECK(wire.out.counters().gso_fallbacks == 0);

  calls.on_send = nullptr;
  const Bytes bytes = random_bytes(3000, 2);
  push(wire.out, wire.path(), bytes, 1000);
  CHECK(wire.out.flush());
  CHECK(wire.receive(3) == cut(bytes, 1000));
  CHECK(calls.segmented_messages == 2);
}

TEST_CASE("queues: a full socket loses, repeats and reorders nothing") {
  for (const bool gso : {true, false}) {
    for (unsigned taken_before = 0; taken_before <= 6; ++taken_before) {
      CAPTURE(gso);
      CAPTURE(taken_before);
      ScriptedCalls calls;
      calls.messages_max = 1;
      unsigned left = taken_before;
      bool full = true;
      calls.on_send = [&](const mmsghdr&) {
        if (!full) return 0;
        if (left == 0) return EAGAIN;
        --left;
        return 0;
      };
      UdpSocketOptions options = with(calls);
      options.gso = gso;
      Wire wire{options};
      std::vector<Bytes> sent;
      for (std::uint64_t i = 0; i < 4; ++i) {
        const Bytes bytes = random_bytes(2000 + 7 * i, i);
        push(wire.out, wire.path(), bytes, 1000);
        for (auto& datagram : cut(bytes, 1000)) sent.push_back(std::move(datagram));
      }
      const bool fits = taken_before >= wire.out.counters().batches + (gso ? 4 : sent.size());
      CHECK(wire.out.flush() == fits);
      CHECK(wire.out.blocked() == !fits);
      if (!fits) {
        CHECK(wire.out.room().empty());
        CHECK_FALSE(wire.out.flush());  // still full
      }
      full = false;
      CHECK(wire.out.flush());
      CHECK_FALSE(wire.out.blocked());
      CHECK_FALSE(wire.out.room().empty());
      CHECK(wire.receive(sent.size()) == sent);
      CHECK(wire.out.counters().datagrams == sent.size());
      CHECK(wire.out.counters().refused == 0);
    }
  }
}

TEST_CASE("queues: a socket that fills up in the middle of a GSO fallback goes on where it stopped") {
  ScriptedCalls calls;
  calls.messages_max = 3;
  int calls_made = 0;
  calls.on_send = [&](const mmsghdr& first) {
    if (ScriptedCalls::segmented(first)) return EIO;
    return ++calls_made % 2 == 0 ? EAGAIN : 0;
  };
  Wire wire{with(calls)};
  const Bytes bytes = random_bytes(100 * 20 + 1, 3);
  push(wire.out, wire.path(), bytes, 100);
  int rounds = 0;
  while (!wire.out.flush()) ++rounds;
  CHECK(rounds == 6);
  CHECK(wire.receive(21) == cut(bytes, 100));
}

TEST_CASE("queues: what the kernel refuses for good is counted and holds up nothing") {
  ScriptedCalls calls;
  int made = 0;
  calls.on_send = [&](const mmsghdr&) { return ++made == 1 ? EHOSTUNREACH : 0; };
  Wire wire{with(calls)};
  push(wire.out, wire.path(), random_bytes(2500, 1), 1000);
  const Bytes next = random_bytes(1500, 2);
  push(wire.out, wire.path(), next, 1000);
  CHECK(wire.out.flush());
  CHECK(wire.out.counters().refused == 3);
  CHECK(wire.receive(2) == cut(next, 1000));
}

TEST_CASE("queues: an interrupted call is made again") {
  ScriptedCalls calls;
  int made = 0;
  calls.on_send = [&](const mmsghdr&) { return ++made == 1 ? EINTR : 0; };
  Wire wire{with(calls)};
  const Bytes bytes = random_bytes(100, 1);
  push(wire.out, wire.path(), bytes, 100);
  CHECK(wire.out.flush());
  CHECK(wire.receive(1) == cut(bytes, 100));
}

TEST_CASE("queues: the send queue is full after a bounded number of batches and bytes") {
  Wire wire;
  std::size_t small = 0;
  while (!wire.out.room().empty()) {
    push(wire.out, wire.path(), random_bytes(40, small), 40);
    ++small;
  }
  CHECK(small == SendQueue::messages_max);
  CHECK(wire.out.flush());
  std::size_t large = 0;
  while (!wire.out.room().empty()) {
    push(wire.out, wire.path(), random_bytes(64'000, large), 1000);
    ++large;
  }
  CHECK(large == 4);
}

TEST_CASE("queues: an answer leaves from the address that the datagram came to") {
  struct Addresses {
    std::string wildcard, client, server;
  };
  for (const Addresses& addresses :
       {Addresses{"0.0.0.0:0", "127.0.0.1:0", "127.0.0.2:0"}, Addresses{"[::]:0", "127.0.0.1:0", "127.0.0.3:0"},
        Addresses{"[::]:0", "[::1]:0", "[::1]:0"}}) {
    CAPTURE(addresses.wildcard);
    CAPTURE(addresses.server);
    const UdpSocket daemon = bound(addresses.wildcard);
    const UdpSocket peer = bound(addresses.client);
    SendQueue question{peer};
    ReceiveQueue daemon_in{daemon};
    const Endpoint target = endpoint(addresses.server).with_port(daemon.local().port());
    push(question, {.peer = target, .from = std::nullopt}, random_bytes(50, 1), 50);
    REQUIRE(question.flush());
    std::vector<ReceivedRun> runs;
    REQUIRE(receive_datagrams(daemon, daemon_in, 1, &runs).size() == 1);
    CHECK(runs[0].from == peer.local());
    REQUIRE(runs[0].to);
    CHECK(runs[0].to->address == target.with_port(0));

    // A whole batch, so that source address and segment size travel in one message.
    SendQueue answer{daemon};
    ReceiveQueue peer_in{peer};
    push(answer, {.peer = runs[0].from, .from = runs[0].to}, random_bytes(150, 2), 50);
    REQUIRE(answer.flush());
    runs.clear();
    REQUIRE(receive_datagrams(peer, peer_in, 3, &runs).size() == 3);
    CHECK(runs[0].from == target);
  }
}

TEST_CASE("queues: a mark arrives with each datagram of its batch and with no other, over both families") {
  using engine::EcnMark;
  struct Addresses {
    std::string from, to;
    bool source;  // the source address is told as well
  };
  for (const bool batched : {true, false}) {
    for (const Addresses& addresses :
         {Addresses{"127.0.0.1:0", "127.0.0.1:0", false}, Addresses{"[::1]:0", "[::1]:0", false},
          Addresses{"[::]:0", "127.0.0.1:0", true}, Addresses{"[::]:0", "[::1]:0", true},
          Addresses{"0.0.0.0:0", "127.0.0.1:0", true}, Addresses{"127.0.0.1:0", "[::]:0", false}}) {
      CAPTURE(batched);
      CAPTURE(addresses.from);
      CAPTURE(addresses.to);
      UdpSocketOptions options;
      options.gso = options.gro = batched;
      Wire wire{options, options, addresses.from, addresses.to};
      Path path = wire.path();
      if (wire.in_socket.local().is_wildcard())  // IPv4 through a dual-stack socket
        path.peer = endpoint("127.0.0.1:0").with_port(path.peer.port());
      if (addresses.source) path.from = LocalAddress{path.peer.with_port(0)};
      const EcnMark marks[] = {EcnMark::none, EcnMark::ect0, EcnMark::ect0, EcnMark::none, EcnMark::ce, EcnMark::ect1};
      std::vector<EcnMark> sent;
      for (const EcnMark mark : marks) {
        push(wire.out, path, random_bytes(5 * 1200 + 100, 1), 1200, mark);
        sent.insert(sent.end(), 6, mark);
      }
      REQUIRE(wire.out.flush());
      std::vector<ReceivedRun> runs;
      REQUIRE(receive_datagrams(wire.in_socket, wire.in, sent.size(), &runs).size() == sent.size());
      std::vector<EcnMark> arrived;
      for (const ReceivedRun& run : runs)
        arrived.insert(arrived.end(), (run.bytes.size() + run.segment_size - 1) / run.segment_size, run.mark);
      CHECK(arrived == sent);
      CHECK(wire.out.counters().refused == 0);
      CHECK(wire.out.counters().gso_fallbacks == 0);
    }
  }
}

TEST_CASE("queues: datagrams that found the socket full are counted") {
  UdpSocketOptions small;
  small.receive_buffer = 4 * KiB;
  Wire wire{{}, small};
  constexpr std::size_t sent = 200;
  for (std::size_t i = 0; i < sent; ++i) {
    push(wire.out, wire.path(), random_bytes(1000, i), 1000);
    REQUIRE(wire.out.flush());
  }
  std::size_t received = 0;
  const auto drain = [&] {
    while (true) {
      const auto runs = wire.in.receive();
      if (runs.empty()) return;
      received += runs.size();
    }
  };
  drain();
  // The total travels with the next datagram that is let in.
  push(wire.out, wire.path(), random_bytes(1000, sent), 1000);
  REQUIRE(wire.out.flush());
  drain();
  CHECK(received < sent);
  CHECK(wire.in.socket_drops() == sent + 1 - received);
}

TEST_CASE("queues: an empty datagram is counted, not handed on") {
  Wire wire;
  sockaddr_storage address{};
  const socklen_t length = wire.in_socket.local().to_sockaddr(address);
  REQUIRE(::sendto(wire.out_socket.fd(), "", 0, 0, reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(readable(wire.in_socket.fd()));
  CHECK(wire.in.receive().empty());
  CHECK(wire.in.unusable() == 1);
}

}  // namespace penstock::io
