#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "common/random.h"
#include "dataplane/engine/congestion/ack_aggregation.h"
#include "dataplane/engine/congestion/bandwidth_filter.h"
#include "dataplane/engine/congestion/careful_start.h"
#include "dataplane/engine/congestion/congestion_controller.h"
#include "dataplane/engine/congestion/delivery_log.h"
#include "dataplane/engine/congestion/lane_guide.h"
#include "dataplane/engine/congestion/loss_floor.h"
#include "dataplane/engine/congestion/queue_watch.h"
#include "dataplane/engine/congestion/receiver_window.h"
#include "dataplane/engine/congestion/rtt_floor.h"
#include "dataplane/engine/congestion/share_watch.h"

namespace penstock::engine {

/// BBR version 3 that tells random loss from congestion. States, signals and every difference from the draft: README.md
/// of this folder. Source: draft-ietf-ccwg-bbr. All rates are bytes of UDP payload a second *sent*: what chance loses
/// is part of them (PROTOCOL section 4: scaled by 1 / (1 - p_floor)). Integers only. Threads: one owner.
///
/// startup --delay grows, excess loss, or no growth--> drain --a BDP in flight--> cruise
///                            .--no more gained, queue, loss--> down --drained--> cruise
/// cruise, down --6 to 8 RTT--> refill --a round trip--> up ----'
/// any --min_rtt unconfirmed for 5 s--> probe_rtt --200 ms--> cruise (startup, where it was there)
class Bbr final : public CongestionController {
 public:
  enum class State : std::uint8_t { startup, drain, down, cruise, refill, up, probe_rtt };

  /// `ip_overhead`: of each datagram, which the pacer counts and our samples do not. `remembered`: IP bytes that this
  /// path carried before. `place`: with siblings it sends as the one that leads does (lane_guide.h), an Nth of what one
  /// flow would, while its own model goes on for the time in which none does.
  Bbr(std::uint64_t datagram_bytes, std::uint64_t ip_overhead, Duration initial_rtt, Rng rng,
      std::optional<DataRate> remembered = std::nullopt, LanePlace place = {});

