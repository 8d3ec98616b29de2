#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/engine/wire/ecn_mark.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

/// Datagrams of one sender in a row, all of `segment_size` bytes but for the last, which may be shorter.
struct ReceivedRun {
  std::span<std::byte> bytes;
  std::size_t segment_size = 0;  // never 0
  Endpoint from;
  engine::EcnMark mark = engine::EcnMark::none;  // of all of them: the kernel joins no two that differ
  std::optional<LocalAddress> to;                // known on wildcard sockets: others have but one address
};

/// Takes datagrams out of one socket, many at a time: recvmmsg over messages that may each be a whole run (UDP_GRO).
/// Bound: `bytes_wanted` a call, as far as messages go on being as long as the last ones were, and in any case
/// `messages_gro_max` or `messages_plain` messages of up to 64 KiB; memory is touched only as far as datagrams fill it.
/// Threads: one owner.
class ReceiveQueue {
 public:
  // Tuning: 256 KiB a call stays in the second-level cache between the kernel's copy and the cipher's pass.
  static constexpr std::size_t bytes_wanted = 256 * KiB;
  // With GRO a message may be a whole run, or, on a path that joins nothing, one datagram.
  static constexpr std::size_t messages_gro_min = 4;
  static constexpr std::size_t messages_gro_max = 32;
  // Without GRO a message is one datagram: more of them, so that the system call is shared.
  static constexpr std::size_t messages_plain = 64;
  static constexpr std::size_t message_size_max = 64 * KiB;

  /// `socket` is borrowed and outlives the queue.
  explicit ReceiveQueue(const UdpSocket& socket);

  /// One system call's worth; empty when nothing waits. The view, and the bytes, live until the next call.
  [[nodiscard]] std::span<ReceivedRun> receive();
  /// True when the last call filled every message, so that more probably waits.
  [[nodiscard]] bool saturated() const { return saturated_; }
  /// Datagrams that found the socket's buffer full, as a running total.
  [[nodiscard]] std::uint64_t socket_drops() const { return socket_drops_; }
  /// Messages that were empty, or longer than any datagram we know.
  [[nodiscard]] std::uint64_t unusable() const { return unusable_; }

 private:
  struct Slot;
  void decode_control(const msghdr& header, ReceivedRun& run);
  void on_overflow_total(std::uint32_t total);
  void note_sizes(std::size_t messages, std::size_t bytes);

  const UdpSocket& socket_;
  std::size_t wanted_;  // messages that the next call asks for
  std::unique_ptr<std::byte[]> memory_;
  std::vector<Slot> slots_;
  std::vector<mmsghdr> headers_;
  std::vector<ReceivedRun> runs_;
  bool saturated_ = false;
  std::uint32_t overflow_total_ = 0;  // the kernel's own counter, which wraps
  std::uint64_t socket_drops_ = 0;
  std::uint64_t unusable_ = 0;

 public:
  ~ReceiveQueue();
};

}  // namespace penstock::io
