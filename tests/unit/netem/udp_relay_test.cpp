#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "netem/udp_relay/socket_address.h"

namespace penstock::netem {
namespace {

constexpr int patience_ms = 10'000;  // only a failing test waits so long

/// A UDP socket on loopback.
class Peer {
 public:
  explicit Peer(const char* address) : fd_(socket(SocketAddress::parse(address).value().family(), SOCK_DGRAM, 0)) {
    const SocketAddress any = SocketAddress::parse(address).value();
    REQUIRE(bind(fd_.get(), any.get(), any.size()) == 0);
  }
  [[nodiscard]] SocketAddress address() const {
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    REQUIRE(getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    return SocketAddress{bound};
  }
  void send(const SocketAddress& to, const std::string& text) {
    REQUIRE(sendto(fd_.get(), text.data(), text.size(), 0, to.get(), to.size()) == static_cast<ssize_t>(text.size()));
  }
  struct Received {
    std::string text;
    SocketAddress from;
  };
  std::optional<Received> receive(int timeout_ms = patience_ms) {
    pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, timeout_ms) != 1) return std::nullopt;
    std::array<char, 65536> buffer;
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t got = recvfrom(fd_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    REQUIRE(got >= 0);
    return Received{{buffer.data(), static_cast<std::size_t>(got)}, SocketAddress{from}};
  }

