#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::engine {

/// How a packet was sent, compared with what the path is thought to carry.
enum class Pace : std::uint8_t {
  slowed,   // clearly below it
  level,    // at it
  probing,  // above it: what is lost may be our own doing
};

/// What the path did with one flight: everything that was resolved between the departure of a packet and the ACK that
/// told of it. Bytes of UDP payload.
struct DeliverySample {
  std::uint64_t delivered = 0;  // arrived
  std::uint64_t lost = 0;       // found to be lost
  std::uint64_t missing = 0;    // sent before what arrived, and not here (yet): lost or late
  std::uint64_t delivered_at_departure = 0;
  std::uint64_t in_flight_at_departure = 0;  // the packet included
  Duration interval{};                       // the longer of the times that sending and arriving took
  Pace pace = Pace::level;
  bool app_limited = false;  // there was too little to send: the rate says nothing about the path

  /// Bytes a second that crossed the path, `forgiven` of the missing ones included. Requires: an interval above zero.
  [[nodiscard]] std::uint64_t rate(std::uint64_t forgiven) const;
};

/// Remembers, for the packets on their way, what was known when they left, so that each ACK gives a sample of the
/// delivery rate. Source: draft-ietf-ccwg-bbr section "Delivery Rate Samples" (its per-packet state P). Difference: one
/// record serves all packets of a short stretch of sending, so that the ledger's 24 bytes a packet stay what they are.
/// Bound: records_max records, about six round trips; samples of older packets are not given. Threads: one owner.
class DeliveryLog {
 public:
  /// A batch left: all numbers after the last call's up to `last`. `in_flight` counts it. One record covers what
  /// leaves within `stretch`, as long as nothing else was learnt.
  void on_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight, Pace pace,
               Duration stretch);
  void on_delivered(TimePoint now, std::uint64_t bytes);
  void on_lost(std::uint64_t bytes);
  /// A packet counted as lost had arrived.
  void on_spurious_loss(std::uint64_t bytes);
  /// There is nothing more to send for the moment, and `in_flight` on its way.
  void on_app_limited(std::uint64_t in_flight);

  /// The sample that the ACK of `largest` gives. Requires: on_delivered was told of that ACK.
  [[nodiscard]] std::optional<DeliverySample> sample(TimePoint now, PacketNumber largest, TimePoint largest_sent_at);

  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] TimePoint delivered_at() const { return delivered_at_; }

  /// Calls `visit(pace, count)` for the packets of `numbers`, stretch by stretch; those too old are passed over.
  template <class Visit>
  void for_each_pace(bytes::Interval numbers, Visit&& visit) const {
    for (std::size_t i = index_of(numbers.begin); i < count_ && record(i).first < numbers.end; ++i) {
      const std::uint64_t end = i + 1 < count_ ? record(i + 1).first : next_;
      const std::uint64_t from = std::max(record(i).first, numbers.begin);
      if (from < std::min(end, numbers.end)) visit(record(i).pace, std::min(end, numbers.end) - from);
    }
  }

 private:
  struct Record {
    std::uint64_t first = 0;  // packet number; up to the next record's
    TimePoint sent_at{};
    TimePoint newest_acked_sent_at{};  // of the newest packet that was acknowledged by then
    TimePoint delivered_at{};
    std::uint64_t delivered = 0;
    std::uint64_t lost = 0;
    std::uint64_t in_flight = 0;
    std::uint64_t begin = 0;           // bytes sent before
    std::uint64_t newest_arrived = 0;  // bytes sent up to the newest packet that was acknowledged by then
    Pace pace = Pace::level;
    bool app_limited = false;
  };
  static constexpr std::size_t records_max = 512;  // a power of two

  [[nodiscard]] const Record& record(std::size_t index) const { return ring_[(head_ + index) & (ring_.size() - 1)]; }
  [[nodiscard]] Record& record(std::size_t index) { return ring_[(head_ + index) & (ring_.size() - 1)]; }
  /// The record that covers `number`; the first one if it is older than all.
  [[nodiscard]] std::size_t index_of(std::uint64_t number) const;
  /// Bytes sent up to `number`, itself included; within a record all packets count as equally long.
  [[nodiscard]] std::uint64_t sent_up_to(std::size_t index, std::uint64_t number) const;
  void push(const Record& added);

  std::vector<Record> ring_;  // a power of two
  std::size_t head_ = 0;
  std::size_t count_ = 0;
  std::uint64_t next_ = 0;  // packet number
  std::uint64_t sent_ = 0;
  std::uint64_t newest_arrived_ = 0;  // of sent_
  std::uint64_t delivered_ = 0;
  std::uint64_t lost_ = 0;
  TimePoint delivered_at_{};
  TimePoint newest_acked_sent_at_{};
  std::uint64_t app_limited_until_ = 0;  // of delivered_ and lost_ together; 0: not limited
};

}  // namespace penstock::engine
