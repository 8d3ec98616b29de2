#include "dataplane/engine/congestion/delivery_log.h"

#include <algorithm>

namespace penstock::engine {

std::uint64_t DeliverySample::rate(std::uint64_t forgiven) const {
  __extension__ using Wide = unsigned __int128;
  const Wide bytes = Wide{delivered} + std::min(forgiven, missing);
  return static_cast<std::uint64_t>(bytes * 1'000'000'000 / static_cast<std::uint64_t>(interval.count()));
}

void DeliveryLog::on_sent(TimePoint now, PacketNumber last, std::uint64_t bytes, std::uint64_t in_flight, Pace pace,
                          Duration stretch) {
  if (in_flight <= bytes) newest_acked_sent_at_ = delivered_at_ = now;  // the path was empty: the interval begins here
  const bool app_limited = app_limited_until_ != 0;
  const std::uint64_t first = next_;
  const std::uint64_t begin = sent_;
  next_ = last.value + 1;
  sent_ += bytes;
  if (count_ > 0) {
    const Record& newest = record(count_ - 1);
    if (newest.pace == pace && newest.app_limited == app_limited && newest.delivered == delivered_ &&
        newest.lost == lost_ && newest.delivered_at == delivered_at_ && now - newest.sent_at < stretch)
      return;
  }
  push({.first = first,
        .sent_at = now,
        .newest_acked_sent_at = newest_acked_sent_at_,
        .delivered_at = delivered_at_,
        .delivered = delivered_,
        .lost = lost_,
        .in_flight = in_flight,
        .begin = begin,
        .newest_arrived = newest_arrived_,
        .pace = pace,
        .app_limited = app_limited});
}

void DeliveryLog::push(const Record& added) {
  if (count_ == ring_.size() && count_ < records_max) {
    std::vector<Record> wider(std::max<std::size_t>(32, 2 * ring_.size()));
    for (std::size_t i = 0; i < count_; ++i) wider[i] = record(i);
    ring_.swap(wider);
    head_ = 0;
  }
  if (count_ == ring_.size()) {
    ++head_;
    --count_;
  }
  record(count_++) = added;
}

void DeliveryLog::on_delivered(TimePoint now, std::uint64_t bytes) {
  delivered_ += bytes;
  delivered_at_ = now;
  if (delivered_ + lost_ > app_limited_until_) app_limited_until_ = 0;
}

void DeliveryLog::on_lost(std::uint64_t bytes) { lost_ += bytes; }

void DeliveryLog::on_spurious_loss(std::uint64_t bytes) {
  delivered_ += bytes;
  lost_ -= std::min(lost_, bytes);
}

void DeliveryLog::on_app_limited(std::uint64_t in_flight) {
  app_limited_until_ = std::max<std::uint64_t>(1, delivered_ + lost_ + in_flight);
}

std::size_t DeliveryLog::index_of(std::uint64_t number) const {
  std::size_t low = 0;
  std::size_t high = count_;
  while (low < high) {  // the first record that begins after it
    const std::size_t middle = low + (high - low) / 2;
    if (record(middle).first <= number)
      low = middle + 1;
    else
      high = middle;
  }
  return low == 0 ? 0 : low - 1;
}

std::uint64_t DeliveryLog::sent_up_to(std::size_t index, std::uint64_t number) const {
  const Record& within = record(index);
  const bool last = index + 1 == count_;
  const std::uint64_t numbers = (last ? next_ : record(index + 1).first) - within.first;
  const std::uint64_t bytes = (last ? sent_ : record(index + 1).begin) - within.begin;
  return within.begin + bytes * (number + 1 - within.first) / std::max<std::uint64_t>(1, numbers);
}

std::optional<DeliverySample> DeliveryLog::sample(TimePoint now, PacketNumber largest, TimePoint largest_sent_at) {
  if (count_ == 0 || largest.value < record(0).first || largest.value >= next_) return std::nullopt;
  const std::size_t index = index_of(largest.value);
  const Record& sent = record(index);
  const std::uint64_t arrived = sent_up_to(index, largest.value);
  newest_arrived_ = std::max(newest_arrived_, arrived);
  newest_acked_sent_at_ = std::max(newest_acked_sent_at_, largest_sent_at);
  const Duration sending = sent.sent_at - sent.newest_acked_sent_at;
  const Duration arriving = now - sent.delivered_at;
  const Duration interval = std::max(sending, arriving);
  if (interval <= Duration{}) return std::nullopt;
  const std::uint64_t delivered = delivered_ - sent.delivered;
  const std::uint64_t crossed = arrived - std::min(arrived, sent.newest_arrived);
  return DeliverySample{.delivered = delivered,
                        .lost = lost_ - std::min(lost_, sent.lost),
                        .missing = crossed - std::min(crossed, delivered),
                        .delivered_at_departure = sent.delivered,
                        .in_flight_at_departure = sent.in_flight,
                        .interval = interval,
                        .pace = sent.pace,
                        .app_limited = sent.app_limited};
}

}  // namespace penstock::engine
