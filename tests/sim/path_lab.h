#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/lane_config.h"
#include "netem/link_settings.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/host.h"
#include "tests/sim/pipe.h"
#include "tests/sim/tcp_bbr.h"

namespace penstock::sim {

/// With a burst of 64 KiB.
[[nodiscard]] netem::Policer policed_to(std::uint64_t megabits);

/// From `after` on, counted from the start, the path is another one.
struct PathChange {
  Duration after{0};
  std::optional<DataRate> rate = {};
  std::optional<Duration> rtt = {};
  std::optional<netem::Probability> loss = {};
  bool down = false;
};

/// One bottleneck that all flows share, and the way back.
struct PathOptions {
  Duration rtt = std::chrono::milliseconds{20};
  DataRate rate = DataRate::megabits_per_second(100);
  std::uint64_t queue_percent = 100;  // of a bandwidth-delay product, at least 16 packets
  netem::Probability loss = {};       // after the bottleneck
  netem::Probability ack_loss = {};
  std::optional<netem::BurstLoss> burst = {};
  Duration jitter{0};
  Duration ack_slot{0};                            // ACKs arrive in lumps, at multiples of this
  std::optional<netem::Policer> policer = {};      // ahead of the bottleneck
  std::optional<std::uint64_t> mark_percent = {};  // of the queue that a bandwidth-delay product makes: marks above
  MarkBox box = MarkBox::honest;
  std::vector<PathChange> changes = {};
  Duration lane_after{0};  // the far end knows no lane until then, and keeps the first datagrams for it
  Duration tick{0};        // of the records; default: half a round trip
  std::uint64_t seed = 1;
};

struct FlowPlan {
  engine::Congestion congestion = engine::Congestion::bbr;
  std::uint64_t bytes = std::uint64_t{1} << 40;  // default: without end
  Duration start_after{0};
  std::optional<DataRate> rate = {};        // a cap, or what `fixed` sends
  std::optional<DataRate> remembered = {};  // from an earlier transfer
  engine::Fec fec = {};
  bool ecn = true;
  engine::LanePlace place = {};  // the lanes of one transfer are neighbours, in order
  bool tcp_bbr = false;          // no engine: what TCP with BBR version 1 does, without end (tcp_bbr.h)
};

/// The plans of a transfer of so many coupled lanes.
[[nodiscard]] std::vector<FlowPlan> lanes_of(FlowPlan plan, std::size_t lanes);

/// What stood at the end of each tick.
struct FlowTick {
  std::uint64_t received = 0;  // new file bytes so far
  Duration rtt{};              // smoothed, as the sender sees it
  DataRate pacing;
  std::uint64_t cwnd = 0;
  std::uint64_t in_flight = 0;
};

struct FlowOutcome {
  std::optional<TimePoint> finished_at;
  std::optional<TimePoint> last_new_at;  // when its last byte was sent for the first time
  engine::LaneStats sender;
  engine::LaneStats receiver;
  std::vector<FlowTick> ticks;
};

/// Real engines without files, over one modelled bottleneck in virtual time, for as long as one likes: what a
/// congestion controller makes of a path, alone or beside others. One use: one call of run.
class PathLab {
 public:
  PathLab(const PathOptions& options, const std::vector<FlowPlan>& plans);
  ~PathLab();

  /// Until all flows have ended, or `length` of virtual time is over.
  void run(Duration length);

  [[nodiscard]] const std::vector<FlowOutcome>& flows() const { return outcomes_; }
  /// Bytes that waited at the bottleneck at the end of each tick.
  [[nodiscard]] const std::vector<std::uint64_t>& queue() const { return queue_; }
  [[nodiscard]] Duration tick() const { return tick_; }
  [[nodiscard]] TimePoint start() const { return start_; }
  [[nodiscard]] Pipe& forward() { return *forward_; }
  /// Mean rate of new file bytes of a flow between two moments after the start, in bits a second.
  [[nodiscard]] std::uint64_t goodput(std::size_t flow, Duration from, Duration to) const;

 private:
  class Flow;
  void add(std::size_t index, const FlowPlan& plan);
  void schedule_tick();
  void record_tick(std::size_t flow);
  void deliver_ack(Datagram datagram, engine::EcnMark mark);

  PathOptions options_;
  Rng luck_;
  TimePoint start_;
  EventQueue events_;
  TraceHash trace_;
  Host senders_;
  Host receivers_;
  std::unique_ptr<Pipe> forward_;
  std::unique_ptr<Pipe> backward_;
  std::vector<std::unique_ptr<Flow>> flows_;      // null where it is
  std::vector<std::unique_ptr<TcpBbrFlow>> tcp_;  // one of these instead
  std::vector<FlowOutcome> outcomes_;
  std::vector<std::uint64_t> queue_;
  Duration tick_;
};

}  // namespace penstock::sim
