#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/engine/events.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/wire/ecn_mark.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

/// Where a lane's datagrams go, and from which local address they leave (none: the kernel chooses).
struct Path {
  Endpoint peer;
  std::optional<LocalAddress> from;
};

/// Sealed batches on their way into one socket. Memory into which lanes seal, handed to the kernel as few system calls:
/// a batch is one GSO message, several messages one sendmmsg.
/// Sealed bytes are never sealed again (PROTOCOL section 2), so they are kept until the kernel took them:
/// - EAGAIN: the rest stays, in order, until `flush` is called again on a writable socket.
/// - EIO, EINVAL, EMSGSIZE for a GSO batch: its very datagrams go one by one, and if the kernel takes those, GSO stays
///   off for that peer.
/// - Anything else, or the same for a single datagram: counted as refused, dropped; the engine counts it lost.
/// Bound: `arena_size` bytes and `messages_max` batches; when full, `room` is empty until a flush.
/// Threads: one owner.
class SendQueue {
 public:
  // Tuning: four full batches. Less: fewer messages a system call; more: sealed bytes leave the cache before they go.
  static constexpr std::size_t arena_size = 4 * 64 * KiB;
  static constexpr std::size_t messages_max = 64;
  // Tuning: from one full batch on, the system call is cheap beside the copying.
  static constexpr std::size_t flush_threshold = 48 * KiB;
  // Paths remembered as without GSO. One more, and GSO goes off for the whole socket: a host on which that many paths
  // refuse has an interface that can not do it.
  static constexpr std::size_t gso_off_max = 256;

  struct Counters {
    std::uint64_t datagrams = 0;
    std::uint64_t batches = 0;
    std::uint64_t refused = 0;
    std::uint64_t blocked = 0;
    std::uint64_t gso_fallbacks = 0;
  };

  /// `socket` is borrowed and outlives the queue.
  explicit SendQueue(const UdpSocket& socket);

  /// At least engine::udp_payload_limit bytes to seal the next batch into; empty when the queue is full or blocked.
  /// Valid until the next call of another member.
  [[nodiscard]] std::span<std::byte> room();
  /// The first `batch.size` bytes of `room()` are sealed and go to `path`. Requires: the socket reaches path.peer.
  void push(const Path& path, const engine::Transmit& batch);
  /// Hands all to the kernel. False: the socket is full; call again when it is writable.
  bool flush();

  [[nodiscard]] bool blocked() const { return blocked_; }
  [[nodiscard]] bool empty() const { return pending_.empty(); }
  [[nodiscard]] bool worth_flushing() const;
  [[nodiscard]] const Counters& counters() const { return counters_; }
  /// GSO is used, at least on paths that did not refuse it.
  [[nodiscard]] bool gso() const { return gso_; }

 private:
  // One batch; `sent` counts its bytes that are done with.
  struct Message {
    std::size_t begin = 0;
    std::size_t size = 0;
    std::size_t segment_size = 0;
    std::size_t sent = 0;
    bool whole = false;    // as one GSO message (or one datagram); else datagram by datagram
    bool suspect = false;  // the kernel refused it whole: find out whether GSO was the reason
    Endpoint peer;
    socklen_t address_length = 0;
    sockaddr_storage address;
    std::size_t control_length = 0;  // source address, mark and segment size, ready for the kernel
    alignas(cmsghdr) std::array<std::byte, 96> control;
  };
  // What one entry of the system call's array stands for.
  struct Entry {
    std::size_t message = 0;
    std::size_t size = 0;
  };

  void encode_control(Message& message, const Path& path, engine::EcnMark mark);
  std::size_t build_entries();
  void on_entries_sent(std::size_t count);
  void on_first_entry_refused(int error);
  void on_gso_refused(const Endpoint& peer);
  [[nodiscard]] bool gso_allowed(const Endpoint& peer) const;
  void drop_finished();

  const UdpSocket& socket_;
  bool gso_;
  bool blocked_ = false;
  std::unique_ptr<std::byte[]> arena_;
  std::size_t arena_used_ = 0;
  std::vector<Message> pending_;
  std::size_t first_ = 0;  // messages before it are done with
  std::vector<Endpoint> gso_off_;
  std::array<Entry, messages_max> entries_{};
  std::array<iovec, messages_max> pieces_{};
  std::array<mmsghdr, messages_max> headers_{};
  Counters counters_;
};

}  // namespace penstock::io
