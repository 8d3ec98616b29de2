#include "dataplane/engine/lane/recovery.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "dataplane/engine/congestion/bbr.h"
#include "dataplane/engine/congestion/cubic.h"
#include "dataplane/engine/congestion/fixed.h"
#include "dataplane/engine/congestion/path_meter.h"
#include "dataplane/engine/congestion/scavenger.h"

namespace penstock::engine {
namespace {

using bytes::Interval;

// PROTOCOL section 4 wants a second at most, also in an outage. Longer: a path that is back is noticed late; shorter:
// more than 100 kbit/s of probes into a dead path.
constexpr Duration probe_interval_max = std::chrono::milliseconds{250};
// A probe at least so often, however slow the rate: PROTOCOL section 4.
constexpr Duration probe_payment_max = std::chrono::seconds{1};
constexpr std::uint32_t probe_backoff_max = 16;
constexpr std::uint32_t probes_per_timeout = 2;  // RFC 9002 section 6.2.4
// Numbers between two skipped ones. Rarer: a blind peer runs longer; more often: ACKs carry more ranges.
constexpr std::uint64_t skip_distance_min = 256;
constexpr std::uint64_t skip_distance_max = 4096;
// A round trip longer than the shortest by this share of it, and by so much, has met a queue that may have marked.
constexpr int queue_share = 16;
constexpr Duration queue_min = std::chrono::milliseconds{1};

std::unique_ptr<CongestionController> make_controller(const RecoveryConfig& config, Rng& rng) {
  if (config.congestion == Congestion::fixed && config.rate)
    return std::make_unique<Fixed>(*config.rate, config.initial_rtt);
  if (config.congestion == Congestion::measure)
    return std::make_unique<PathMeter>(config.datagram_size, config.ip_overhead, config.initial_rtt);
  if (config.congestion == Congestion::bbr)
    return std::make_unique<Bbr>(config.datagram_size, config.ip_overhead, config.initial_rtt, rng.split(),
                                 config.remembered_rate, config.place);
  if (config.congestion == Congestion::scavenger)
    return std::make_unique<Scavenger>(config.datagram_size, config.initial_rtt);
  return std::make_unique<Cubic>(config.datagram_size, config.initial_rtt, config.place.lanes);
}

void append(std::vector<Interval>& ranges, std::uint64_t begin, std::uint64_t length) {
  if (!ranges.empty() && ranges.back().end == begin)
    ranges.back().end = begin + length;
  else
    ranges.push_back({begin, begin + length});
}

EcnUse use_of_marks(const RecoveryConfig& config) {
  if (!config.ecn || (config.congestion == Congestion::fixed && config.rate)) return EcnUse::none;
  return config.congestion == Congestion::measure ? EcnUse::tested : EcnUse::heeded;
}

}  // namespace

void DeliveryNews::clear() {
  data_acked.clear();
  data_lost.clear();
  control_acked.clear();
  control_lost.clear();
  probes_acked.clear();
  probes_lost.clear();
  sizes.clear();
  repairs_acked.clear();
  repairs_lost.clear();
  data_held.clear();
  repair_frames.clear();
  packets_acked = packets_lost = packets_spurious = 0;
  newest_lost_sent_at = {};
}

struct Recovery::AckTally {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> largest;
  std::optional<std::uint64_t> newest_data;
};

Recovery::Recovery(const RecoveryConfig& config, Rng rng)
    : config_(config),
      rtt_(config.initial_rtt),
      controller_(make_controller(config, rng)),
      cwnd_first_(controller_->cwnd()),
      rate_cap_(config.rate),
      ip_overhead_(config.ip_overhead),
      base_size_(config.base_size),
      pacer_(config.datagram_size + config.ip_overhead),
      rng_(std::move(rng)),
      marks_(use_of_marks(config)),
      offload_(config.place.lanes) {
  draw_skip();
  update_pacing(TimePoint{});
}

PacketNumber Recovery::take_number() {
  PENSTOCK_CHECK(can_send());
  if (skip_in_ == 0) {
    ledger_.push({.kind = SentKind::skipped});
    draw_skip();
  }
  --skip_in_;
  return {ledger_.end()};
}

void Recovery::on_packet_sent(const SentPacket& packet) {
  ledger_.push(packet);
  in_flight_ += packet.size;
  if (packets_in_flight_++ == 0) unanswered_since_ = packet.sent_at;
  if (packet.kind == SentKind::data && packet.attempt > 0) ++repeats_in_flight_;
  if (is_data(packet.kind)) note_data_sent(ledger_.end() - 1, packet.sent_at);
  probe_base_ = packet.sent_at;
}

void Recovery::on_unacknowledged_sent() {
  const std::uint64_t number = ledger_.end();
  ledger_.push({});
  (void)resolved_.insert({number, number + 1});
}

void Recovery::on_size_probe_sent(TimePoint now, const SentPacket& packet) {
  ledger_.push(packet);
  pacer_.on_sent(now, packet.size + ip_overhead_);
}

void Recovery::on_path_changed(TimePoint now, Duration initial_rtt, DeliveryNews& news) {
  Interval within{ledger_.first(), ledger_.end()};
  while (const auto gap = resolved_.first_gap(within)) {
    for (std::uint64_t n = gap->begin; n != gap->end; ++n) {
      const SentPacket& packet = ledger_[n];
      if (packet.kind == SentKind::skipped || packet.kind == SentKind::path_probe) continue;
      if (packet.kind == SentKind::data) report(news.data_lost, n);
      if (packet.kind == SentKind::control) append(news.control_lost, packet.offset, packet.length);
      if (packet.kind == SentKind::repair) news.repairs_lost.push_back(packet.offset);
      on_resolved(packet);
      ++packets_lost_;
    }
    (void)resolved_.insert(*gap);
    (void)lost_.insert(*gap);
    within.begin = gap->end;
  }
  path_first_ = ledger_.end();
  in_flight_ = 0;
  packets_in_flight_ = 0;
  refusals_.on_in_flight(0);
  data_answers_.restart();
  loss_deadline_.reset();
  recovery_start_.reset();
  probe_backoff_ = 0;
  probes_owed_ = 0;
  config_.initial_rtt = std::max(initial_rtt, Duration{1});  // virtual time may answer at once
  rtt_ = RttEstimator(config_.initial_rtt);
  detector_ = {};
  config_.remembered_rate.reset();  // that was another path
  controller_ = make_controller(config_, rng_);
  update_pacing(now);
}

void Recovery::on_datagram_size(std::size_t bytes) {
  controller_->on_datagram_size(bytes);
  pacer_.set_packet_bytes(bytes + ip_overhead_);
}

void Recovery::on_batch_sent(TimePoint now, std::uint64_t packets, std::uint64_t bytes) {
  if (pacer_.far_behind(now)) controller_->on_app_limited(in_flight_);
  pacer_.on_sent(now, bytes + packets * ip_overhead_);
  controller_->on_packets_sent(now, {ledger_.end() - 1}, bytes, in_flight_);
}

bool Recovery::on_ack(TimePoint now, const AckFrame& ack, DeliveryNews& news) {
  if (ack.largest.value >= ledger_.end()) return false;
  sleep_.on_time(now, probe_deadline(), ledger_.end());
  if (refusals_.on_told(ack.fields.sink_refusals, packets_in_flight_) > 0) data_answers_.on_arrived(now);
  // Congestion control hears of these losses as of any: nothing else slows us down to what the receiver's processor can
  // take. More than are on their way were others'.
  if (const auto drops = offload_.on_receiver_drops(now, ack.fields.socket_drops, rtt_); drops > 0)
    controller_->on_receiver_drops(std::min<std::uint64_t>(drops, packets_in_flight_));
  AckTally tally;
  acked_.clear();
  for (const AckRange& range : ack.ranges) {
    if (range.largest.value < ledger_.first()) break;  // newest first: the rest was resolved long ago
    const Interval numbers{std::max(range.smallest.value, ledger_.first()), range.largest.value + 1};
    if (!lost_.empty() && !take_spurious(now, numbers, news)) return false;
    if (!take_acked(numbers, tally, news)) return false;
  }
  if (tally.largest) {
    std::optional<Duration> measured;
    const SentPacket& newest = ledger_[*tally.largest];
    const bool newest_ever = !largest_acked_ || *tally.largest > largest_acked_->value;
    if (newest_ever) {
      largest_acked_ = PacketNumber{*tally.largest};
      if (*tally.largest == ack.largest.value && sleep_.is_timely(*tally.largest)) {
        const Duration whole = now - newest.sent_at;
        rtt_.on_sample(whole, ack.fields.delay);
        // The peer's word explains no more than it may wait, and nothing below the shortest.
        measured = std::max(whole - std::min(ack.fields.delay, ack_interval_max), rtt_.minimum());
      }
    }
    probe_backoff_ = 0;
    probes_owed_ = 0;
    answered_at_ = unanswered_since_ = now;
    if (tally.newest_data) data_answers_.on_acked(now, *tally.newest_data);
    AckedSample sample{.now = now,
                       .largest = {*tally.largest},
                       .largest_sent_at = newest.sent_at,
                       .bytes = tally.bytes,
                       .packets = tally.packets,
                       .app_limited = *tally.largest < app_limited_until_,
                       .rtt = measured,
                       .numbers = acked_};
    detect_losses(now, news);
    take_marks(now, ack, newest.sent_at);
    sample.in_flight = in_flight_;
    if (tally.packets > 0) controller_->on_packets_acked(sample, rtt_);
  }
  refusals_.on_in_flight(packets_in_flight_);
  forget_resolved(now);
  update_pacing(now);
  return true;
}

/// Source: RFC 9002 section 7.1 and appendix B.7.
void Recovery::take_marks(TimePoint now, const AckFrame& ack, TimePoint sent_at) {
  const bool queueing = rtt_.latest() > rtt_.minimum() + std::max(rtt_.minimum() / queue_share, queue_min);
  const auto signal = marks_.on_ack(ack.largest, ack.marks, {ledger_.end()}, queueing);
  if (signal.withdrawn) controller_->on_marks_withdrawn(now);
  if (signal.ce == 0) return;
  controller_->on_packets_marked(
      {.now = now, .newest_sent_at = sent_at, .next = {ledger_.end()}, .packets = signal.ce, .begins = signal.begins});
}

bool Recovery::take_spurious(TimePoint now, Interval range, DeliveryNews& news) {
  while (const auto found = lost_.first_overlap(range)) {
    for (std::uint64_t n = found->begin; n != found->end; ++n) {
      const SentPacket& packet = ledger_[n];
      if (packet.kind == SentKind::skipped) return false;
      if (packet.kind == SentKind::path_probe) {
        news.probes_acked.push_back({{n}, packet.size});
        continue;
      }
      if (packet.size > base_size_) note_large_acked(n, news);
      marks_.on_acked(n, packet.marked);
      if (packet.kind == SentKind::data || packet.kind == SentKind::copied) report(news.data_acked, n);
      if (packet.kind == SentKind::control) append(news.control_acked, packet.offset, packet.length);
      if (is_data(packet.kind)) data_answers_.on_acked(now, n);
      ++news.packets_spurious;
      if (n >= path_first_) {
        controller_->on_spurious_loss(packet.sent_at);
        detector_.on_spurious_loss(now, rtt_);
      }
      ++spurious_losses_;
      --packets_lost_;
    }
    (void)lost_.erase(*found);
    range.begin = found->end;
  }
  return true;
}

bool Recovery::take_acked(Interval range, AckTally& tally, DeliveryNews& news) {
  while (const auto found = resolved_.first_gap(range)) {
    std::uint64_t probes = 0;
    std::uint64_t listed = found->begin;  // acked_ has all below it
    std::optional<std::uint64_t> small;
    std::optional<std::uint64_t> large;
    std::optional<std::uint64_t> data;
    for (std::uint64_t n = found->begin; n != found->end; ++n) {
      const SentPacket& packet = ledger_[n];
      if (packet.kind == SentKind::skipped) return false;
      if (packet.kind == SentKind::path_probe) {
        news.probes_acked.push_back({{n}, packet.size});
        if (n > listed) acked_.push_back({listed, n});
        listed = n + 1;
        ++probes;
        continue;
      }
      (packet.size > base_size_ ? large : small) = n;
      marks_.on_acked(n, packet.marked);
      if (packet.kind == SentKind::data || packet.kind == SentKind::copied) report(news.data_acked, n);
      if (packet.kind == SentKind::control) append(news.control_acked, packet.offset, packet.length);
      if (packet.kind == SentKind::repair) news.repairs_acked.push_back(packet.offset);
      if (is_data(packet.kind)) data = n;
      in_flight_ -= packet.size;
      tally.bytes += packet.size;
      on_resolved(packet);
    }
    if (largest_acked_ && found->begin < largest_acked_->value)
      detector_.on_reordering(largest_acked_->value - found->begin);
    const std::uint64_t count = found->size() - probes;
    packets_in_flight_ -= count;
    tally.packets += count;
    news.sizes.acked += count;
    news.sizes.newest_small_acked = std::max(news.sizes.newest_small_acked, small);
    note_large_acked(large, news);
    news.packets_acked += count;
    tally.largest = std::max(tally.largest.value_or(0), found->end - 1);
    tally.newest_data = std::max(tally.newest_data, data);
    if (found->end > listed) acked_.push_back({listed, found->end});
    (void)resolved_.insert(*found);
    range.begin = found->end;
  }
  return true;
}

void Recovery::note_large_acked(std::optional<std::uint64_t> number, DeliveryNews& news) {
  newest_large_acked_ = std::max(newest_large_acked_, number);
  news.sizes.newest_large_acked = std::max(news.sizes.newest_large_acked, number);
}

/// A larger datagram that no later larger one has overtaken may tell of a black hole.
void Recovery::note_lost(std::uint64_t number, const SentPacket& packet, DeliveryNews& news) {
  ++news.sizes.lost;
  marks_.on_lost(number, packet.marked);
  if (packet.size <= base_size_ || (newest_large_acked_ && *newest_large_acked_ > number)) return;
  ++news.sizes.large_lost;
  if (!news.sizes.oldest_large_lost || number < *news.sizes.oldest_large_lost) news.sizes.oldest_large_lost = number;
}

void Recovery::on_loss_deadline(TimePoint now, DeliveryNews& news) {
  sleep_.on_time(now, probe_deadline(), ledger_.end());
  detect_losses(now, news);
  forget_resolved(now);
  update_pacing(now);
}

void Recovery::detect_losses(TimePoint now, DeliveryNews& news) {
  find_losses(now, news);
  for (std::uint64_t excused = marks_.settle({ledger_.end()}); excused > 0; --excused)
    controller_->on_spurious_loss(TimePoint{});  // before any reduction
}

void Recovery::find_losses(TimePoint now, DeliveryNews& news) {
  loss_deadline_.reset();
  if (!largest_acked_) return;
  const Duration delay = detector_.loss_delay(rtt_);
  const auto threshold = detector_.packet_threshold();
  LostSample lost{.now = now, .newest_sent_at = {}, .next = {ledger_.end()}};
  std::uint64_t lost_data = 0;
  losses_.clear();
  // Older packets were sent earlier, so the first that is not lost ends the search.
  while (!loss_deadline_) {
    const auto gap = resolved_.first_gap({ledger_.first(), largest_acked_->value + 1});
    if (!gap) break;
    std::uint64_t end = gap->begin;
    for (; end != gap->end; ++end) {
      const SentPacket& packet = ledger_[end];
      if (packet.kind == SentKind::skipped) continue;
      if (packet.sent_at + delay > now && (!threshold || end + *threshold > largest_acked_->value)) {
        loss_deadline_ = packet.sent_at + delay;
        break;
      }
      if (packet.kind == SentKind::path_probe) {
        news.probes_lost.push_back({{end}, packet.size});
        continue;
      }
      note_lost(end, packet, news);
      if (packet.kind == SentKind::data) report(news.data_lost, end);
      if (packet.kind == SentKind::control) append(news.control_lost, packet.offset, packet.length);
      if (packet.kind == SentKind::repair) news.repairs_lost.push_back(packet.offset);
      if (packet.kind == SentKind::data || packet.kind == SentKind::copied) ++lost_data;
      on_resolved(packet);
      lost.newest_sent_at = packet.sent_at;
      lost.bytes += packet.size;
      ++lost.packets;
      append(losses_, end, 1);
    }
    (void)resolved_.insert({gap->begin, end});
    (void)lost_.insert({gap->begin, end});
  }
  if (lost.packets == 0) return;
  in_flight_ -= lost.bytes;
  packets_in_flight_ -= lost.packets;
  packets_lost_ += lost.packets;
  news.packets_lost += lost.packets;
  news.newest_lost_sent_at = std::max(news.newest_lost_sent_at, lost.newest_sent_at);
  const bool new_recovery = !recovery_start_ || lost.newest_sent_at > *recovery_start_;
  if (new_recovery) recovery_start_ = now;
  detector_.on_loss(new_recovery);
  lost.numbers = losses_;
  // What the receiver's sink refused is slowed by its credit, not by congestion control.
  if (!refusals_.excuse(lost.packets, lost_data)) controller_->on_packets_lost(lost);
}

void Recovery::forget_resolved(TimePoint now) {
  const std::uint64_t oldest = oldest_needed().value;
  std::uint64_t bound = oldest;
  if (!lost_.empty()) {
    // A late ACK within three PTO takes a loss back; under pressure for room the oldest losses stand.
    const TimePoint expired = now - 3 * rtt_.probe_timeout();
    bound = std::max(ledger_.first(), ledger_.end() - std::min(ledger_.end(), sent_packets_max / 2));
    bound = std::min(bound, oldest);
    while (bound != oldest && ledger_[bound].sent_at < expired) ++bound;
    lost_.erase_below(bound);
  }
  ledger_.forget_below(bound);
  disowned_.forget_below(bound);
}

void Recovery::on_probe_deadline(TimePoint now) {
  sleep_.on_time(now, probe_deadline(), ledger_.end());
  ++probe_timeouts_;
  probe_backoff_ = std::min(probe_backoff_ + 1, probe_backoff_max);
  owe_probes(now);
}

bool Recovery::probe_at_once(TimePoint now) {
  if (packets_in_flight_ == 0 || !probing_) return false;
  probe_backoff_ = 0;  // the silence was the old address's
  owe_probes(now);
  return true;
}

void Recovery::owe_probes(TimePoint now) {
  probes_owed_ = probes_per_timeout;
  probe_base_ = std::max(probe_base_, now);
}

Duration Recovery::probe_interval() const {
  // Probes do not wait for the pacer, but they are paid for: closer together than half of the rate allows, they would
  // keep all else from ever leaving.
  const Duration paid = pacer_.rate().time_for(2 * probes_per_timeout * pacer_.packet_bytes());
  const Duration timeout = std::max(rtt_.probe_timeout(), std::min(paid, probe_payment_max));
  const Duration longest = std::max(timeout, probe_interval_max);
  return Duration{std::min(longest.count(), timeout.count() << probe_backoff_)};
}

std::optional<TimePoint> Recovery::probe_deadline() const {
  if (packets_in_flight_ == 0 || !probing_) return std::nullopt;
  return probe_base_ + probe_interval();
}

std::uint64_t Recovery::allowance() const {
  const std::uint64_t window = controller_->cwnd() + offload_.bytes(rtt_, pacer_.rate());
  return window > in_flight_ ? window - in_flight_ : 0;
}

void Recovery::on_sibling_congestion(TimePoint now, const CongestionNews& news) {
  controller_->on_sibling_news(now, news);
  update_pacing(now);
}

void Recovery::on_app_limited() {
  app_limited_until_ = ledger_.end();
  if (allowance() >= pacer_.packet_bytes()) controller_->on_app_limited(in_flight_);
}

/// A repeat that is on its way no more.
void Recovery::on_resolved(const SentPacket& packet) {
  if (packet.kind == SentKind::data && packet.attempt > 0) --repeats_in_flight_;
}

std::optional<PacketNumber> Recovery::next_tail_copy() {
  if (repeats_in_flight_ == 0) return std::nullopt;
  const std::uint64_t wanted = tail_copies_.wanted({.sent = ledger_.end(),
                                                    .lost = packets_lost_,
                                                    .in_flight = packets_in_flight_,
                                                    .repeats_in_flight = repeats_in_flight_,
                                                    .window = controller_->cwnd() / pacer_.packet_bytes()});
  if (wanted == 0) return std::nullopt;
  tail_cursor_ = std::max(tail_cursor_, ledger_.first());
  for (; tail_cursor_ != ledger_.end(); ++tail_cursor_) {
    const SentPacket& packet = ledger_[tail_cursor_];
    if (packet.attempt > 0 && packet.attempt <= wanted && !resolved_.contains(tail_cursor_) &&
        carries_data(tail_cursor_))
      return PacketNumber{tail_cursor_};
  }
  return std::nullopt;
}

void Recovery::on_tail_copy() {
  on_resolved(ledger_[tail_cursor_]);
  ledger_.mark_copied(tail_cursor_++);
  tail_copies_.on_copy_sent();
}

void Recovery::update_pacing(TimePoint now) {
  DataRate rate = controller_->pacing_rate(rtt_);
  if (rate_cap_) {
    // A controller that measures what the cap lets through asks for about as much.
    paced_by_cap_ = rate.bits_per_second() >= rate_cap_->bits_per_second() / 8 * 7;
    rate = std::min(rate, *rate_cap_);
  }
  pacer_.set_rate(now, std::max(rate, DataRate::bits_per_second(8'000)));
}

std::optional<PathEstimate> Recovery::path_estimate() const {
  auto estimate = controller_->estimate();
  if (estimate && rate_cap_) estimate->filled = false;  // the cap was, for all we know
  return estimate;
}

PacketNumber Recovery::oldest_needed() const {
  return {std::min(resolved_.first_missing(0).value_or(0), ledger_.end())};
}

void Recovery::draw_skip() { skip_in_ = rng_.between(skip_distance_min, skip_distance_max); }

}  // namespace penstock::engine
