#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/wire/ecn_mark.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/host.h"
#include "tests/sim/pipe.h"
#include "tests/sim/tcp_bbr_policed.h"

namespace penstock::sim {

/// The bulk flow that others' TCP makes with BBR version 1: what Linux calls `bbr`. It heeds no loss but for a round
/// trip of packet conservation when recovery begins, so a queue shorter than its window overflows for ever.
/// Sources: draft-cardwell-iccrg-bbr-congestion-control-00; Cardwell et al., "BBR: Congestion-Based Congestion
/// Control", ACM Queue 14(5), 2016; delivery rate samples of draft-cheng-iccrg-delivery-rate-estimation-00; packet
/// conservation, bursts of a millisecond, the 1 % of pacing margin and what it does about policers as in Linux'
/// tcp_bbr.c. Left out: idle restarts, delayed ACKs and TCP's own slow RTO. Integers only. Threads: one owner.
class TcpBbr {
 public:
  static constexpr std::uint64_t payload = 1448;     // file bytes of a packet
  static constexpr std::size_t segment_size = 1472;  // and what makes it 1500 with the 28 that the link counts

  /// Behind a queue it takes others for a policer now and then, which moves shares by a percent or two; the tables of
  /// fairness there were measured without.
  enum class Policers : std::uint8_t { ignored, looked_for };

  TcpBbr(Rng rng, Policers policers) : rng_(rng), policers_(policers) {}

  struct Packet {
    std::uint64_t number = 0;    // of sending
    std::uint64_t sequence = 0;  // of data: the same when it is sent again
    TimePoint sent_at{};
    TimePoint first_sent_at{};
    TimePoint delivered_at{};
    std::uint64_t delivered = 0;
    bool resolved = false;
  };

  /// The packet that leaves now; the caller has asked may_send.
  std::uint64_t on_sent(TimePoint now);
  void on_acked(TimePoint now, std::uint64_t number);
  /// Nothing was heard for so long that all is taken for lost.
  void on_timeout(TimePoint now);

  [[nodiscard]] bool may_send() const { return in_flight_ < cwnd_; }
  /// Packets that leave at once.
  [[nodiscard]] std::uint64_t burst() const;
  /// Between two packets.
  [[nodiscard]] Duration gap() const;
  [[nodiscard]] std::optional<TimePoint> timeout() const;

  [[nodiscard]] std::uint64_t cwnd() const { return cwnd_; }
  [[nodiscard]] std::uint64_t in_flight() const { return in_flight_; }
  [[nodiscard]] Duration smoothed_rtt() const { return smoothed_; }
  /// File bytes a second.
  [[nodiscard]] std::uint64_t pacing() const { return pacing_; }
  [[nodiscard]] std::uint64_t bandwidth() const;

 private:
  enum class Mode : std::uint8_t { startup, drain, probe_bandwidth, probe_rtt };

  [[nodiscard]] std::uint64_t detect_losses(std::uint64_t number);
  void sample_bandwidth(TimePoint now, const Packet& packet, std::uint64_t losses);
  void watch_for_policer(TimePoint now, std::uint64_t losses);
  void update_mode(TimePoint now, std::uint64_t losses);
  void update_cycle(TimePoint now, std::uint64_t losses);
  void update_min_rtt(TimePoint now, Duration rtt);
  void update_recovery(const Packet& packet, std::uint64_t losses);
  void update_aggregation(TimePoint now);
  void update_window();
  void enter_probe_bandwidth(TimePoint now);
  void set_gain(std::uint64_t pacing, std::uint64_t window) { pacing_gain_ = pacing, window_gain_ = window; }
  void set_pacing();
  [[nodiscard]] std::uint64_t rate() const;  // the policer's, where one is believed in, or bandwidth()
  [[nodiscard]] std::uint64_t inflight(std::uint64_t bytes_per_second, std::uint64_t gain) const;
  [[nodiscard]] std::uint64_t inflight_target(std::uint64_t gain) const;

  Rng rng_;
  Policers policers_;
  // Transport. Counts of packets.
  std::deque<Packet> sent_;  // from the oldest that is unresolved on
  std::deque<std::uint64_t> resend_;
  std::uint64_t next_number_ = 0;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t in_flight_ = 0;
  std::uint64_t unacked_ = 0;  // sequences that were sent and have not arrived
  std::uint64_t delivered_ = 0;
  std::uint64_t lost_ = 0;
  TimePoint delivered_at_{};
  TimePoint first_sent_at_{};
  TimePoint heard_at_{};
  Duration smoothed_{};
  // Recovery.
  bool recovering_ = false;
  bool conserving_ = false;
  std::uint64_t recovery_end_ = 0;      // sequence
  std::uint64_t recovery_missing_ = 0;  // of those before it
  std::uint64_t window_before_ = 0;
  // The model.
  Mode mode_ = Mode::startup;
  TcpBbrPoliced policed_;
  std::array<std::uint64_t, 10> rates_{};  // bytes a second, the best of each of the last ten round trips
  std::uint64_t rounds_ = 0;
  std::uint64_t round_end_ = 0;  // of delivered_
  bool round_start_ = false;
  Duration min_rtt_{};
  TimePoint min_rtt_at_{};
  std::uint64_t full_rate_ = 0;
  std::uint32_t full_count_ = 0;
  bool full_ = false;
  std::size_t phase_ = 0;
  TimePoint phase_at_{};
  std::optional<TimePoint> probe_rtt_until_;
  bool probe_rtt_round_ = false;
  TimePoint epoch_at_{};
  std::uint64_t epoch_acked_ = 0;
  std::array<std::uint64_t, 2> extra_{};
  std::uint64_t extra_rounds_ = 0;
  // What may leave.
  std::uint64_t pacing_gain_ = 739;  // of 256: 2 / ln 2
  std::uint64_t window_gain_ = 739;
  std::uint64_t cwnd_ = 10;
  std::uint64_t pacing_ = 0;
};

/// Such a flow between two pipes, without end; its receiver acknowledges each packet.
class TcpBbrFlow {
 public:
  TcpBbrFlow(EventQueue& events, Rng rng, Pipe& forward, Pipe& backward, Host& senders, Host& receivers,
             TimePoint start, TcpBbr::Policers policers);

  /// File bytes, each counted once.
  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] const TcpBbr& model() const { return model_; }

 private:
  struct End final : Endpoint {
    std::function<void(std::span<std::byte>, std::size_t)> hear;
    void receive(std::span<std::byte> batch, std::size_t segment, engine::EcnMark) override { hear(batch, segment); }
    void turn() override {}
  };

  void send();
  void watch();
  void transmit(Pipe& pipe, ConnectionId to, std::uint64_t number, std::size_t size);

  EventQueue& events_;
  Pipe& forward_;
  Pipe& backward_;
  TcpBbr model_;
  ConnectionId to_sender_;
  ConnectionId to_receiver_;
  End sender_;
  End receiver_;
  std::uint64_t received_ = 0;
  TimePoint next_at_{};
  std::optional<TimePoint> send_at_;
};

}  // namespace penstock::sim
