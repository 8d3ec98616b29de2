#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "common/random.h"
#include "dataplane/io/receive_queue.h"
#include "dataplane/io/send_queue.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

using Bytes = std::vector<std::byte>;

inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  Bytes out(size);
  Rng{seed}.fill(out);
  return out;
}

inline Endpoint endpoint(const std::string& text) {
  const auto parsed = Endpoint::parse(text);
  REQUIRE_MESSAGE(parsed.has_value(), text);
  return *parsed;
}

inline UdpSocket bound(const std::string& local, const UdpSocketOptions& options = {}) {
  auto socket = UdpSocket::bind(endpoint(local), options);
  REQUIRE_MESSAGE(socket.ok(), local);
  return std::move(socket).value();
}

/// Waits for an event, not for time to pass: the limit only turns a hang into a failure.
inline bool readable(int fd) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, 20'000) == 1;
}

/// Cuts as the wire does.
inline std::vector<Bytes> cut(std::span<const std::byte> bytes, std::size_t segment_size) {
  std::vector<Bytes> out;
  for (std::size_t at = 0; at < bytes.size(); at += segment_size) {
    const auto piece = bytes.subspan(at, std::min(segment_size, bytes.size() - at));
    out.emplace_back(piece.begin(), piece.end());
  }
  return out;
}

/// Receives until `count` datagrams are there; fewer if nothing comes for a long time.
inline std::vector<Bytes> receive_datagrams(const UdpSocket& socket, ReceiveQueue& queue, std::size_t count,
                                            std::vector<ReceivedRun>* runs = nullptr) {
  std::vector<Bytes> out;
  while (out.size() < count && readable(socket.fd())) {
    for (const ReceivedRun& run : queue.receive()) {
      for (auto& datagram : cut(run.bytes, run.segment_size)) out.push_back(std::move(datagram));
      if (runs != nullptr) runs->push_back(run);
    }
  }
  return out;
}

/// Seals, as far as the queue can tell.
inline void push(SendQueue& queue, const Path& path, std::span<const std::byte> bytes, std::size_t segment_size,
                 engine::EcnMark mark = engine::EcnMark::none) {
  const auto room = queue.room();
  REQUIRE(room.size() >= bytes.size());
  std::copy(bytes.begin(), bytes.end(), room.begin());
  queue.push(path, {.size = bytes.size(), .segment_size = segment_size, .mark = mark});
}

/// One datagram by sendto, past all queues.
inline void push_plain(const UdpSocket& socket, const Endpoint& to, std::span<const std::byte> bytes) {
  sockaddr_storage address{};
  const auto length = to.to_sockaddr_for(socket.family(), address);
  REQUIRE(length);
  REQUIRE(::sendto(socket.fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&address), *length) ==
          static_cast<ssize_t>(bytes.size()));
}

/// The kernel, unless `on_send` has other ideas: it returns an errno for the whole call, or 0 to let at most
/// `messages_max` messages pass.
class ScriptedCalls final : public DatagramCalls {
 public:
  std::function<int(const mmsghdr& first)> on_send;
  unsigned messages_max = 1024;
  std::size_t segmented_messages = 0;  // that were tried with UDP_SEGMENT

  int send(int fd, mmsghdr* messages, unsigned count) override;
  int receive(int fd, mmsghdr* messages, unsigned count) override { return kernel().receive(fd, messages, count); }
  static bool segmented(const mmsghdr& message);
};

}  // namespace penstock::io
