#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/path/address_validation.h"
#include "dataplane/engine/ranges/extent_map.h"
#include "dataplane/engine/ranges/range_scheduler.h"
#include "dataplane/engine/source_window.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::engine {

/// The sending half of one lane: datagrams, file bytes and time in; datagrams, events and a deadline out.
/// After a batch of inputs at one `now`: poll_transmit, then poll_event, each until nullopt, then poll_timeout. `now`
/// never decreases; an early or repeated handle_timeout is harmless. Nothing is sent before `open_path`.
/// Copies nothing but ciphertext: plaintext is borrowed from `window` and sealed straight into `buffer`. A datagram
/// that left poll_transmit has spent its number: the driver sends those bytes, or loses them. Source: RFC 9000, RFC
/// 9002 as narrowed by PROTOCOL sections 2-4. Threads: one owner. Allocates nothing per packet in steady state.
class Sender {
 public:
  Sender(const SenderConfig& config, LaneKeys keys, Rng rng);
  ~Sender();
  Sender(Sender&&) noexcept;
  Sender& operator=(Sender&&) noexcept;

  /// The peer's address is known: sending may begin.
  void open_path(TimePoint now);

  /// One receive batch: equal segments (GRO, the last may be shorter), all of which arrived with `mark`; opened in
  /// place, hence mutable.
  BatchOutcome handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                EcnMark mark = EcnMark::none);
  /// Requires: all that came in by `now` was handed over, else acknowledgements that wait in a socket look lost. So
  /// this `now` alone may lie before that of an earlier call.
  void handle_timeout(TimePoint now);

  /// A GSO batch into `buffer` (at least one full datagram, udp_payload_limit bytes to fill batches); nullopt when
  /// nothing may leave now. Ranges not resident in `window` become prefetch events and are skipped, not waited for.
  std::optional<Transmit> poll_transmit(TimePoint now, SourceWindow& window, std::span<std::byte> buffer);
  /// The driver's way out is full, so it asks for nothing until that has drained: the path's first hop is the limit.
  void on_send_blocked(TimePoint now);
  std::optional<SenderEvent> poll_event();
  [[nodiscard]] std::optional<TimePoint> poll_timeout() const;

  /// The peer's newest packet, of `bytes`, came from another address than it has. False: no notice is taken, at least
  /// for now. True: that address is proposed, and asked by what is marked Transmit::to_proposed; it becomes the peer's
  /// when a BatchOutcome says peer_moved, or is given up in silence.
  [[nodiscard]] bool propose_address(TimePoint now, AddressChange change, std::uint64_t bytes);
  /// So many more authentic bytes came from the proposed address.
  void on_bytes_from_proposed(std::uint64_t bytes);
  [[nodiscard]] bool asks_proposed() const;

  /// How long acknowledgements that come in may wait to be handed over, in a socket say; zero while they are what holds
  /// us back.
  [[nodiscard]] Duration patience() const;

  /// Transfer space below `end` exists and may be sent. Never shrinks.
  void offer(TransferOffset end);
  /// No byte will follow `end`; Requires: equal to the last offer.
  void finish(TransferOffset end);
  /// The far end has these bytes, or wants none of them: they are not sent (any more).
  void withhold(TransferRange range);
  /// Repair: send these bytes again, whatever was acknowledged.
  void resend(TransferRange range);
  // With siblings: leases of extents, and one flow's share of the path. What is said above is said to every lane alike,
  // of all transfer space.
  /// Gives lane `to` an extent below `below` of which no byte was sent; nullopt: there is none.
  [[nodiscard]] std::optional<RangeScheduler::Yielded> yield(std::size_t to, TransferOffset below);
  /// What is known of all its extents, for the lane that takes them over. This one is over.
  [[nodiscard]] ExtentState surrender() const;
  /// The extents are this lane's from now on. Requires: the far end knows.
  void adopt(const ExtentMove& move, const ExtentState& state);
  /// They went from one sibling to another.
  void note(const ExtentMove& move);
  /// A sibling's event.
  void on_sibling_congestion(TimePoint now, const CongestionNews& news);

  // The stream: a reliable way beside the datagrams, for paths that do not carry those (control/session/README).
  /// File bytes leave by the stream from now on. What datagrams have on their way goes there too, unless its
  /// acknowledgement still comes; frames go on by datagrams, but nothing is probed. Harmless when repeated.
  void go_by_stream();
  /// And by datagrams again; what the stream has on its way is not sent twice.
  void go_by_datagrams();
  /// The far end has these bytes, as it says by another way than ACKs.
  void on_held(TransferRange range);
  /// It grants this, likewise.
  void on_credit(const CreditFrame& credit);
  /// The next message, `length_max` bytes at most; nullopt: none may leave now, or the lane goes by datagrams. The
  /// driver sends it: it counts as on its way.
  [[nodiscard]] std::optional<StreamChunk> poll_stream(TimePoint now, SourceWindow& window, std::size_t length_max);
  /// The driver takes no message: the path is the limit.
  void on_stream_full(TimePoint now);
  /// The lane ends when it makes no sense.
  void on_stream_ack(TimePoint now, const StreamAck& ack);
  /// One datagram that asks for an answer (LaneStats::answered_at).
  void ping();
  /// The peer agreed to a RepairProposal (or to another ratio), and keeps what it receives: repair symbols may leave.
  void on_repair_agreed(const RepairRatio& ratio);

  /// More bytes came into the window: poll_transmit is worth calling again.
  void on_source_ready();

  /// Queues a message for the peer, reliably and in order, in CONTROL frames. False: the queue bound (control_queue_max
  /// bytes) is reached; the message still goes by TCP.
  [[nodiscard]] bool queue_control(std::span<const std::byte> message);
  /// Says goodbye (CLOSE, repeated on answerless input) and goes quiet.
  void close(TransportError reason);

  /// All bytes below it are acknowledged or withheld: the window may forget them.
  [[nodiscard]] TransferOffset oldest_unacknowledged() const;
  /// The next never-sent byte: read-ahead starts here.
  [[nodiscard]] TransferOffset frontier() const;
  /// Bytes of transfer space worth keeping resident for repeats: about one bandwidth-delay product.
  [[nodiscard]] std::uint64_t retention_target() const;
  [[nodiscard]] const LaneStats& stats() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace penstock::engine
