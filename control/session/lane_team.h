#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/error.h"
#include "common/time.h"
#include "control/proto/gate.pb.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/ranges/extent_table.h"
#include "dataplane/io/lane_observer.h"
#include "dataplane/io/worker.h"
#include "dataplane/storage/sink.h"
#include "dataplane/storage/source_reader.h"

namespace penstock::control {

/// Where a lane of ours lives.
struct LaneRef {
  io::Worker* worker = nullptr;
  ConnectionId own;
};

/// What a team tells the run that owns it. On home.
class LaneTeamHost {
 public:
  virtual ~LaneTeamHost() = default;
  /// All lanes are drained up to `end`, and no extent is on its way between two of them.
  virtual void on_team_drained(TransferOffset end) = 0;
  virtual void on_team_heard() = 0;
  /// Of all lanes together.
  virtual void on_team_stats(const engine::LaneStats& stats) = 0;
  /// Of lane `lane`'s stream.
  virtual void on_team_stream_ack(std::size_t lane, const engine::StreamAck& ack) = 0;
  /// Lane `lane`'s sender asks for a ratio of repair symbols.
  virtual void on_team_proposes(std::size_t lane, const engine::RepairRatio& ratio) = 0;
  /// A message to the peer's team.
  virtual void send(proto::Envelope envelope) = 0;
  /// The peer's team makes no sense.
  virtual void on_team_failed(Error error) = 0;
};

/// The lanes of one transfer at one end, beside lane 0, whose worker is home: says to all of them what the side says to
/// its lane, puts together what they say, and keeps the leases (dataplane/README.md, "More cores"). A team of one does
/// nothing but pass on. Threads: home, but for the ears, which hear their lanes on their workers and pass it on.
/// Lifetime: shared, since what is on its way to another worker keeps it; retire() ends all calls to the host.
class LaneTeam final : public std::enable_shared_from_this<LaneTeam> {
 public:
  // Tuning: a lane that says nothing for so long, while others are heard or have nothing to say, is given up. Sooner: a
  // thread that is held up for a moment costs its lane; later: its extents wait. Never below six round trips.
  static constexpr Duration lane_silence_max = std::chrono::seconds{3};

  /// `lanes`: all of them, lane 0 first.
  LaneTeam(std::vector<LaneRef> lanes, LaneTeamHost& host);

  [[nodiscard]] bool alone() const { return refs_->size() == 1; }
  [[nodiscard]] std::size_t size() const { return refs_->size(); }
  void start(std::shared_ptr<storage::SourceReader> reader, std::shared_ptr<storage::Sink> sink);
  void retire() { host_ = nullptr; }
  /// Who listens to lane `lane` > 0.
  [[nodiscard]] std::shared_ptr<io::LaneObserver> make_ear(std::size_t lane);

  /// Does saying this give a lane that was drained work again?
  enum class Reopens : std::uint8_t { no, yes };
  void tell_senders(Reopens reopens, const std::function<void(engine::Sender&)>& act);
  void tell_receivers(Reopens reopens, const std::function<void(engine::Receiver&, TimePoint)>& act);
  /// Says goodbye on every lane and lets go of it; then `done`, on home.
  void let_go(bool sends, std::function<void()> done);
  /// The counters of all lanes as they are now, then `done`, on home.
  void async_stats(bool sends, std::function<void(const engine::LaneStats&)> done);

  // Lane 0's events, which come on home.
  void on_drained(TransferOffset end) { on_lane_drained(0, marks_[0]->generation, end); }
  void on_stats(const engine::LaneStats& stats) { on_lane_stats(0, stats); }
  void on_congestion(const engine::CongestionNews& news) const { spread(*refs_, 0, news); }

  // Repair symbols: each lane has a ratio of its own. Of a lane that is over nothing is done.
  /// The peer agreed to what lane `lane`'s sender asked for.
  void on_repair_agreed(std::size_t lane, const engine::RepairRatio& ratio);
  /// The peer asks: lane `lane`'s receiver begins to keep what it receives; then `done`, on home. False: no such lane.
  [[nodiscard]] bool on_repair_proposed(std::size_t lane, const engine::RepairRatio& ratio, std::function<void()> done);

  // The source's leases.
  /// The peer's word that it has admitted a move.
  void on_admitted(std::uint64_t number);
  /// Whether lanes may be called silent at all: not while their bytes go by TCP, nor before they had time to answer
  /// again.
  void set_watching(TimePoint now, bool watching);
  /// Once a second or so.
  void on_tick(TimePoint now);
  // The sink's.
  void on_move(const engine::NumberedMove& move);

 private:
  class Ear;
  /// Of a lane, on its worker: which of our words it has heard.
  struct Mark {
    std::uint64_t generation = 0;
  };
  struct LaneState {
    std::uint64_t generation = 0;  // of the last word that reopens it
    std::optional<TransferOffset> drained;
    engine::LaneStats stats;
    bool ending = false;  // it was asked for what it has
    bool over = false;
  };
  using Refs = std::vector<LaneRef>;

  static void spread(const Refs& refs, std::size_t from, const engine::CongestionNews& news);
  void at_home(std::function<void(LaneTeam&)> act) const;
  void on_lane_drained(std::size_t lane, std::uint64_t generation, TransferOffset end);
  void on_lane_stats(std::size_t lane, const engine::LaneStats& stats);
  void on_lane_closed(std::size_t lane, const engine::Closed& closed);
  void on_frontier(std::size_t lane, TransferOffset frontier);
  void tell_sender(std::size_t lane, Reopens reopens, std::function<void(engine::Sender&)> act);
  void tell_receiver(std::size_t lane, Reopens reopens, std::function<void(engine::Receiver&, TimePoint)> act);
  void balance();
  void say(const engine::NumberedMove& move);
  void end_lane(std::size_t lane);
  void pump_desk();
  void admit(const engine::NumberedMove& move, const engine::ExtentState& state);
  void check_drained();
  void fail_peer();
  [[nodiscard]] engine::LaneStats sum() const;

  std::shared_ptr<const Refs> refs_;
  LaneTeamHost* host_;
  std::shared_ptr<storage::SourceReader> reader_;
  std::shared_ptr<storage::Sink> sink_;
  std::vector<std::shared_ptr<Mark>> marks_;
  std::vector<LaneState> lanes_;
  engine::ExtentTable table_;
  engine::ExtentDesk desk_;
  std::optional<TimePoint> heard_first_;  // by any lane, as far as a tick saw it; or since when we watch again
  bool watching_ = true;
};

}  // namespace penstock::control
