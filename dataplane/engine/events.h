#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/fec/repair_policy.h"
#include "dataplane/engine/path/ecn_state.h"
#include "dataplane/engine/path_report.h"
#include "dataplane/engine/wire/ecn_mark.h"

namespace penstock::engine {

/// One GSO batch in the caller's buffer: `size` bytes, cut into datagrams of `segment_size`; the last may be shorter.
struct Transmit {
  std::size_t size = 0;
  std::size_t segment_size = 0;
  EcnMark mark = EcnMark::none;  // of all its datagrams; `none` or `ect0`
  bool to_proposed = false;      // goes to the address that is being validated, not to the peer's
};

/// What a receive batch told the driver.
struct BatchOutcome {
  std::uint32_t authentic = 0;    // datagrams whose tag was right and whose number was new
  bool newest_authentic = false;  // one of them carried the lane's largest number so far: its source address is good
  bool peer_moved = false;        // the proposed address has answered: all goes there from now on
};

/// Why an engine gave up, or the peer said it did. On the wire in CLOSE.
enum class TransportError : std::uint8_t {
  none = 0,             // orderly close
  protocol_violation,   // well-sealed nonsense: malformed frame, DATA across a slab boundary
  credit_exceeded,      // DATA beyond the credit or the manifest
  acknowledged_unsent,  // ACK of a number never sent (optimistic ACK)
  control_overflow,     // CONTROL bytes beyond the reassembly bound
  open_failures,        // too many datagrams that did not open under these keys; a fresh key exchange is due
  numbers_exhausted,
  cancelled,  // the session asked for it
};
std::string_view to_string(TransportError error);

/// The sender needs these bytes in its window soon.
struct Prefetch {
  TransferRange range;
};
/// In order and exactly once: whole messages as given to the other end's queue_control.
struct ControlReceived {
  std::vector<std::byte> message;
};
/// Everything that was offered so far is acknowledged (sender), or has arrived (receiver). May come again after more
/// was offered, or after a repair round.
struct Drained {
  TransferOffset end;
};
/// The first authentic datagram of the peer arrived: UDP gets through in its direction.
struct PeerHeard {};
enum class Pace : std::uint8_t;  // congestion/delivery_log.h
/// What a lane that leads under `bbr` does: its siblings do the same (congestion/lane_guide.h).
struct LaneLead {
  std::size_t lane = 0;
  std::uint64_t rate = 0;       // UDP payload bytes a second
  std::uint64_t cwnd = 0;       // bytes
  std::uint64_t bandwidth = 0;  // of its model, bytes a second
  Pace pace{};
  bool full = false;  // the path was filled once
  bool over = false;  // it leads no longer
};
/// For the other lanes of the transfer, which take their share in what happens to this one: its on_sibling_congestion.
struct CongestionNews {
  std::uint64_t packets_lost = 0;
  TimePoint newest_lost{};  // when the newest of them was sent
  std::uint64_t packets_spurious = 0;
  TimePoint newest_spurious{};
  std::uint64_t packets_marked = 0;  // CE: they met a queue that is too long
  TimePoint newest_marked{};
  bool slow_start_over = false;
  std::optional<LaneLead> lead = {};
};
/// FEC: the measured loss, or the configuration, asks for this ratio. The driver agrees on it with the peer, and then
/// calls on_repair_agreed.
struct RepairProposal {
  RepairRatio ratio;
};
/// The lane is over; nothing more is sent but CLOSE. `by_peer`: it told us so.
struct Closed {
  TransportError error = TransportError::none;
  bool by_peer = false;
};

using SenderEvent = std::variant<Prefetch, ControlReceived, Drained, PeerHeard, CongestionNews, RepairProposal, Closed>;
using ReceiverEvent = std::variant<ControlReceived, Drained, PeerHeard, Closed>;

/// What holds a sender back (DESIGN section 4). `receiver_cpu`: the window, but while the receiver's own socket
/// overflows. `sender_cpu`: none of the others; it seals and sends as fast as its thread can.
enum class SenderLimit : std::uint8_t {
  nothing_to_send,
  source,
  cwnd,
  pacing,
  receiver_credit,
  receiver_cpu,
  stream,  // takes no more: TCP's window, not ours
  sender_cpu
};

/// Counters of one lane since its start; cheap to copy.
struct LaneStats {
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_received = 0;     // authentic and new
  std::uint64_t packets_lost = 0;         // declared lost, spurious ones taken back
  std::uint64_t packets_duplicate = 0;    // stopped by the replay window
  std::uint64_t packets_unauthentic = 0;  // tag wrong
  std::uint64_t packets_malformed = 0;    // dropped before opening
  std::uint64_t bytes_sent = 0;           // UDP payload
  std::uint64_t bytes_received = 0;
  std::uint64_t payload_bytes_sent = 0;  // file bytes, repeats included
  std::uint64_t payload_bytes_retransmitted = 0;
  std::uint64_t payload_bytes_received = 0;  // new file bytes
  std::uint64_t payload_bytes_duplicate = 0;
  std::uint64_t bytes_settled = 0;  // of transfer space: withheld, or acknowledged (sender), or here (receiver)
  std::uint64_t packets_refused_by_sink = 0;  // store() had no room
  std::uint64_t packets_outside_lease = 0;    // DATA of extents that are not this lane's: refused
  std::uint64_t peer_socket_drops = 0;        // SO_RXQ_OVFL of its socket, which others use too, as ACKs report
  std::uint64_t repairs_sent = 0;             // repair symbols
  std::uint64_t repairs_received = 0;         // likewise, that were agreed on
  std::uint64_t generations_failed = 0;       // sender: sent again in parts; receiver: not in memory, or no room for it
  std::uint64_t symbols_recovered = 0;        // by FEC: as the receiver counts, and tells in its ACKs
  std::uint64_t key_updates = 0;
  std::uint64_t spurious_losses = 0;
  std::uint64_t pto_count = 0;         // probe time-outs fired
  std::uint64_t datagram_size = 0;     // UDP payload of a full DATA datagram, as far as the path is known to carry it
  bool datagram_size_settled = false;  // nothing larger is being tried at the moment
  EcnState ecn = EcnState::off;
  EcnFault ecn_fault = EcnFault::none;
  std::uint64_t packets_marked = 0;  // sent as ECT(0)
  EcnCounts marks_told;              // how they arrived, as the peer says
  EcnCounts marks_received;          // how the peer's arrived
  std::uint64_t peer_moves = 0;      // to another address
  std::uint64_t size_probes_lost = 0;
  std::uint64_t black_holes = 0;  // times that the path was found to carry less than before
  Duration rtt_smoothed{};
  Duration rtt_min{};
  std::uint64_t cwnd = 0;  // bytes
  std::uint64_t bytes_in_flight = 0;
  DataRate pacing_rate;
  bool paced_by_cap = false;             // SenderConfig::rate is what paces: the path would carry more, for all we know
  PathReport path;                       // with Congestion::measure
  std::optional<PathEstimate> estimate;  // what the path carries, as far as the controller knows
  std::uint64_t cwnd_first = 0;          // bytes: what the lane began with
  SenderLimit limit = SenderLimit::nothing_to_send;  // over the last quarter of a second (lane/limit_meter.h)
  std::uint8_t thread_busy_percent = 0;              // of its driver, which knows; the engine leaves it at zero
  std::optional<TimePoint> last_heard;               // last authentic datagram
  std::optional<TimePoint> answered_at;              // an acknowledgement of something new came last
  // A sender's tail, by datagrams: when a byte left for the first time, last; and when all was acknowledged after that.
  std::optional<TimePoint> last_new_sent_at;
  std::optional<TimePoint> all_acked_at;
  /// Since when what we have on its way is without an answer; nullopt: nothing is.
  std::optional<TimePoint> unanswered_since;
  /// The same two of file bytes alone: small packets may get through where full datagrams do not.
  std::optional<TimePoint> data_answered_at;
  std::optional<TimePoint> data_unanswered_since;
  std::uint64_t stream_messages = 0;        // by the stream, sent or taken; its bytes are counted in payload_bytes too
  std::uint64_t stream_bytes = 0;           // likewise, repeats included
  std::uint64_t stream_bytes_repeated = 0;  // of those, that were sent before by whatever way
  std::uint64_t stream_bytes_arrived = 0;   // sender: acknowledged by StreamAck
};

/// From a sender's last new byte's departure until it knew that all had arrived: half a round trip more than that took.
/// nullopt: it does not know yet, or the bytes go by the stream.
[[nodiscard]] inline std::optional<Duration> tail_of(const LaneStats& stats) {
  if (!stats.last_new_sent_at || !stats.all_acked_at) return std::nullopt;
  return *stats.all_acked_at - *stats.last_new_sent_at;
}

}  // namespace penstock::engine
