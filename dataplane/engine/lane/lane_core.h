#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/keys/open_keys.h"
#include "dataplane/engine/keys/seal_keys.h"
#include "dataplane/engine/lane/ack_writer.h"
#include "dataplane/engine/lane/control_stream.h"
#include "dataplane/engine/lane/goodbye.h"
#include "dataplane/engine/lane/recovery.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/path/address_validation.h"
#include "dataplane/engine/path/pmtu_search.h"
#include "dataplane/engine/ranges/replay_window.h"
#include "dataplane/engine/timers.h"
#include "dataplane/engine/wire/packet_header.h"
#include "dataplane/engine/wire/repair_frame.h"

namespace penstock::engine {

struct LaneCoreConfig {
  RecoveryConfig recovery;
  std::size_t datagram_size_max = 0;  // what PMTU search may move DATA to; 0: it stays at recovery.datagram_size
  std::uint64_t key_update_packets = 0;
  /// This end sends bulk: it tells the peer once a round trip which acknowledgements it still needs, in a datagram of
  /// its own if for two nothing else was due.
  bool sends_bulk = false;
};

/// What both halves of a lane have in common: keys, packet numbers, acknowledgements in both directions, the reliable
/// control stream, and the end. The halves add DATA. Threads: one owner. Time: passed in, never read.
///
/// waiting --open_path--> open --close, a fault--> closing --the peer's CLOSE, or repeats used up--> closed
///                          `------the peer's CLOSE------------------------------------------------^
class LaneCore {
 public:
  LaneCore(const LaneCoreConfig& config, LaneKeys keys, Rng rng);

  void open_path(TimePoint now);
  /// Bulk and acknowledgements may leave.
  [[nodiscard]] bool is_open() const { return state_ == State::open; }
  /// No more input changes anything but the goodbye.
  [[nodiscard]] bool is_over() const { return state_ == State::closing || state_ == State::closed; }
  /// Says goodbye; the Closed event follows. Harmless when the lane is over already.
  void close(TransportError reason, bool by_peer = false);

  // --- in ---
  /// A datagram that looks like ours and was not seen before: worth opening.
  struct Admitted {
    PacketHeader header;
    PacketNumber number;
    EcnMark mark = EcnMark::none;
    std::span<const std::byte> aad;
    std::span<std::byte> sealed;
  };
  [[nodiscard]] std::optional<Admitted> admit(std::span<std::byte> datagram, EcnMark mark);
  /// Opens into `out`: sealed.size() - aead_tag_size bytes. False: counted and to be dropped.
  [[nodiscard]] bool open(TimePoint now, const Admitted& packet, std::byte* out);
  /// The opened packet counts as received: acknowledged, and never accepted again.
  void accept(TimePoint now, const Admitted& packet, bool ack_eliciting, BatchOutcome& outcome);
  /// Opens a FRAMES packet in place and acts on it; what it says about our data goes to `news`.
  void handle_frames(TimePoint now, const Admitted& packet, BatchOutcome& outcome, DeliveryNews& news);
  /// What the peer's ACK and CREDIT frames granted so far.
  [[nodiscard]] const CreditFrame& peer_credit() const { return peer_credit_; }
  [[nodiscard]] AckTracker& ack_tracker() { return acks_.tracker(); }

  // --- time ---
  /// All but persist; the halves add theirs.
  [[nodiscard]] TimerTable timers() const;
  void handle_timeout(TimePoint now, DeliveryNews& news);
  /// The peer's newest packet, of `bytes`, came from another address than its own. False: it is not asked about, at
  /// least now. True: it is what Transmit::to_proposed means, until peer_moved, or this call is true again.
  [[nodiscard]] bool propose_address(TimePoint now, AddressChange change, std::uint64_t bytes);
  /// So many more authentic bytes came from there. Harmless when nothing is asked.
  void on_bytes_from_proposed(std::uint64_t bytes) { address_.on_bytes_received(bytes); }
  [[nodiscard]] bool asks_proposed() const { return address_.asking(); }
  /// What the path was found to carry. Requires: called after each input that filled `news`.
  void take_path_news(TimePoint now, const DeliveryNews& news);

