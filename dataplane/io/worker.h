#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/sender.h"
#include "dataplane/engine/sink_window.h"
#include "dataplane/engine/source_window.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/fast_paths.h"
#include "dataplane/io/lane_observer.h"
#include "dataplane/io/stream_outlet.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

class Lane;
class StrayExchange;
class WorkerLoop;

struct WorkerConfig {
  /// One socket each; empty: a client's single socket, any address, any port.
  std::vector<Endpoint> listen;
  /// Called for each endpoint of `listen` with port 0 once UDP has a number: binds TCP to it, or says false for
  /// another.
  std::function<bool(const Endpoint& bound)> bind_companion;
  UdpSocketOptions socket;
  std::string thread_name = "penstock-io";  // 15 characters count
  std::size_t inbox_max = 16384;            // closures waiting; see Worker::post
  Duration stats_interval = std::chrono::milliseconds{250};
  Duration quiet_after = std::chrono::milliseconds{5};  // SinkWindow::on_quiet, this long after the last new byte
  Duration busy_poll{};                                 // how long to ask the kernel again before sleeping
};

/// Running totals of one worker; per-lane ones are in engine::LaneStats.
struct WorkerCounters {
  std::uint64_t datagrams_received = 0;
  std::uint64_t receive_batches = 0;    // messages from the kernel; with GRO one holds many datagrams
  std::uint64_t datagrams_unknown = 0;  // connection id of no lane: strangers, and stragglers of removed lanes
  std::uint64_t strays_passed_on = 0;   // datagrams of a sibling's lane: handed on
  std::uint64_t strays_dropped = 0;     // the sibling had no room for them: counted lost
  std::uint64_t datagrams_early = 0;    // came before their lane, and were kept for it
  std::uint64_t datagrams_short = 0;    // cannot hold a header and a tag
  std::uint64_t socket_drops = 0;       // SO_RXQ_OVFL: arrived, found the receive buffer full
  std::uint64_t datagrams_sent = 0;
  std::uint64_t send_batches = 0;
  std::uint64_t datagrams_refused = 0;  // the kernel would not send them (no route, too large): counted lost
  std::uint64_t send_blocked = 0;       // times a full send buffer made batches wait
  std::uint64_t gso_fallbacks = 0;      // paths on which batches are sent one by one
  std::uint64_t timers_overdue = 0;  // an engine wanted a time-out again that it had just been given: a fault of ours
  bool gso = false;                  // tried on all sockets that it was not switched off for
  bool gro = false;

  WorkerCounters& operator+=(const WorkerCounters& other);
};

/// Which of several workers on one port this is (`worker_group.h`).
struct PlaceInGroup {
  StrayExchange* strays = nullptr;  // borrowed, outlives the worker; nullptr: it has no siblings
  std::size_t place = 0;
};

/// One thread that moves datagrams between sockets and the engines of many lanes; the only owner of both.
/// Any socket takes any datagram: it is handed on by connection id alone, and one that names no lane is counted,
/// dropped, never answered. A lane whose peer is not known yet learns it from the first authentic datagram, and answers
/// from the address that this one came to. The order of lanes is round robin with a bound each turn; an idle lane costs
/// an entry in the deadline heap.
/// Threads: every member may be called from any thread, and from observers and closures on the worker's own; all but
/// the accessors are asynchronous, and carried out in the order of the calls of one thread.
class Worker {
 public:
  /// Binds and starts. Error: IO_ERROR naming the address that can not be bound.
  static Result<std::unique_ptr<Worker>> create(const WorkerConfig& config);
  /// The same in two steps, for a group: over sockets that are bound already (`config.listen` is not looked at), and
  /// without a thread until start(), which is called once. Error: IO_ERROR.
  static Result<std::unique_ptr<Worker>> prepare(const WorkerConfig& config, std::vector<UdpSocket> sockets,
                                                 const PlaceInGroup& place);
  void start();
  /// Carries out what was posted so far, lets go of all lanes (on_lane_gone), ends the thread. Not on the worker's own
  /// thread. What is posted afterwards is dropped. More than once is harmless; destroying does the same.
  void stop();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// In the order of WorkerConfig::listen, with the port that was taken.
  [[nodiscard]] const std::vector<Endpoint>& local_endpoints() const;
  /// A recent snapshot, at most one turn old.
  [[nodiscard]] WorkerCounters counters() const;
  /// As the sockets are: fixed when they were bound. Paths that refuse GSO are in counters().
  [[nodiscard]] const FastPaths& fast_paths() const { return fast_paths_; }

