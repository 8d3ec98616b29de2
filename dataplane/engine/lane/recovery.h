#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/ack/loss_detector.h"
#include "dataplane/engine/ack/rtt_estimator.h"
#include "dataplane/engine/ack/sent_packets.h"
#include "dataplane/engine/congestion/congestion_controller.h"
#include "dataplane/engine/congestion/pacer.h"
#include "dataplane/engine/lane/data_answers.h"
#include "dataplane/engine/lane/disowned_data.h"
#include "dataplane/engine/lane/offload_budget.h"
#include "dataplane/engine/lane/sink_refusals.h"
#include "dataplane/engine/lane/sleep_watch.h"
#include "dataplane/engine/lane/tail_copies.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/path/mark_ledger.h"
#include "dataplane/engine/path/pmtu_search.h"
#include "dataplane/engine/wire/ack_frame.h"

namespace penstock::engine {

/// What acknowledgements and time revealed about what we sent; neighbours are joined. Vectors keep their memory.
struct DeliveryNews {
  std::vector<TransferRange> data_acked;
  std::vector<TransferRange> data_lost;
  std::vector<bytes::Interval> control_acked;
  std::vector<bytes::Interval> control_lost;
  struct SizeProbe {
    PacketNumber number;
    std::size_t size = 0;
  };
  std::vector<SizeProbe> probes_acked;
  std::vector<SizeProbe> probes_lost;
  PmtuSearch::Tidings sizes;
  std::vector<std::uint64_t> repairs_acked;  // generations, one for each repair symbol
  std::vector<std::uint64_t> repairs_lost;
  std::vector<TransferRange> data_held;                   // by the peer's word, whatever became of its packets
  std::vector<std::span<const std::byte>> repair_frames;  // that came in; they live as long as the datagrams
  std::uint64_t packets_acked = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t packets_spurious = 0;
  TimePoint newest_lost_sent_at{};  // with packets_lost
  void clear();
};

struct RecoveryConfig {
  std::size_t datagram_size = udp_payload_min;
  std::size_t base_size = udp_payload_limit;  // larger datagrams are watched for a black hole
  std::size_t ip_overhead = 28;
  Duration initial_rtt{};
  Congestion congestion = Congestion::cubic;
  std::optional<DataRate> rate = std::nullopt;             // of this lane
  std::optional<DataRate> remembered_rate = std::nullopt;  // of the path that we begin with
  LanePlace place = {};                                    // lanes together take one flow's share
  bool ecn = false;                                        // bulk is marked, as far as the controller heeds marks
};

/// Everything about packets of ours that are on their way: their numbers, which of them arrived, which are lost, how
/// much may be in flight, how fast it leaves, when silence asks for a probe.
/// Numbers are handed out here, in order, and now and then one is skipped on purpose: a peer that acknowledges it
/// acknowledges blindly (RFC 9000 section 21.4). Source: RFC 9002 without persistent congestion (PROTOCOL section 4).
/// Cost: an ACK costs a binary search a range, and constant time for each packet newly acknowledged or lost.
/// Threads: one owner.
class Recovery {
 public:
  Recovery(const RecoveryConfig& config, Rng rng);

  /// The number of the next packet. Requires: can_send(); the packet is then sent by one of the next two calls.
  [[nodiscard]] PacketNumber take_number();
  /// The ledger has room for another packet (and a skipped number).
  [[nodiscard]] bool can_send() const { return ledger_.end() - ledger_.first() + 2 <= sent_packets_max; }
  /// The same for bulk, which leaves the last part of the ledger to acknowledgements, control and probes.
  [[nodiscard]] bool can_send_bulk() const {
    return ledger_.end() - ledger_.first() + sent_packets_reserved <= sent_packets_max;
  }
  /// The packet with the number just taken, ack-eliciting.
  void on_packet_sent(const SentPacket& packet);
  /// The same for a packet that is not ack-eliciting: nobody waits for its ACK, and it takes no window.
  void on_unacknowledged_sent();
  /// The same for a probe of a larger datagram, outside of all accounts but the pacer's.
  void on_size_probe_sent(TimePoint now, const SentPacket& packet);
  /// The peer is at another host: round trip, rate and losses of what was sent before say nothing about the new path
  /// (RFC 9000 section 9.4). What is under way counts as lost, until a late ACK says otherwise. `initial_rtt` is of the
  /// new path.
  void on_path_changed(TimePoint now, Duration initial_rtt, DeliveryNews& news);
  /// What of this path was known before its first sample.
  [[nodiscard]] Duration initial_rtt() const { return config_.initial_rtt; }
  /// Full datagrams have another size from now on.
  void on_datagram_size(std::size_t bytes);
  /// A batch is complete: `packets` datagrams of `bytes` in all, ack-eliciting ones.
  void on_batch_sent(TimePoint now, std::uint64_t packets, std::uint64_t bytes);