  // --- out ---
  /// A datagram of frames, when one is owed: goodbye, acknowledgement, control, probe. `fields` is what an ACK says
  /// beside its ranges, `held` what else is here.
  [[nodiscard]] std::optional<Transmit> poll_frames(TimePoint now, std::span<std::byte> buffer, AckFields fields,
                                                    const HeldData& held = {});
  /// poll_frames would write an acknowledgement now.
  [[nodiscard]] bool owes_ack(TimePoint now) const { return is_open() && ack_due(now); }
  /// A challenge to the proposed address, when one is due.
  [[nodiscard]] std::optional<Transmit> poll_challenge(TimePoint now, std::span<std::byte> buffer);
  /// A probe of a larger datagram, when one is due.
  [[nodiscard]] std::optional<Transmit> poll_size_probe(TimePoint now, std::span<std::byte> buffer);
  /// An ack-eliciting packet is wanted: a hello, a probe, a question for credit.
  void ask_for_ack() { ping_owed_ = true; }
  /// The same, riding on the next acknowledgement, for an RTT sample that costs no datagram of its own.
  void ask_for_ack_with_next_ack() { ping_with_ack_ = true; }
  /// The datagram that poll_frames gave last told the peer our credit.
  [[nodiscard]] bool told_credit() const { return acks_.told_credit(); }
  /// And what is held.
  [[nodiscard]] bool told_held() const { return acks_.told_held(); }
  /// Bulk may be sealed: the lane is open, the epoch's packets are not used up, the ledger has room.
  [[nodiscard]] bool can_seal_data() const { return is_open() && recovery_.can_send_bulk() && !seal_keys_.exhausted(); }
  /// Seals one DATA packet, which fills data_header_size + payload.size() + aead_tag_size bytes of `out`. Requires:
  /// can_send of recovery(), and that much room.
  /// `attempt`: as SentPacket's. `mark`: of the batch that it is part of.
  void seal_data(TimePoint now, TransferOffset at, std::span<const std::byte> payload, std::span<std::byte> out,
                 std::uint8_t attempt, EcnMark mark);
  /// Seals one repair symbol of `generation`, as a datagram of its own: a FRAMES packet, for on_data_batch. The bytes
  /// of `out` that it fills. Requires: as seal_data.
  [[nodiscard]] std::size_t seal_repair(TimePoint now, const RepairFrame& frame, std::uint64_t generation,
                                        std::span<std::byte> out, EcnMark mark);
  /// What a batch of DATA is to be marked with. Probes are not: they pass where marks do not.
  [[nodiscard]] EcnMark batch_mark(TimePoint now) { return recovery_.mark(now); }
  /// The DATA packets sealed since the last call left as one batch: as `batch` says.
  void on_data_batch(TimePoint now, std::size_t packets, const Transmit& batch);

  /// Bytes were asked for anew: what ACKs say is held is not believed until one comes for a packet sent from now on.
  void distrust_held() { held_valid_from_ = recovery_.next_number(); }

  [[nodiscard]] bool queue_control(std::span<const std::byte> message);
  using Event = std::variant<ControlReceived, PeerHeard, Closed>;
  [[nodiscard]] std::optional<Event> poll_event();

  [[nodiscard]] Recovery& recovery() { return recovery_; }
  [[nodiscard]] const Recovery& recovery() const { return recovery_; }
  /// Of datagrams of frames: never more than any path is taken to carry, once sizes are searched.
  [[nodiscard]] std::size_t datagram_size() const { return datagram_size_; }
  /// Of full DATA datagrams.
  [[nodiscard]] std::size_t data_size() const { return size_search_.size(); }
  [[nodiscard]] bool heard() const { return stats_.last_heard.has_value(); }
  [[nodiscard]] const std::optional<TimePoint>& last_heard() const { return stats_.last_heard; }
  /// Counters; the parts' own are copied in on the way.
  [[nodiscard]] LaneStats& stats();

 private:
  enum class State : std::uint8_t { waiting, open, closing, closed };

  void handle_frame(TimePoint now, const RawFrame& frame, BatchOutcome& outcome, DeliveryNews& news);
  void on_peer_moved(TimePoint now, const AddressMove& move, DeliveryNews& news);
  void choose_probe();
  void handle_ack(TimePoint now, std::span<const std::byte> body, DeliveryNews& news);
  [[nodiscard]] std::optional<Transmit> seal_close(TimePoint now, std::span<std::byte> buffer);
  [[nodiscard]] bool ack_due(TimePoint now) const { return acks_.due(now, recovery_.rtt().smoothed()); }
  [[nodiscard]] bool control_due(TimePoint now, bool probe);
  /// There is news since OLDEST_NEEDED was told last, and that was so many half round trips ago.
  [[nodiscard]] bool oldest_needed_due(TimePoint now, int half_rounds) const;
  [[nodiscard]] Transmit seal_frames(TimePoint now, std::span<const std::byte> frames, const SentPacket& sent,
                                     std::span<std::byte> buffer);
  PacketHeader header_for(PacketType type, PacketNumber number) const;

  State state_ = State::waiting;
  bool sends_bulk_;
  std::size_t datagram_size_;
  ConnectionId peer_id_;
  ConnectionId own_id_;
  SealKeys seal_keys_;
  OpenKeys open_keys_;
  ReplayWindow replay_;
  AckWriter acks_;
  Rng challenges_;
  AddressValidation address_;
  std::optional<PathData> response_owed_;      // to the peer's challenge
  std::optional<KeyEpoch> confirmation_owed_;  // the peer began this epoch
  PmtuSearch size_search_;
  Recovery recovery_;
  ControlSender control_out_;
  ControlReceiver control_in_;
  CreditFrame peer_credit_;
  std::optional<EcnCounts> counts_in_hand_;  // of the packet that is being read, for the ACK behind them
  PacketNumber held_valid_from_;

  std::optional<TimePoint> control_ready_at_;  // control waits for the pacer until then
  bool ping_owed_ = false;
  bool ping_with_ack_ = false;
  std::optional<TimePoint> oldest_told_at_;
  std::optional<PacketNumber> oldest_told_for_;  // the largest acknowledged at that time

  TransportError close_reason_ = TransportError::none;
  Goodbye goodbye_;

  std::deque<Event> events_;
  std::vector<std::byte> scratch_;    // frames before sealing
  std::vector<AckRange> ack_ranges_;  // of the ACK in hand
  std::vector<TransferRange> ack_held_;
  std::vector<std::vector<std::byte>> messages_;
  LaneStats stats_;
};

}  // namespace penstock::engine
