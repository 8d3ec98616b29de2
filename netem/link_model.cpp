#include "netem/link_model.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::netem {
namespace {

__extension__ using Wide = unsigned __int128;

bool happens(Rng& luck, Probability probability) {
  // A feature that is off draws nothing, and one that is certain needs no draw.
  const std::uint32_t ppb = probability.parts_per_billion();
  if (ppb == 0) return false;
  if (ppb == Probability::certain_ppb) return true;
  return luck.below(Probability::certain_ppb) < ppb;
}

void check(const LinkSettings& settings) {
  PENSTOCK_CHECK(settings.delay >= Duration::zero());
  PENSTOCK_CHECK(settings.jitter >= Duration::zero());
  PENSTOCK_CHECK(settings.reorder_delay >= Duration::zero());
  PENSTOCK_CHECK(!settings.rate || settings.rate->bits_per_second() > 0);
}

std::optional<TokenBucket> bucket_of(const std::optional<Policer>& policer) {
  if (!policer) return std::nullopt;
  return TokenBucket{*policer};
}

}  // namespace

void Deliveries::mark() {
  for (std::size_t i = 0; i < count_; ++i) items_[i].congested = true;
}

void Deliveries::push_back(const Delivery& delivery) {
  PENSTOCK_CHECK(count_ < items_.size());
  items_[count_++] = delivery;
}

LinkModel::LinkModel(const LinkSettings& settings, std::uint64_t seed) : LinkModel(settings, Rng{seed}) {}

LinkModel::LinkModel(const LinkSettings& settings, Rng luck)
    : settings_(settings),
      loss_luck_(luck.split()),
      burst_luck_(luck.split()),
      jitter_luck_(luck.split()),
      reorder_luck_(luck.split()),
      duplicate_luck_(luck.split()),
      corrupt_luck_(luck.split()),
      policer_(bucket_of(settings.policer)) {
  check(settings);
}

Deliveries LinkModel::offer(TimePoint now, std::uint64_t size, bool heeds_marks) {
  counters_.offered_packets += 1;
  counters_.offered_bytes += size;
  if (settings_.down) {
    counters_.lost_down += 1;
    return {};
  }
  if (settings_.mtu && size + settings_.overhead > *settings_.mtu) {
    counters_.lost_mtu += 1;
    return {};
  }
  // Drawn once per packet whatever the placement, so that moving the loss keeps its pattern.
  const Fate fate = draw_loss();
  if (fate != Fate::passes && settings_.loss_placement == LossPlacement::before_bottleneck) return lose(fate);
  if (policer_ && !policer_->take(now, size + settings_.overhead)) {
    counters_.lost_policer += 1;
    return {};
  }
  forget_departed(now);
  const bool congested = heeds_marks && settings_.mark_above && queue_bytes_ >= *settings_.mark_above;
  const std::optional<TimePoint> departed = pass_bottleneck(now, size + settings_.overhead);
  if (!departed) {
    counters_.lost_queue += 1;
    return {};
  }
  if (congested) counters_.marked += 1;
  if (fate != Fate::passes) return lose(fate);

  Deliveries copies;
  copies.push_back(deliver(*departed, size));
  if (happens(duplicate_luck_, settings_.duplicate)) {
    Delivery copy = deliver(*departed, size);
    copy.duplicate = true;
    counters_.duplicated += 1;
    copies.push_back(copy);
  }
  if (congested) copies.mark();
  return copies;
}

void LinkModel::change(const LinkSettings& settings) {
  check(settings);
  if (settings.rate != settings_.rate) busy_remainder_ = 0;  // counted in the old rate
  if (settings.policer != settings_.policer) policer_ = bucket_of(settings.policer);
  if (settings.delay != settings_.delay) last_in_order_ = TimePoint{};
  settings_ = settings;
}

std::uint64_t LinkModel::queued_bytes(TimePoint now) {
  forget_departed(now);
  return queue_bytes_;
}

std::uint64_t LinkModel::queued_packets(TimePoint now) {
  forget_departed(now);
  return queue_.size();
}

LinkModel::Fate LinkModel::draw_loss() {
  const bool by_burst = is_bursting();  // the state moves on with every packet, lost by chance or not
  if (happens(loss_luck_, settings_.loss)) return Fate::lost_by_chance;
  return by_burst ? Fate::lost_in_burst : Fate::passes;
}

bool LinkModel::is_bursting() {
  if (!settings_.burst) return false;
  const BurstLoss& burst = *settings_.burst;
  if (happens(burst_luck_, burst_is_bad_ ? burst.to_good : burst.to_bad)) burst_is_bad_ = !burst_is_bad_;
  return happens(burst_luck_, burst_is_bad_ ? burst.loss_in_bad : burst.loss_in_good);
}

Deliveries LinkModel::lose(Fate fate) {
  (fate == Fate::lost_by_chance ? counters_.lost_random : counters_.lost_burst) += 1;
  return {};
}

/// When the last bit leaves the bottleneck; nullopt where the queue has no room.
std::optional<TimePoint> LinkModel::pass_bottleneck(TimePoint now, std::uint64_t bytes) {
  if (!settings_.rate) return now;
  const bool fits = queue_.size() < settings_.queue.packets && bytes <= settings_.queue.bytes &&
                    queue_bytes_ <= settings_.queue.bytes - bytes;
  if (!fits && !queue_.empty()) return std::nullopt;

  if (busy_until_ < now) {
    busy_until_ = now;
    busy_remainder_ = 0;
  }
  const std::uint64_t rate = settings_.rate->bits_per_second();
  const Wide bit_nanoseconds = Wide{bytes} * 8 * 1'000'000'000 + busy_remainder_;
  busy_until_ += Duration{static_cast<Duration::rep>(bit_nanoseconds / rate)};
  busy_remainder_ = static_cast<std::uint64_t>(bit_nanoseconds % rate);
  queue_.push_back({busy_until_, bytes});
  queue_bytes_ += bytes;
  counters_.queue_bytes_max = std::max(counters_.queue_bytes_max, queue_bytes_);
  return busy_until_;
}

Delivery LinkModel::deliver(TimePoint departed, std::uint64_t size) {
  Duration delay = settings_.delay;
  if (settings_.jitter > Duration::zero()) {
    const auto span = 2 * static_cast<std::uint64_t>(settings_.jitter.count()) + 1;
    delay += Duration{static_cast<Duration::rep>(jitter_luck_.below(span))} - settings_.jitter;
  }
  Delivery delivery{.at = departed + std::max(delay, Duration::zero())};
  if (happens(reorder_luck_, settings_.reorder)) {
    delivery.at += settings_.reorder_delay;
    counters_.reordered += 1;
  } else if (settings_.jitter_order == JitterOrder::kept) {
    delivery.at = std::max(delivery.at, last_in_order_);
    last_in_order_ = delivery.at;
  }
  if (size > 0 && happens(corrupt_luck_, settings_.corrupt)) {
    delivery.flipped_bit = corrupt_luck_.below(size * 8);
    counters_.corrupted += 1;
  }
  counters_.delivered_packets += 1;
  counters_.delivered_bytes += size;
  return delivery;
}

void LinkModel::forget_departed(TimePoint now) {
  while (!queue_.empty() && queue_.front().departs <= now) {
    queue_bytes_ -= queue_.front().bytes;
    queue_.pop_front();
  }
}

}  // namespace penstock::netem