  /// What the batch that leaves now is to be marked with. Its packets say so (SentPacket::marked).
  [[nodiscard]] EcnMark mark(TimePoint now) { return marks_.mark(now); }
  void on_marked_sent(TimePoint now, std::uint64_t packets) { marks_.on_sent(now, packets, rtt_.probe_timeout()); }
  /// The peer's address is another one: whether marks pass there has to be found out.
  void revalidate_marks() { marks_.restart({ledger_.end()}); }
  [[nodiscard]] const EcnValidation& ecn() const { return marks_.validation(); }

  /// False: the peer acknowledged what was never sent.
  [[nodiscard]] bool on_ack(TimePoint now, const AckFrame& ack, DeliveryNews& news);
  /// The loss deadline has passed.
  void on_loss_deadline(TimePoint now, DeliveryNews& news);
  /// The probe deadline has passed: the caller sends probes_owed() packets that nothing holds back.
  void on_probe_deadline(TimePoint now);
  /// The same unasked: the peer is where it was not, so that what is on its way may be lost, and no deadline has to
  /// pass. False: nothing is on its way, or silence asks for no probes.
  [[nodiscard]] bool probe_at_once(TimePoint now);
  [[nodiscard]] std::uint32_t probes_owed() const { return probes_owed_; }
  void on_probe_sent() { probes_owed_ -= probes_owed_ > 0 ? 1U : 0U; }
  /// Probe time-outs in a row, with no acknowledgement between.
  [[nodiscard]] std::uint32_t probe_backoff() const { return probe_backoff_; }

  [[nodiscard]] std::optional<TimePoint> loss_deadline() const { return loss_deadline_; }
  [[nodiscard]] std::optional<TimePoint> probe_deadline() const;
  /// Silence asks for no probes: the bytes have another way, and whoever wants to know of this one pings.
  void set_probing(bool probing) { probing_ = probing; }
  /// PTO, and twice what its probes take at the pacing rate (a second at most); with its back-off a quarter of a second
  /// at most, or the former where that is longer.
  [[nodiscard]] Duration probe_interval() const;

  /// Bytes that congestion control lets out now, beyond what is in flight.
  [[nodiscard]] std::uint64_t allowance() const;
  [[nodiscard]] const Pacer& pacer() const { return pacer_; }
  [[nodiscard]] Pacer& pacer() { return pacer_; }
  /// There was nothing more to send, although the window had room.
  void on_app_limited();

  /// Of what was repeated, and deserves a copy (TailCopies), the packet that comes next. Requires: nothing else is to
  /// be sent. Cost: in all, a look at every packet.
  [[nodiscard]] std::optional<PacketNumber> next_tail_copy();
  [[nodiscard]] const SentPacket& packet(PacketNumber number) const { return ledger_[number.value]; }
  /// Of the one that came next a copy was sent: from now on that answers for these bytes, so that one loss is repeated
  /// once.
  void on_tail_copy();
  /// It needs none.
  void skip_tail_copy() { ++tail_cursor_; }

  /// For the other lanes of the transfer, and from one of them.
  [[nodiscard]] std::optional<CongestionNews> take_congestion_news() { return controller_->take_news(); }
  void on_sibling_congestion(TimePoint now, const CongestionNews& news);

  [[nodiscard]] const RttEstimator& rtt() const { return rtt_; }
  [[nodiscard]] std::uint64_t bytes_in_flight() const { return in_flight_; }
  [[nodiscard]] std::uint64_t cwnd() const { return controller_->cwnd(); }
  [[nodiscard]] PathReport path_report() const { return controller_->report(); }
  [[nodiscard]] std::optional<PathEstimate> path_estimate() const;
  /// The window that the lane began with.
  [[nodiscard]] std::uint64_t cwnd_first() const { return cwnd_first_; }
  /// The next number that would be sent: all below were.
  [[nodiscard]] PacketNumber next_number() const { return {ledger_.end()}; }
  /// No acknowledgement below it is of interest any more.
  [[nodiscard]] PacketNumber oldest_needed() const;
  [[nodiscard]] std::optional<PacketNumber> largest_acked() const { return largest_acked_; }
  /// What the oldest, or the newest, packet that still waits for its ACK carried; data alone.
  [[nodiscard]] std::optional<TransferRange> oldest_data_in_flight() const;
  [[nodiscard]] std::optional<TransferRange> newest_data_in_flight() const;

  /// Every range of data that still waits for its ACK, newest neighbours joined.
  void data_in_flight(std::vector<TransferRange>& to) const;
  /// Something new was acknowledged last.
  [[nodiscard]] std::optional<TimePoint> answered_at() const { return answered_at_; }
  /// The first ack-eliciting packet after that, or that moment itself; nullopt: nothing waits for an answer.
  [[nodiscard]] std::optional<TimePoint> unanswered_since() const {
    return packets_in_flight_ == 0 ? std::nullopt : unanswered_since_;
  }
  /// The same of file bytes and their repair symbols alone. nullopt of the latter: no data is on its way.
  [[nodiscard]] std::optional<TimePoint> data_answered_at() const { return data_answers_.answered_at(); }
  [[nodiscard]] std::optional<TimePoint> data_unanswered_since() const;

