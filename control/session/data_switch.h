#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/result.h"
#include "control/proto/gate.pb.h"
#include "control/session/async_event.h"
#include "control/session/data_outlet.h"
#include "control/session/lane_team.h"
#include "control/session/session_link.h"
#include "control/session/way_judge.h"
#include "dataplane/engine/events.h"

namespace penstock::control {

/// What both ends have agreed on (proto::DataPolicy).
enum class DataPolicy : std::uint8_t { udp, tcp, automatic, automatic_from_tcp };
/// nullopt: left out, or of a later version.
[[nodiscard]] std::optional<DataPolicy> decode_data_policy(proto::DataPolicy policy);
[[nodiscard]] proto::DataPolicy encode_data_policy(DataPolicy policy);

// Tuning: plain bytes of TCP data that may wait between the worker and the link, all lanes together, and the least a
// lane gets of it. More only costs memory; less, and one waits for the other.
inline constexpr std::size_t data_waiting_max = std::size_t{1024} * 1024;
inline constexpr std::size_t data_waiting_least = std::size_t{128} * 1024;
/// Bytes of Data that have come and that the workers have not taken yet: then the connection is not read.
inline constexpr std::size_t data_arrived_max = std::size_t{2} * 1024 * 1024;

/// By which way the file bytes of one session go, at either end: the source's judge and what follows from its verdicts,
/// the sink's answers, and the messages that carry bytes (README, "TCP data").
/// Threads: the link's executor. Lifetime: shared with what is under way on workers; close() ends all that.
class DataSwitch : public std::enable_shared_from_this<DataSwitch> {
 public:
  struct Config {
    bool source = false;
    DataPolicy policy = DataPolicy::udp;
    bool peer_known = false;     // datagrams have an address from the start
    bool rate_capped = false;    // so that a pacer that waits is no path
    std::vector<LaneRef> lanes;  // lane 0 first; their workers outlive this
  };
  DataSwitch(Config config, std::shared_ptr<SessionLink> link);

  /// The lanes are being added, or the peer knows of them: a source that begins by TCP says so, and it is judged from
  /// now on by which way bytes go.
  void start();
  /// How often on_look wants to be called; nullopt: never.
  [[nodiscard]] std::optional<Duration> look_every() const;
  /// How the lanes stand, all of them together.
  void on_look(const engine::LaneStats& lanes);
  /// Source: whether the sink's end said last that its thread does not keep up.
  void set_sink_busy(bool busy) { sink_busy_ = busy; }
  /// One of the messages of is_about_data. Returns when more may come. An error: the peer breaks the rules.
  asio::awaitable<Status> async_handle(proto::Envelope envelope);
  void close();

  [[nodiscard]] DataWay way() const { return way_; }
  /// The way has changed, which the first one never has, unless it is TCP.
  std::function<void(const WayOrder::Switch&)> on_turn;

 private:
  Status handle_switch(const proto::SwitchData& message);
  Status handle_switched(const proto::DataSwitched& message);
  Status handle_ack(const proto::DataAck& message);
  asio::awaitable<Status> async_handle_data(proto::Data data);
  void turn(const WayOrder::Switch& to);
  void answer_switch(std::uint64_t number);
  void tell_sender(std::size_t lane, std::function<void(engine::Sender&, TimePoint)> act);
  void tell_receivers(const std::function<void(engine::Receiver&)>& act);
  /// On the lane's worker, after its adding and after what was told before.
  void at_lane(std::size_t lane, std::function<void(io::Worker&, ConnectionId)> act) const;

  Config config_;
  std::shared_ptr<SessionLink> link_;
  AsyncEvent taken_;
  DataWay way_ = DataWay::udp;
  std::optional<WayJudge> judge_;
  bool sink_busy_ = false;
  std::vector<std::shared_ptr<DataOutlet>> outlets_;
  std::uint64_t switches_ = 0;     // said (source), or heard (sink)
  std::size_t arrived_bytes_ = 0;  // of Data, not yet taken by a worker
  bool by_tcp_ever_ = false;
  bool closed_ = false;
  std::optional<std::chrono::steady_clock::time_point> pinged_;
};

}  // namespace penstock::control
