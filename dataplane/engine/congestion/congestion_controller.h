#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "common/bytes/interval_set.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/ack/rtt_estimator.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/path_report.h"

namespace penstock::engine {

/// So long without an acknowledgement is an outage, or one of the ends slept: no queue explains it, so what was on its
/// way meanwhile says nothing about the rate, and the time that passed is none in which the path was used.
[[nodiscard]] constexpr bool is_outage(Duration silence, Duration smoothed_rtt) {
  return silence > 4 * smoothed_rtt + std::chrono::milliseconds{50};
}

/// What one ACK told, in bytes of UDP payload.
struct AckedSample {
  TimePoint now;
  PacketNumber largest;  // newly acknowledged
  TimePoint largest_sent_at;
  std::uint64_t bytes = 0;                        // newly acknowledged
  std::uint64_t packets = 0;                      // newly acknowledged
  bool app_limited = false;                       // the largest was sent when there was nothing more to send
  std::uint64_t in_flight = 0;                    // bytes that are still on their way
  std::optional<Duration> rtt = std::nullopt;     // of the largest ever acknowledged, without the peer's delay
  std::span<const bytes::Interval> numbers = {};  // newly acknowledged; valid during the call
};

struct LostSample {
  TimePoint now;
  TimePoint newest_sent_at;  // of the packets lost
  PacketNumber next;         // the number that is sent next
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::span<const bytes::Interval> numbers = {};  // valid during the call
};

/// So many packets met a queue that is too long, and arrived (ECN).
struct MarkedSample {
  TimePoint now;
  TimePoint newest_sent_at;  // of the packets whose acknowledgement told of them
  PacketNumber next;         // the number that is sent next
  std::uint64_t packets = 0;
  bool begins = false;  // a packet was seen since the last such sample that met no such queue
};

/// Decides how much may be in flight, and how fast it leaves. Called once a batch, never once a packet; integers only,
/// so one seed gives one result anywhere. News comes in the order in which it happened.
/// Source: the interface of RFC 9002 appendix B. Threads: one owner.
class CongestionController {
 public:
  virtual ~CongestionController() = default;

  virtual void on_packets_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight) = 0;
  /// Losses that the same ACK revealed are reported before it, spurious ones first of all.
  virtual void on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) = 0;
  virtual void on_packets_lost(const LostSample& sample) = 0;
  /// A packet sent at `sent_at` and declared lost was acknowledged after all.
  virtual void on_spurious_loss(TimePoint sent_at) = 0;
  /// Told after the losses that the same ACK revealed. Once a round trip a reason to slow down, as a loss is.
  virtual void on_packets_marked(const MarkedSample& /*sample*/) {}
  /// It was no queue: not what the last sample told that begins, nor those after it.
  virtual void on_marks_withdrawn(TimePoint /*now*/) {}
  /// Datagrams changed their size. The window is large enough for one afterwards, whatever it was.
  virtual void on_datagram_size(std::uint64_t bytes) = 0;
  /// The window has room, and there is nothing more to send, or the sender is kept from sending as fast as it may.
  virtual void on_app_limited(std::uint64_t /*in_flight*/) {}
  /// The receiver's own socket dropped so many more packets: losses that are no word of the path. Told before the
  /// losses are.
  virtual void on_receiver_drops(std::uint64_t /*packets*/) {}

  /// What the other lanes of the transfer should hear; nullopt: nothing (any more).
  [[nodiscard]] virtual std::optional<CongestionNews> take_news() { return std::nullopt; }
  /// What another lane has to say.
  virtual void on_sibling_news(TimePoint /*now*/, const CongestionNews& /*news*/) {}

  /// Bytes that may be in flight.
  [[nodiscard]] virtual std::uint64_t cwnd() const = 0;
  /// UDP payload bytes and their IP overhead alike are paced: the pacer adds the latter.
  [[nodiscard]] virtual DataRate pacing_rate(const RttEstimator& rtt) const = 0;
  /// What it has measured, if that is its job.
  [[nodiscard]] virtual PathReport report() const { return {}; }
  /// What it takes the path to carry; nullopt: it does not know, or not yet.
  [[nodiscard]] virtual std::optional<PathEstimate> estimate() const { return std::nullopt; }
};

}  // namespace penstock::engine