  /// `own` is the id that the peer puts on what it sends (LaneKeys::own_id). Requires: no other lane of this worker,
  /// or of its siblings, has it. `peer`: where to send; nullopt: learnt. The path is opened as soon as the peer is
  /// known; never, if no socket of this worker reaches it (IPv6 on a host without). A lane added before its peer can
  /// hear of it misses none of the peer's datagrams.
  void add_sender(ConnectionId own, engine::Sender sender, std::shared_ptr<engine::SourceWindow> window,
                  std::optional<Endpoint> peer, std::shared_ptr<LaneObserver> observer);
  void add_receiver(ConnectionId own, engine::Receiver receiver, std::shared_ptr<engine::SinkWindow> window,
                    std::optional<Endpoint> peer, std::shared_ptr<LaneObserver> observer);

  /// A lane of this id may be added, and its peer may be ahead of that: of what comes for it until then, at most
  /// `bytes_max` are kept, sealed, and handed to the lane as it is added (early_datagrams.h). Said again, it changes
  /// that.
  void await_lane(ConnectionId own, std::size_t bytes_max);
  /// It will not be added. Harmless when it was.
  void forget_awaited(ConnectionId own);

  /// Runs `act` on the lane's engine, after which the lane is pumped: offer, withhold, queue_control, on_source_ready,
  /// close... Nothing happens when the lane is gone or of the other kind. `act` must not block.
  void with_sender(ConnectionId own, std::function<void(engine::Sender&, TimePoint now)> act);
  void with_receiver(ConnectionId own, std::function<void(engine::Receiver&, TimePoint now)> act);
  /// Where the stream of a sending lane goes from now on; nullptr: nowhere.
  void set_outlet(ConnectionId own, std::shared_ptr<StreamOutlet> outlet);
  /// A message of a receiving lane's stream, in order. `done` on the worker's thread, also when there is no such lane.
  void hand_stream(ConnectionId own, TransferOffset at, std::string payload, std::function<void()> done);
  /// What a receiving lane has, and its fresh credit (Receiver::holding), on the worker's thread; not called when there
  /// is no such lane.
  void ask_holding(ConnectionId own, std::size_t ranges_max,
                   std::function<void(const engine::Receiver::Holding&)> answer);
  /// Lets go of the lane; what it still owes is sent once more if it may leave at once, so a `close` just before
  /// reaches the wire. Then `done`, on the worker's thread; also when there was no such lane.
  void remove(ConnectionId own, std::function<void()> done = {});
  /// Runs `act` on the worker's thread. Bound: `inbox_max` closures over all asynchronous calls; when they are reached
  /// the caller waits for the worker to take some, except on the worker's own thread. Therefore never call with a lock
  /// held that a window or an observer takes. While the worker is being destroyed closures are dropped.
  void post(std::function<void()> act);

 private:
  Worker(std::unique_ptr<WorkerLoop> loop, const WorkerConfig& config, const PlaceInGroup& place);
  void add(std::shared_ptr<Lane> lane, std::optional<Endpoint> peer);
  std::unique_ptr<WorkerLoop> loop_;  // outlives the thread that runs it
  PlaceInGroup place_;
  std::string thread_name_;
  std::vector<Endpoint> local_endpoints_;
  FastPaths fast_paths_;
  Duration stats_interval_;
  Duration quiet_after_;
  std::thread thread_;
};

}  // namespace penstock::io
