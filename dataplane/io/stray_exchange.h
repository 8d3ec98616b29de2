#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/units.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/receive_queue.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

class WorkerLoop;

/// Datagrams of one lane that came by the socket of a worker that does not have it: their bytes, and what the kernel
/// said of them.
struct Stray {
  ConnectionId id;
  std::size_t port = 0;  // which of the group's addresses, by its place in WorkerConfig::listen
  std::size_t segment_size = 0;
  Endpoint from;
  engine::EcnMark mark = engine::EcnMark::none;
  std::optional<LocalAddress> to;
  std::size_t size = 0;
  std::unique_ptr<std::byte[]> bytes;
};

/// Which worker of a group has which lane, and the way there for datagrams that another one met.
/// Bound: `stray_bytes_max` on their way to one worker, and what its inbox takes; more is dropped. Nothing waits.
/// Threads: any, from the moment all workers have joined. One lock, exclusive only while a lane comes or goes.
class StrayExchange {
 public:
  // Tuning: as much as a worker's socket is asked to hold. Less: bursts are dropped; more: memory.
  static constexpr std::size_t stray_bytes_max = 8 * MiB;

  enum class Fate : std::uint8_t { unknown, passed_on, dropped };

  explicit StrayExchange(std::size_t workers);
  StrayExchange(const StrayExchange&) = delete;
  StrayExchange& operator=(const StrayExchange&) = delete;

  /// `loop` is borrowed, and is not destroyed before the last worker's thread has ended. Before any thread runs.
  void join(std::size_t worker, WorkerLoop& loop);

  /// From now on datagrams with this id belong to `worker`. Requires: nobody else has the id.
  void on_lane_added(ConnectionId id, std::size_t worker);
  void on_lane_gone(ConnectionId id);

  /// Copies `batch`, datagrams of lane `id` out of `run`, into the inbox of the worker that has it. `unknown`: nobody
  /// has, or `met_by` itself.
  [[nodiscard]] Fate pass_on(std::size_t met_by, ConnectionId id, std::size_t port, const ReceivedRun& run,
                             std::span<const std::byte> batch);

 private:
  struct Member {
    WorkerLoop* loop = nullptr;
    std::atomic<std::size_t> stray_bytes{0};
  };
  class OnTheWay;

  std::vector<Member> members_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::uint64_t, std::size_t> owners_;
};

}  // namespace penstock::io