  /// An ACK, or a loss, of data of this range that is on its way says nothing any more: it is to be sent anew. What
  /// `news` says is lost then is not, but has to be sent again as well. Cost: see DisownedData.
  void disown_data(TransferRange range, DeliveryNews& news);
  /// The configured rate is what paces, not what the controller makes of the path.
  [[nodiscard]] bool is_paced_by_cap() const { return paced_by_cap_; }
  /// The receiver's own socket dropped datagrams within the last second: it can not keep up.
  [[nodiscard]] bool receiver_drops_recent(TimePoint now) const { return offload_.drops_recent(now); }

  /// How often disown_data had to look at every packet in the ledger.
  [[nodiscard]] std::uint64_t ledger_walks() const { return ledger_walks_; }
  [[nodiscard]] std::uint64_t packets_lost() const { return packets_lost_; }
  [[nodiscard]] std::uint64_t spurious_losses() const { return spurious_losses_; }
  [[nodiscard]] std::uint64_t probe_timeouts() const { return probe_timeouts_; }
  [[nodiscard]] std::uint64_t tail_copies() const { return tail_copies_.sent(); }

 private:
  struct AckTally;
  [[nodiscard]] bool take_spurious(TimePoint now, bytes::Interval range, DeliveryNews& news);
  void take_marks(TimePoint now, const AckFrame& ack, TimePoint sent_at);
  void note_large_acked(std::optional<std::uint64_t> number, DeliveryNews& news);
  void note_lost(std::uint64_t number, const SentPacket& packet, DeliveryNews& news);
  [[nodiscard]] bool take_acked(bytes::Interval range, AckTally& tally, DeliveryNews& news);
  void detect_losses(TimePoint now, DeliveryNews& news);
  void find_losses(TimePoint now, DeliveryNews& news);
  void forget_resolved(TimePoint now);
  void update_pacing(TimePoint now);
  void report(std::vector<TransferRange>& to, std::uint64_t number) const;
  [[nodiscard]] bool carries_data(std::uint64_t number) const;
  void note_data_sent(std::uint64_t number, TimePoint now);
  void draw_skip();
  void owe_probes(TimePoint now);
  void on_resolved(const SentPacket& packet);

  RecoveryConfig config_;
  RttEstimator rtt_;
  LossDetector detector_;
  SentPackets ledger_;
  bytes::IntervalSet resolved_;  // numbers acknowledged or lost, or that nobody waits for; from 0 on
  DisownedData disowned_;
  bytes::IntervalSet lost_;  // declared lost, still in the ledger: a late ACK shows that it was not
  std::unique_ptr<CongestionController> controller_;
  std::uint64_t cwnd_first_;
  std::optional<DataRate> rate_cap_;
  bool paced_by_cap_ = false;
  std::size_t ip_overhead_;
  std::size_t base_size_;
  Pacer pacer_;
  Rng rng_;
  std::uint64_t skip_in_ = 0;  // packets until the next skipped number

  std::vector<bytes::Interval> acked_;   // numbers, of the ACK in hand; keeps its memory
  std::vector<bytes::Interval> losses_;  // likewise, that were found lost
  std::uint64_t in_flight_ = 0;
  std::uint64_t packets_in_flight_ = 0;
  std::uint64_t repeats_in_flight_ = 0;  // data that was sent before, the latest copy of each
  TailCopies tail_copies_;
  std::uint64_t tail_cursor_ = 0;  // packets below it were considered
  std::uint64_t app_limited_until_ = 0;
  std::optional<PacketNumber> largest_acked_;
  std::optional<std::uint64_t> newest_large_acked_;  // above base_size_
  MarkLedger marks_;
  std::uint64_t path_first_ = 0;  // older numbers were sent on another path
  std::optional<TimePoint> loss_deadline_;
  std::optional<TimePoint> recovery_start_;
  std::optional<TimePoint> answered_at_;
  std::optional<TimePoint> unanswered_since_;
  DataAnswers data_answers_;
  bool probing_ = true;
  TimePoint probe_base_{};  // the last ack-eliciting packet, or the last probe time-out
  std::uint32_t probe_backoff_ = 0;
  std::uint32_t probes_owed_ = 0;
  SinkRefusals refusals_;
  SleepWatch sleep_;
  OffloadBudget offload_;
  std::uint64_t packets_lost_ = 0;
  std::uint64_t ledger_walks_ = 0;
  std::uint64_t spurious_losses_ = 0;
  std::uint64_t probe_timeouts_ = 0;
};

}  // namespace penstock::engine
