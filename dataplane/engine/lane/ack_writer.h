#pragma once

#include <cstdint>
#include <optional>

#include "common/bytes/wire_writer.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/ack/ack_tracker.h"
#include "dataplane/engine/ack/rtt_estimator.h"
#include "dataplane/engine/wire/ack_frame.h"

namespace penstock::engine {

/// Tells the peer what arrived: which packets, with what marks, and beside that our credit and what is held. An ACK
/// that one datagram has no room for goes on in the next ones, down to the number that the first one began with.
/// Threads: one owner. Time: passed in, never read.
class AckWriter {
 public:
  /// What is told, and what may be left out.
  [[nodiscard]] AckTracker& tracker() { return tracker_; }
  void on_packet_received(TimePoint now, PacketNumber number, bool ack_eliciting, EcnMark mark) {
    tracker_.on_packet_received(now, number, ack_eliciting);
    marks_.add(mark);
  }
  [[nodiscard]] const EcnCounts& marks() const { return marks_; }

  /// Latest moment for the next datagram, but for an ACK that goes on; nullopt: none is owed.
  [[nodiscard]] std::optional<TimePoint> deadline(Duration smoothed_rtt) const {
    return tracker_.ack_deadline(ack_interval(smoothed_rtt));
  }
  /// That moment has come, or an ACK goes on.
  [[nodiscard]] bool due(TimePoint now, Duration smoothed_rtt) const;

  /// Another datagram is put together: nothing was told in it yet.
  void begin() { told_credit_ = told_held_ = false; }
  /// As much as `out` has room for. `fields`: but for the delay, which is ours to know. Requires: room for
  /// ecn_counts_frame_size and ack_frame_size_min.
  void write(TimePoint now, Duration smoothed_rtt, bytes::WireWriter& out, AckFields fields, const HeldData& held);
  /// Since begin(): `fields` went, and `held` did.
  [[nodiscard]] bool told_credit() const { return told_credit_; }
  [[nodiscard]] bool told_held() const { return told_held_; }

 private:
  AckTracker tracker_;
  EcnCounts marks_;
  bool told_credit_ = false;
  bool told_held_ = false;
  std::optional<std::uint64_t> rest_below_;  // an ACK that needs several datagrams goes on below this number
  PacketNumber floor_;                       // of that ACK
};

}  // namespace penstock::engine
