#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "common/time.h"

namespace penstock::control {

/// How file bytes travel (README, "TCP data").
enum class DataWay : std::uint8_t { udp, tcp };
enum class SwitchReason : std::uint8_t {
  asked,   // --data tcp, or the session before ended there
  dark,    // UDP, or its data whatever pings got, had no answer, though the control channel had
  poor,    // UDP lost much and moved little: TCP is tried
  back,    // UDP answers again
  better,  // the way that was tried is the worse one
};
[[nodiscard]] std::string_view to_string(DataWay way);

/// How the source stands.
struct WayLook {
  TimePoint now{};
  std::optional<TimePoint> answered_at;            // engine::LaneStats
  std::optional<TimePoint> unanswered_since;       // likewise
  std::optional<TimePoint> data_answered_at;       // of file bytes alone, likewise
  std::optional<TimePoint> data_unanswered_since;  // likewise
  bool path_known = true;                          // datagrams have an address to go to
  std::optional<TimePoint> control_answered;       // the newest ping that was answered was sent then
  Duration rtt{};
  std::uint64_t udp_bytes = 0;  // file bytes that left by datagrams for the first time
  std::uint64_t tcp_bytes = 0;  // file bytes that arrived by TCP
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t peer_socket_drops = 0;  // by the other end's own socket, whosever datagrams: it tells of no way
  bool sink_busy = false;               // the other end said last that its thread does not keep up
  bool path_limited = false;            // what holds the source back is the way, not a disk, credit or a cap
};

struct WayOrder {
  struct Switch {
    DataWay way = DataWay::udp;
    SwitchReason reason = SwitchReason::asked;
  };
  std::optional<Switch> turn;
  bool ping_control = false;
  bool ping_udp = false;
};

/// What happened, for people: "UDP gets no answer, so the data goes by TCP from here on; UDP is tried again later".
[[nodiscard]] std::string_view words_of(const WayOrder::Switch& turn);

/// Decides by which way the bytes of one session go: away from UDP when it is dark or much worse than TCP would be, and
/// back when it works, without ever flapping.
///
/// udp --dark, poor--> tcp (on trial, if poor) --better--> udp | --> tcp --answers--> udp (on trial) --> udp | tcp
///
/// Threads: one owner. Time: passed in, never read.
class WayJudge {
 public:
  // Tuning: how often to look. All times below are as exact as that.
  static constexpr Duration look_every = std::chrono::milliseconds{250};
  // Sooner calls an unlucky second dark, later is felt. With a look and a round trip it stays within 3 s.
  static constexpr Duration dark_min = std::chrono::milliseconds{1500};
  static constexpr Duration dark_max = std::chrono::milliseconds{2500};
  // The longest with what comes before and after: the last ACK is a round trip late, a look, and the round trip of the
  // switch. Bytes flow by TCP within 3 s, where the RTT is 250 ms or less.
  static constexpr Duration dark_budget = std::chrono::milliseconds{2750};
  static constexpr Duration ask_after = std::chrono::milliseconds{500};
  static constexpr Duration poor_after = std::chrono::seconds{5};
  static constexpr unsigned poor_loss_percent = 10;
  static constexpr std::uint64_t poor_bytes_per_second = 1'000'000;
  static constexpr Duration trial_min = std::chrono::seconds{5};
  static constexpr Duration wait_min = std::chrono::seconds{30};
  static constexpr Duration wait_max = std::chrono::minutes{10};
  static constexpr Duration trial_wait_min = std::chrono::minutes{1};
  static constexpr Duration probe_time = std::chrono::seconds{2};
  static constexpr unsigned probe_answers = 3;
  static constexpr Duration good_after = std::chrono::minutes{1};

  WayJudge(TimePoint begun, DataWay first);

  [[nodiscard]] WayOrder on_look(const WayLook& look);
  [[nodiscard]] DataWay way() const {
    return state_ == State::udp || state_ == State::udp_trial ? DataWay::udp : DataWay::tcp;
  }

 private:
  enum class State : std::uint8_t { udp, udp_trial, tcp, tcp_trial };
  struct Sample {
    TimePoint at;
    std::uint64_t bytes = 0;  // by the way in use
    std::uint64_t sent = 0;
    std::uint64_t lost = 0;
    std::uint64_t socket_drops = 0;
    bool path_limited = false;
  };

  void enter(State state, const WayLook& look);
  void judge_dark(const WayLook& look, WayOrder& order);
  /// Silence since then is UDP's alone, and lasted `patience`. Asks the control channel if need be.
  [[nodiscard]] static bool is_dark(const WayLook& look, TimePoint since, Duration patience, WayOrder& order);
  void judge_poor(const WayLook& look, WayOrder& order);
  void judge_udp_trial(const WayLook& look, WayOrder& order);
  void judge_tcp_trial(const WayLook& look, WayOrder& order);
  void judge_return(const WayLook& look, WayOrder& order);
  void turn(State state, SwitchReason reason, const WayLook& look, WayOrder& order);
  /// A return to UDP failed, or was not even begun: the next one comes later.
  void put_off_return(TimePoint now);
  /// Bytes a second since `from`, as far as samples reach; nullopt: too short a time.
  [[nodiscard]] std::optional<std::uint64_t> rate_since(TimePoint from) const;
  [[nodiscard]] bool path_limited_since(TimePoint from) const;

  State state_;
  TimePoint entered_;
  std::deque<Sample> samples_;  // of the state, poor_after long at the least; 4 a second
  std::uint64_t best_ = 0;      // of UDP, over 2 s
  std::uint64_t udp_rate_ = 0;  // bytes a second before TCP was tried
  std::uint64_t tcp_rate_ = 0;  // before the return
  Duration wait_ = wait_min;    // before the next return
  TimePoint return_at_;
  Duration trial_wait_ = trial_wait_min;
  TimePoint trial_at_{};  // not before
  std::optional<TimePoint> probing_since_;
  std::optional<TimePoint> probe_answered_;
  unsigned answers_ = 0;
};

}  // namespace penstock::control
