#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/ranges/extent_table.h"
#include "netem/link_settings.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/host.h"
#include "tests/sim/memory_sink.h"
#include "tests/sim/pipe.h"

namespace penstock::sim {

/// From `after` on, counted from the start, none of the lane's datagrams passes; a second later its sender gives it up.
struct LaneDeath {
  std::size_t lane = 1;
  Duration after{0};
};

struct TeamOptions {
  std::size_t lanes = 2;
  std::uint64_t bytes = 0;
  Duration rtt = std::chrono::milliseconds{40};
  DataRate rate = DataRate::megabits_per_second(100);
  netem::Probability loss = {};
  netem::Probability ack_loss = {};
  netem::Probability reorder = {};
  engine::Congestion congestion = engine::Congestion::bbr;
  engine::Fec fec = {};
  std::uint32_t moves = 0;  // extents that are moved between lanes at random moments, beside those that balance
  std::optional<LaneDeath> death = {};
  SinkOptions sink = {};  // of each lane
  std::uint64_t seed = 1;
};

struct TeamOutcome {
  bool complete = false;                   // all is here once, and the sending home knows
  std::optional<TimePoint> last_new_at;    // when the last byte left for the first time
  std::optional<TimePoint> arrived_at;     // when the last one was here
  std::uint64_t bytes_missing = 0;         // that no lane brought, or brought wrong
  std::uint64_t bytes_accepted = 0;        // by all lanes
  std::vector<SinkViolations> violations;  // by lane
  std::vector<engine::LaneStats> senders;
  std::vector<engine::LaneStats> receivers;
  std::vector<std::string> closed;  // in error
  std::uint64_t moves = 0;          // that were carried out
};

/// One transfer over several lanes, with content: engines of all lanes over one link, the books of leases at both
/// homes, and the messages between them (control/session/lane_team.h is the real one). One use: one call of run.
class TeamLab {
 public:
  explicit TeamLab(const TeamOptions& options);
  ~TeamLab();

  /// Until all is here and known, or `length` of virtual time is over.
  [[nodiscard]] TeamOutcome run(Duration length);
  [[nodiscard]] TimePoint start() const { return start_; }

 private:
  struct Lane;
  void say(const engine::NumberedMove& move);
  void pump_desk();
  void admitted(std::uint64_t number);
  void balance();
  void carry(const engine::ExtentTable::Wish& wish);
  void move_one();
  void end_lane(std::size_t lane);
  [[nodiscard]] bool is_known() const;
  [[nodiscard]] bool is_here() const;
  void later(Duration after, EventQueue::Action action);

  TeamOptions options_;
  Rng luck_;
  TimePoint start_;
  EventQueue events_;
  TraceHash trace_;
  std::vector<std::byte> truth_;
  Host senders_;
  Host receivers_;
  std::unique_ptr<Pipe> forward_;
  std::unique_ptr<Pipe> backward_;
  engine::ExtentTable table_;
  engine::ExtentDesk desk_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  TeamOutcome outcome_;
};

}  // namespace penstock::sim