  void on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) override;
  void on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) override;
  void on_packets_lost(const LostSample& sample) override;
  void on_spurious_loss(TimePoint sent_at) override;
  void on_packets_marked(const MarkedSample& sample) override;
  void on_marks_withdrawn(TimePoint now) override;
  void on_datagram_size(std::uint64_t bytes) override {
    datagram_ = bytes;
    cwnd_ = std::max(cwnd_, window_min());  // with nothing in flight no ACK would do it
  }
  void on_app_limited(std::uint64_t in_flight) override;
  void on_receiver_drops(std::uint64_t packets) override { receiver_.on_drops(packets); }

  [[nodiscard]] std::optional<CongestionNews> take_news() override { return std::exchange(news_, std::nullopt); }
  void on_sibling_news(TimePoint now, const CongestionNews& news) override {
    if (news.lead) guide_.on_news(now, *news.lead);
  }

  [[nodiscard]] std::uint64_t cwnd() const override;
  [[nodiscard]] DataRate pacing_rate(const RttEstimator& rtt) const override;
  [[nodiscard]] std::optional<PathEstimate> estimate() const override;

  [[nodiscard]] State state() const { return state_; }
  /// Bytes a second.
  [[nodiscard]] std::uint64_t bandwidth() const;
  [[nodiscard]] Duration min_rtt() const { return rtt_floor_.minimum(); }
  [[nodiscard]] std::uint64_t loss_floor_ppm() const { return loss_.ppm(); }

 private:
  struct Bounds {  // what congestion allows for the moment, and for longer; nullopt: no bound
    std::optional<std::uint64_t> bandwidth_short;
    std::optional<std::uint64_t> in_flight_short;
    std::optional<std::uint64_t> in_flight_long;
  };
  struct Undo {
    Bounds bounds;
    std::optional<TimePoint> queue_loss_at;
    State state;
    TimePoint at;
    std::uint64_t losses;  // so many more have to prove spurious
  };

  // --- what an ACK tells ---
  void take_tallies(const AckedSample& sample, bool quiet);
  void update_round(const AckedSample& sample, const DeliverySample& flight);
  void update_bandwidth(const AckedSample& sample, const DeliverySample& flight);
  [[nodiscard]] std::uint64_t rate_of(const AckedSample& sample, const DeliverySample& flight);
  void on_round(const AckedSample& sample, const DeliverySample& flight);
  void watch_share(const DeliverySample& flight);
  [[nodiscard]] bool is_queueing() const;
  /// Others fill the queue: nothing that we do drains it.
  [[nodiscard]] bool is_contended() const;
  [[nodiscard]] LossTally tally_of(const DeliverySample& flight) const;
  [[nodiscard]] bool is_hole(const bytes::Interval& lost) const;
  void retreat();
  void react_to_loss(TimePoint now, const DeliverySample& flight);
  void react_to_excess(TimePoint now, const DeliverySample& flight, bool marked);
  void make_room(const DeliverySample& flight);
  void bound_short(bool marked);
  /// Losses keep us well below what is believed to be there.
  [[nodiscard]] bool is_cut() const;
  void remember(TimePoint now, std::uint64_t lost);
  void go_back_to(State was);

  // --- the states ---
  void advance_state(const AckedSample& sample, const DeliverySample* flight);
  void advance_startup(TimePoint now, const DeliverySample* flight);
  void settle_startup(const DeliverySample& flight);
  void advance_up(TimePoint now);
  void advance_down(TimePoint now, std::uint64_t in_flight);
  [[nodiscard]] bool stays_to_learn(TimePoint now) const;
  [[nodiscard]] Duration test_length() const;
  [[nodiscard]] bool judge_probe(TimePoint now);
  void enter_drain(TimePoint now);
  void enter_down(TimePoint now);
  void enter_cruise();
  void enter_refill();
  void enter_up(TimePoint now, std::size_t step);
  void enter_probe_rtt();
  void advance_probe_rtt(const AckedSample& sample);
  void begin_round() { round_end_delivered_ = log_.delivered(); }
  void begin_cycle(TimePoint now);
  void pick_wait();
  void pick_wait(std::uint64_t rounds_min, std::uint64_t rounds_max);
  [[nodiscard]] bool is_time_to_probe(TimePoint now) const;

  // --- what may leave ---
  [[nodiscard]] std::uint64_t bdp() const;
  [[nodiscard]] std::uint64_t bdp_times(std::uint64_t percent) const;
  [[nodiscard]] std::uint64_t quantum() const;
  [[nodiscard]] std::uint64_t window_min() const;
  [[nodiscard]] std::uint64_t initial_window() const;
  [[nodiscard]] std::uint64_t rate() const;
  [[nodiscard]] std::uint64_t as_led(std::uint64_t value) const;
  void lead(TimePoint now);
  [[nodiscard]] Pace pace() const;
  [[nodiscard]] std::uint64_t pacing_percent() const;
  [[nodiscard]] std::uint64_t up_percent() const;
  void update_window(const AckedSample& sample, std::uint64_t lost_bytes);

  std::uint64_t datagram_;
  std::uint64_t ip_overhead_;
  std::uint64_t lanes_;
  Rng rng_;
  LaneGuide guide_;
  std::optional<CongestionNews> news_;
  std::uint64_t limited_until_ = 0;   // of what arrived and was lost: until then there was too little to send
  std::uint64_t limited_rounds_ = 0;  // in a row
  State state_ = State::startup;
  DeliveryLog log_;
  LossFloor loss_;
  RttFloor rtt_floor_;
  BandwidthFilter max_bandwidth_;
  AckAggregation aggregation_;
  QueueWatch queue_;
  ShareWatch share_;
  ReceiverWindow receiver_;
  Bounds bounds_;
  std::optional<Undo> undo_;

  CarefulStart careful_;
  std::uint64_t cwnd_;
  std::uint64_t startup_rate_;  // falls during startup only when what was remembered is given up
  Duration smoothed_rtt_;
  bool full_ = false;             // the path was filled once
  bool startup_doubted_ = false;  // it was ended by delay: was that a queue?
  /// RTT samples since then.
  struct Doubt {
    Duration raised{};  // at the least, where a queue stands
    std::uint64_t samples = 0;
    std::uint64_t above = 0;
    void on_sample(Duration rtt) {
      ++samples;
      if (rtt >= raised) ++above;
    }
  } doubt_;

  // Losses known since the last ACK, and of a startup's round trip.
  std::array<LossTally, 3> pending_;  // by Pace
  LossTally startup_tally_;
  std::optional<std::uint64_t> first_arrived_;  // packet number
  std::uint64_t next_number_ = 0;
  std::optional<std::uint64_t> way_known_from_;  // packet number: what left after something had been acknowledged
  std::uint64_t pending_lost_bytes_ = 0;

  // This round trip.
  bool round_start_ = false;
  bool undelayed_ = false;  // the last ACK tells of no queue, be it ever so short
  std::uint64_t rounds_ = 0;
  std::uint64_t drained_round_ = 0;  // the last one in which the queue was seen empty
  std::uint64_t round_end_delivered_ = 0;
  std::uint64_t round_in_flight_max_ = 0;
  std::uint64_t round_in_flight_peak_ = 0;  // of the round trip that has just ended
  std::uint64_t bandwidth_latest_ = 0;
  std::uint64_t bandwidth_before_ = 0;  // the same of the round trip before
  std::uint64_t mean_rate_ = 0;         // of the flights behind a queue
  TimePoint near_seen_at_{};            // an RTT near its minimum
  TimePoint queue_seen_at_{};           // none of them for half a round trip
  std::uint64_t delivered_latest_ = 0;
  std::optional<TimePoint> queue_loss_at_;  // the last loss with a queue
  Duration others_recover_{};               // so long after it
  std::uint64_t cut_round_ = 0;             // in which is_cut() began
  std::uint64_t reacted_round_ = 0;         // one reaction to loss and marks a round trip
  std::uint64_t marks_ = 0;                 // CE, of this round trip
  State before_marks_ = State::startup;

  // The cycle.
  TimePoint cycle_at_{};
  std::uint64_t cycle_round_ = 0;
  std::uint64_t wait_rounds_ = 0;
  std::uint64_t wait_percent_ = 100;  // of the longest time
  std::uint64_t cycles_ = 0;
  bool filter_due_ = false;
  bool test_elasticity_ = false;
  std::uint64_t test_after_ = 0;  // cycles
  std::uint64_t test_wait_ = 0;
  std::optional<TimePoint> test_until_;
  std::uint64_t phase_round_ = 0;  // in which the present state began
  std::uint64_t probe_round_ = 0;  // in which the last probe ended
  std::uint64_t growth_base_ = 0;  // bandwidth that startup or up compare with
  std::uint32_t growth_stalled_ = 0;
  std::size_t up_step_ = 0;
  bool probe_gentle_ = false;  // this one
  bool gentle_ = false;        // the next probe is: the last one brought next to nothing
  bool large_ = false;  // we have more than half of a full path: the last probe brought less than half of what it tried
  bool awaiting_feedback_ = false;  // of what was sent in up
  std::uint32_t fruitless_ = 0;     // probes in a row that gained nothing
  std::uint64_t long_step_ = 0;     // by which in_flight_long grows a round trip

  // probe_rtt
  std::optional<TimePoint> probe_rtt_until_;
  std::uint64_t probe_rtt_round_ = 0;
};

}  // namespace penstock::engine
