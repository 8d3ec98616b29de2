#include "dataplane/engine/ack/ack_tracker.h"

#include <algorithm>

namespace penstock::engine {

AckTracker::AckTracker() = default;

void AckTracker::on_packet_received(TimePoint now, PacketNumber number, bool ack_eliciting) {
  const bool largest = received_.empty() || number.value >= received_.back().end;
  while (!received_.insert({number.value, number.value + 1}).accepted) (void)received_.pop_front();
  if (largest) largest_at_ = now;
  pending_ = std::min(pending_.value_or(number.value), number.value);
  if (ack_eliciting && !elicited_) {
    elicited_ = true;
    elicited_at_ = now;
  }
}

void AckTracker::on_tail(TimePoint now) {
  owe(now);
  tail_ = elicited_;
}

void AckTracker::owe(TimePoint now) {
  if (received_.empty() || elicited_) return;
  elicited_ = true;
  elicited_at_ = now;
}

void AckTracker::on_oldest_needed(PacketNumber oldest) {
  if (received_.empty()) return;
  // The newest range stays: an ACK always has a largest number to begin with.
  received_.erase_below(std::min(oldest.value, received_.back().end - 1));
  if (pending_) pending_ = std::max(*pending_, received_.front().begin);
  if (received_.contains(oldest.value)) asked_ = oldest.value;
}

std::optional<TimePoint> AckTracker::ack_deadline(Duration interval) const {
  if (!elicited_) return std::nullopt;
  if (tail_ || told_ == 0) return elicited_at_;
  return std::max(elicited_at_, history_[(told_ - 1) % history_size].at + interval);
}

PacketNumber AckTracker::floor(TimePoint now, Duration smoothed_rtt) const {
  std::uint64_t lowest = received_.empty() ? 0 : received_.back().end - 1;
  if (pending_) lowest = std::min(lowest, *pending_);
  if (asked_) lowest = std::min(lowest, *asked_);
  for (std::size_t back = 1; back <= std::min(told_, history_size); ++back) {
    const Told& told = history_[(told_ - back) % history_size];
    // This ACK is one of the repeats itself.
    if (back >= repeats_min && told.at + smoothed_rtt / 2 <= now) break;
    lowest = std::min(lowest, told.lowest_new);
  }
  return {lowest};
}

void AckTracker::on_ack_sent(TimePoint now) {
  const std::uint64_t none_new = received_.empty() ? 0 : received_.back().end - 1;
  history_[told_ % history_size] = {now, pending_.value_or(none_new)};
  ++told_;
  pending_.reset();
  asked_.reset();
  elicited_ = false;
  tail_ = false;
}

}  // namespace penstock::engine