 private:
  UniqueFd fd_;
};

/// The real program, ended with SIGTERM.
class Relay {
 public:
  explicit Relay(std::vector<std::string> arguments) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    output_.reset(ends[0]);
    const UniqueFd write_end{ends[1]};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    arguments.insert(arguments.begin(), PENSTOCK_UDP_RELAY);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    REQUIRE(posix_spawn(&pid_, PENSTOCK_UDP_RELAY, &actions, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Relay() {
    if (pid_ > 0) stop();
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  std::string line() {
    std::string text;
    for (char c = 0; read(output_.get(), &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }
  SocketAddress address() {
    const std::string text = line();
    REQUIRE(text.starts_with("listening on "));
    return SocketAddress::parse(text.substr(std::strlen("listening on "))).value();
  }
  std::string counters() {
    kill(pid_, SIGUSR1);
    return line();
  }
  int stop() {
    kill(pid_, SIGTERM);
    return wait();
  }
  int wait() {
    int status = 0;
    REQUIRE(waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd output_;
};

TEST_CASE("udp relay: each client has its own peer at the target, and answers find their way back") {
  Peer target{"127.0.0.1:0"};
  Relay relay{{"--listen", "127.0.0.1:0", "--target", target.address().to_string(), "--delay", "2ms"}};
  const SocketAddress entrance = relay.address();
  Peer ann{"127.0.0.1:0"};
  Peer bob{"127.0.0.1:0"};
  ann.send(entrance, "from ann");
  const auto first = target.receive();
  REQUIRE(first);
  CHECK(first->text == "from ann");
  bob.send(entrance, "from bob");
  const auto second = target.receive();
  REQUIRE(second);
  CHECK(second->text == "from bob");
  CHECK(first->from.to_string() != second->from.to_string());

  target.send(second->from, "to bob");
  target.send(first->from, "to ann");
  const auto to_ann = ann.receive();
  REQUIRE(to_ann);
  CHECK(to_ann->text == "to ann");
  CHECK(to_ann->from.to_string() == entrance.to_string());
  const auto to_bob = bob.receive();
  REQUIRE(to_bob);
  CHECK(to_bob->text == "to bob");
}

TEST_CASE("udp relay: after a rebind the target sees another port, and the old one leads nowhere") {
  Peer target{"127.0.0.1:0"};
  Relay relay{{"--listen", "127.0.0.1:0", "--target", target.address().to_string(), "--rebind", "1ms"}};
  const SocketAddress entrance = relay.address();
  Peer ann{"127.0.0.1:0"};
  ann.send(entrance, "before");
  const auto before = target.receive();
  REQUIRE(before);
  // Datagrams go on until one of them comes from elsewhere.
  std::optional<Peer::Received> after;
  for (int i = 0; i < patience_ms; ++i) {
    ann.send(entrance, "after");
    after = target.receive();
    REQUIRE(after);
    if (after->from.to_string() != before->from.to_string()) break;
    poll(nullptr, 0, 1);
  }
  CHECK(after->from.to_string() != before->from.to_string());
  target.send(before->from, "to the old port");
  target.send(after->from, "to the new port");
  const auto answer = ann.receive();
  REQUIRE(answer);
  CHECK(answer->text == "to the new port");
}

TEST_CASE("udp relay: an IPv6 client reaches an IPv4 target") {
  Peer target{"127.0.0.1:0"};
  Relay relay{{"--listen", "[::1]:0", "--target", target.address().to_string()}};
  Peer client{"[::1]:0"};
  client.send(relay.address(), "hello");
  const auto heard = target.receive();
  REQUIRE(heard);
  CHECK(heard->text == "hello");
  target.send(heard->from, "answer");
  const auto answer = client.receive();
  REQUIRE(answer);
  CHECK(answer->text == "answer");
}

TEST_CASE("udp relay: corruption flips exactly one bit, duplication sends two copies") {
  Peer target{"127.0.0.1:0"};
  Relay relay{{"--listen", "127.0.0.1:0", "--target", target.address().to_string(), "--corrupt", "100%", "--duplicate",
               "100%"}};
  Peer client{"127.0.0.1:0"};
  const std::string sent(100, 'a');
  client.send(relay.address(), sent);
  for (int copy = 0; copy < 2; ++copy) {
    const auto heard = target.receive();
    REQUIRE(heard);
    REQUIRE(heard->text.size() == sent.size());
    int bits = 0;
    for (std::size_t i = 0; i < sent.size(); ++i) {
      bits += __builtin_popcount(static_cast<unsigned char>(heard->text[i] ^ sent[i]));
    }
    CHECK(bits == 1);
  }
}

TEST_CASE("udp relay: losses are counted, one direction can differ from the other, the counters are printed") {
  Peer target{"127.0.0.1:0"};
  Relay relay{{"--listen", "127.0.0.1:0", "--target", target.address().to_string(), "--to-client", "loss=100%"}};
  const SocketAddress entrance = relay.address();
  Peer client{"127.0.0.1:0"};
  for (int i = 0; i < 10; ++i) {
    client.send(entrance, "question");
    const auto heard = target.receive();
    REQUIRE(heard);
    target.send(heard->from, "answer");
  }
  // The last answer may still be on its way into the relay: ask until all ten are accounted for.
  std::string counters;
  for (int i = 0; i < 10'000 && counters.find("\"lost_random\":10") == std::string::npos; ++i) {
    counters = relay.counters();
  }
  CHECK(counters.find("\"to_target\":{\"offered_packets\":10,\"offered_bytes\":80,\"delivered_packets\":10") !=
        std::string::npos);
  CHECK(counters.find("\"to_client\":{\"offered_packets\":10,\"offered_bytes\":60,\"delivered_packets\":0") !=
        std::string::npos);
  CHECK(counters.find("\"clients\":1") != std::string::npos);
  CHECK(relay.stop() == 0);
  CHECK(relay.line().starts_with("{\"to_target\""));
}

TEST_CASE("udp relay: a command line that makes no sense ends with 2 and binds nothing") {
  CHECK(Relay{{"--listen", "127.0.0.1:0"}}.wait() == 2);
  CHECK(Relay{{"--listen", "localhost:0", "--target", "127.0.0.1:9"}}.wait() == 2);
  CHECK(Relay{{"--listen", "127.0.0.1:0", "--target", "127.0.0.1:9", "--loss", "5"}}.wait() == 2);
  CHECK(Relay{{"--listen", "127.0.0.1:0", "--target", "127.0.0.1:9", "--change", "1s:nothing=1"}}.wait() == 2);
}

}  // namespace
}  // namespace penstock::netem
