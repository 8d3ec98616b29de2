#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/fec/repair_policy.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/path/address_validation.h"
#include "dataplane/engine/ranges/extent_map.h"
#include "dataplane/engine/sink_window.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::engine {

/// The receiving half of one lane: datagrams and time in; file bytes into lent slabs, acknowledgements, events and a
/// deadline out. Driven like Sender: inputs, then poll_transmit, poll_event, poll_timeout.
/// Threads: one owner. Allocates nothing per packet in steady state.
class Receiver {
 public:
  Receiver(const ReceiverConfig& config, LaneKeys keys, Rng rng);
  ~Receiver();
  Receiver(Receiver&&) noexcept;
  Receiver& operator=(Receiver&&) noexcept;

  /// The peer's address is known: acknowledging, or saying hello, may begin.
  void open_path(TimePoint now);

  /// One receive batch: equal segments (GRO), all of which arrived with `mark`. DATA is opened from `batch` into
  /// `window`, all else in place.
  BatchOutcome handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size, SinkWindow& window,
                                EcnMark mark = EcnMark::none);
  /// Requires: all that came in by `now` was handed over. This `now` alone may lie before that of an earlier call.
  void handle_timeout(TimePoint now);

  /// One or a few datagrams: ACKs with credit, CONTROL, hello. `window` is asked for its room.
  std::optional<Transmit> poll_transmit(TimePoint now, const SinkWindow& window, std::span<std::byte> buffer);
  std::optional<ReceiverEvent> poll_event();
  [[nodiscard]] std::optional<TimePoint> poll_timeout() const;

  /// The peer's newest packet, of `bytes`, came from another address than it has. False: no notice is taken, at least
  /// for now. True: that address is proposed, and asked by what is marked Transmit::to_proposed; it becomes the peer's
  /// when a BatchOutcome says peer_moved, or is given up in silence.
  [[nodiscard]] bool propose_address(TimePoint now, AddressChange change, std::uint64_t bytes);
  /// So many more authentic bytes came from the proposed address.
  void on_bytes_from_proposed(std::uint64_t bytes);
  [[nodiscard]] bool asks_proposed() const;

  /// How long datagrams that come in may wait to be handed over, in a socket say: so short that neither our
  /// acknowledgements come later nor the peer's RTT is measured much longer; zero near the end, for which the peer
  /// waits.
  [[nodiscard]] Duration patience() const;

  /// The manifest describes transfer space below `end`: credit never passes it. Never shrinks.
  void expect(TransferOffset end);
  /// The manifest is complete. Requires: equal to the last expect.
  void finish(TransferOffset end);
  /// These bytes are here already, or are not wanted: not waited for; arriving all the same they are dropped.
  void withhold(TransferRange range);
  /// Repair: these bytes are to arrive again.
  void forget(TransferRange range);
  // With siblings: leases of extents. What is said above is said to every lane alike, of all transfer space.
  /// The extents are another lane's from now on: DATA in them is refused, and not acknowledged. What is here of them;
  /// nullopt: they were not this lane's.
  [[nodiscard]] std::optional<ExtentState> give_up(const ExtentMove& move);
  /// The extents are this lane's from now on. False: that makes no sense, or was done too often.
  [[nodiscard]] bool adopt(const ExtentMove& move, const ExtentState& state);
  /// They went from one sibling to another.
  void note(const ExtentMove& move);

  // The stream, as at the sender.
  /// A message of it, in order. What datagrams of this lane must not do it must not either: the lane then ends.
  void handle_stream(TimePoint now, TransferOffset at, std::span<const std::byte> payload, SinkWindow& window);
  /// What the sender is to be told of it, when something is due.
  [[nodiscard]] std::optional<StreamAck> poll_stream_ack(TimePoint now, const SinkWindow& window);
  /// The stream begins: all that is here, and fresh credit, for a sender that our acknowledgements may not have
  /// reached. The first `ranges_max` ranges. Before, no word of credit goes by the stream.
  struct Holding {
    std::vector<TransferRange> held;
    CreditFrame credit;
  };
  [[nodiscard]] Holding holding(const SinkWindow& window, std::size_t ranges_max);
  /// Datagrams are not expected: no hello and no probe is repeated. `ping` sends one all the same.
  void set_probing(bool probing);
  void ping();
  /// The sender's proposal is agreed to: what arrives is kept in memory for repair symbols, where there is room.
  void on_repair_agreed(const RepairRatio& ratio);

  /// The sink's room grew: credit may follow.
  void on_sink_room(TimePoint now);
  /// Whatever room the sink has, the sender gets credit for no more than so much beyond what came. Nullopt: no limit.
  void limit_window(std::optional<std::uint64_t> bytes);
  /// Of the path alone, as far as that is known: the control channel's RTT (the challenge's, where the peer has moved
  /// to another host) or our own shortest, whichever is less. Our packets wait for the processor of both processes, the
  /// control channel's are answered by the kernels. Zero before the first sample.
  [[nodiscard]] Duration path_rtt() const;
  /// SO_RXQ_OVFL of our socket, as a running total; reported in ACKs.
  void on_socket_drops(std::uint64_t total);

  [[nodiscard]] bool queue_control(std::span<const std::byte> message);
  void close(TransportError reason);

  [[nodiscard]] const LaneStats& stats() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace penstock::engine
