#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"
#include "common/units.h"
#include "dataplane/io/busy_meter.h"
#include "dataplane/io/deadline_heap.h"
#include "dataplane/io/early_datagrams.h"
#include "dataplane/io/event_wait.h"
#include "dataplane/io/heard.h"
#include "dataplane/io/inbox.h"
#include "dataplane/io/lane.h"
#include "dataplane/io/port.h"
#include "dataplane/io/stray_exchange.h"
#include "dataplane/io/worker.h"

namespace penstock::io {

/// What a worker's thread does, turn after turn: sleep until a socket, a closure or a deadline; carry out closures;
/// read each readable socket once; serve deadlines; let the lanes that have cause to send, in order of their turn.
/// Threads: the worker's, but for `inbox` and `counters`, which any may use.
class WorkerLoop {
 public:
  // Tuning, with PROTOCOL section 4 ("at most 16 batches before ACKs are read") as the bound: a lane's turn is short
  // enough for the others, and long enough that the epoll call between two turns does not count.
  static constexpr std::size_t batches_per_lane = 4;
  static constexpr std::size_t batches_per_turn = 16;

  /// Over sockets that are bound already, one a port; `config.listen` is not looked at. Error: IO_ERROR.
  static Result<std::unique_ptr<WorkerLoop>> create(const WorkerConfig& config, std::vector<UdpSocket> sockets,
                                                    const PlaceInGroup& place = {});
  ~WorkerLoop();

  [[nodiscard]] Inbox& inbox() { return inbox_; }
  [[nodiscard]] WorkerCounters counters() const;
  [[nodiscard]] std::vector<Endpoint> local_endpoints() const;
  /// Before run().
  [[nodiscard]] FastPaths fast_paths(const WorkerConfig& config) const;

  /// Until the inbox is closed; by then every lane has been let go of.
  void run();

  // For closures of the inbox.
  void add(std::shared_ptr<Lane> lane, const std::optional<Endpoint>& peer);
  void remove(ConnectionId id);
  void await_lane(ConnectionId id, std::size_t bytes_max);
  void forget_awaited(ConnectionId id);
  [[nodiscard]] Lane* find(ConnectionId id) const;
  void make_runnable(Lane& lane);
  /// `bytes` of the lane's came by its stream: they cost this thread what datagrams cost, and get the same share.
  void share_stream(TimePoint now, Lane& lane, std::size_t bytes);
  /// Datagrams that a sibling met. Requires: the group's workers have the same ports.
  void take_stray(const Stray& stray);

 private:
  WorkerLoop(const WorkerConfig& config, const PlaceInGroup& place);

  void watch(int fd, std::uint32_t events, std::size_t tag, int operation);
  /// Brings epoll up to date with what the port waits for.
  void watch_port(std::size_t index);
  void wait_and_react();
  [[nodiscard]] std::optional<Duration> time_to_sleep(TimePoint now) const;
  void run_tasks();
  /// False: the socket held more than one call takes.
  bool read_port(Port& port);
  void take_run(TimePoint now, Port& port, const ReceivedRun& run);
  void hand_over(TimePoint now, Port& port, const ReceivedRun& run, ConnectionId id, std::span<std::byte> batch);
  void hand_on(TimePoint now, const Port& port, const ReceivedRun& run, ConnectionId id,
               std::span<const std::byte> batch);
  static void share(Port& port, Lane& lane);
  [[nodiscard]] std::size_t place_of(const Port& port) const;
  /// Whether it is for a lane that is awaited, and there is room.
  [[nodiscard]] bool keep_early(TimePoint now, const Port& port, const ReceivedRun& run, ConnectionId id,
                                std::span<const std::byte> batch);
  /// What came before the lane, as of when it came.
  void hand_over_early(Lane& lane);
  void serve_deadlines();
  void serve_lanes();
  /// Returns the batches that it sealed, at most `batches_max`.
  std::size_t pump(Lane& lane, std::size_t batches_max);
  void push_to_proposed(const Lane& lane, std::span<const std::byte> datagram);
  void schedule(Lane& lane, TimePoint now);
  void flush_all();
  void on_writable(Port& port);
  void forget_marks(Lane& lane);
  void let_go(Lane& lane);
  void publish_counters();

  Inbox inbox_;
  PlaceInGroup place_;
  EventWait wait_;
  BusyMeter busy_;
  UniqueFd epoll_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Lane>> lanes_;  // ids are random and our own: no crafted collisions
  EarlyDatagrams early_;
  std::deque<Lane*> run_queue_;
  DeadlineHeap<Lane> deadlines_;
  std::vector<Inbox::Task> tasks_;
  std::vector<epoll_event> events_;
  Heard heard_;
  Duration read_patience_{};  // of the lanes that the present read brings something

  WorkerCounters counted_;  // what the ports do not count
  mutable std::mutex published_mutex_;
  WorkerCounters published_;
};

}  // namespace penstock::io
