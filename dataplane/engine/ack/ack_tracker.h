#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/bytes/interval_set.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/wire/ack_frame.h"

namespace penstock::engine {

/// More holes than this in what arrived, and the oldest ranges are forgotten: their packets are sent again.
inline constexpr std::size_t ack_ranges_max = 16384;

/// Remembers which packet numbers arrived, and when and how far back the peer must hear about it.
/// An ACK is due one interval (an eighth of the RTT) after the last one, which is at once when the lane was idle; never
/// sooner, but for on_tail. What arrived is repeated in every ACK of the next half round trip and at least four; what
/// the peer still lacks after that it asks for by OLDEST_NEEDED. Source: RFC 9000 sections 13.2 and 19.3; PROTOCOL
/// section 3. Bound: ack_ranges_max; the oldest range goes first. Threads: one owner. Time: passed in, never read.
class AckTracker {
 public:
  AckTracker();

  /// Records one authenticated packet. Requires: `number` passed the replay window.
  void on_packet_received(TimePoint now, PacketNumber number, bool ack_eliciting);
  /// Everything expected is here: the sender waits for this ACK alone, so it leaves at once.
  void on_tail(TimePoint now);
  /// The peer should hear from us soon, at the usual rate (our credit grew).
  void owe(TimePoint now);
  /// The peer resolved all below `oldest`; if we hold `oldest` itself, it missed our word on it, and the next ACK
  /// reaches down to there.
  void on_oldest_needed(PacketNumber oldest);

  /// Latest moment an ACK should leave; nullopt when the peer is owed none. `interval` is ack_interval of the RTT.
  [[nodiscard]] std::optional<TimePoint> ack_deadline(Duration interval) const;
  /// Something arrived that no ACK has told of yet, owed or not.
  [[nodiscard]] bool has_news() const { return pending_.has_value() || elicited_; }
  [[nodiscard]] bool empty() const { return received_.empty(); }
  /// How long ago the largest number arrived.
  [[nodiscard]] Duration delay_of_largest(TimePoint now) const { return now - largest_at_; }

  /// Ascending. The view dies at the next non-const call.
  [[nodiscard]] std::span<const bytes::Interval> received() const { return received_.intervals(); }
  /// Numbers below may be left out of the ACK that leaves now.
  [[nodiscard]] PacketNumber floor(TimePoint now, Duration smoothed_rtt) const;
  /// A whole ACK left (all its datagrams).
  void on_ack_sent(TimePoint now);

 private:
  struct Told {
    TimePoint at;
    std::uint64_t lowest_new;
  };
  // PROTOCOL section 3 wants 4; at 20 % loss 4 leave one packet in 600 untold until it is asked for, 6 one in 16 000.
  static constexpr std::size_t repeats_min = 6;
  static constexpr std::size_t history_size = 32;  // half of an 1.6 s RTT at one ACK in 25 ms

  bytes::IntervalSet received_{ack_ranges_max};
  std::optional<std::uint64_t> pending_;  // lowest number that no ACK has told of
  std::optional<std::uint64_t> asked_;    // by OLDEST_NEEDED
  std::array<Told, history_size> history_{};
  std::size_t told_ = 0;  // ACKs sent
  bool elicited_ = false;
  bool tail_ = false;
  TimePoint elicited_at_{};
  TimePoint largest_at_{};
};

}  // namespace penstock::engine
