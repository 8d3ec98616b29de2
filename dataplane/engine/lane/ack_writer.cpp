#include "dataplane/engine/lane/ack_writer.h"

#include <algorithm>

namespace penstock::engine {

bool AckWriter::due(TimePoint now, Duration smoothed_rtt) const {
  if (rest_below_) return true;
  const auto at = deadline(smoothed_rtt);
  return at && *at <= now;
}

void AckWriter::write(TimePoint now, Duration smoothed_rtt, bytes::WireWriter& out, AckFields fields,
                      const HeldData& held) {
  auto received = tracker_.received();
  const bool first_part = !rest_below_;
  if (rest_below_) {
    const auto covered = std::lower_bound(received.begin(), received.end(), *rest_below_,
                                          [](const bytes::Interval& i, std::uint64_t n) { return i.begin < n; });
    received = received.first(static_cast<std::size_t>(covered - received.begin()));
  } else {
    floor_ = tracker_.floor(now, smoothed_rtt);
  }
  rest_below_.reset();
  if (received.empty()) return tracker_.on_ack_sent(now);
  fields.delay = tracker_.delay_of_largest(now);
  // Who sees no marks says nothing of them, and who sends none need not hear.
  if (marks_.any() && out.remaining() >= ecn_counts_frame_size + ack_frame_size_min) encode_ecn_counts(out, marks_);
  told_credit_ = true;
  // What is held goes with the first datagram of an ACK, if control leaves it room.
  told_held_ = first_part && !held.ranges.empty() && out.remaining() >= ack_frame_size_min + held_data_size(held);
  const std::size_t covered =
      encode_ack(out, out.remaining(), fields, received, floor_, told_held_ ? held : HeldData{});
  if (covered < received.size() && received[received.size() - covered - 1].end > floor_.value)
    rest_below_ = received[received.size() - covered].begin;
  else
    tracker_.on_ack_sent(now);
}

}  // namespace penstock::engine
