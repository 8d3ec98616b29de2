#include "dataplane/engine/congestion/cubic.h"

#include <algorithm>
#include <utility>

namespace penstock::engine {
namespace {

__extension__ using Wide = unsigned __int128;
using Milliseconds = std::chrono::duration<std::int64_t, std::milli>;

constexpr std::uint64_t window_max = 4 * GiB;      // beyond any path; keeps every product in range
constexpr std::int64_t curve_ms_max = 10'000'000;  // the cube of it is below 2^70
constexpr std::uint64_t beta_percent = 70;         // RFC 9438 section 4.6
// A queue that marks is short: less has to be given up to empty it. In congestion avoidance alone (RFC 8511).
constexpr std::uint64_t beta_marked_percent = 85;
constexpr Duration rate_rtt_min = std::chrono::microseconds{10};  // shorter round trips are not paced

/// Largest r with r^3 <= n.
std::uint64_t cube_root(std::uint64_t n) {
  std::uint64_t root = 0;
  for (int bit = 21; bit >= 0; --bit) {
    const std::uint64_t next = root | std::uint64_t{1} << bit;
    if (Wide{next} * next * next <= n) root = next;
  }
  return root;
}

}  // namespace

Duration cubic_recovery(std::uint64_t packets) {
  const std::uint64_t counted = std::min<std::uint64_t>(packets, 1'000'000'000);  // keeps the cube in range
  return Milliseconds{static_cast<std::int64_t>(cube_root(counted * 750'000'000))};
}

Cubic::Cubic(std::uint64_t datagram_bytes, Duration initial_rtt, std::size_t lanes)
    : lanes_(lanes),
      datagram_(datagram_bytes),
      initial_rtt_(initial_rtt),
      cwnd_(std::max<std::uint64_t>(initial_window_packets / lanes, 2) * datagram_bytes) {}

void Cubic::on_packets_sent(TimePoint, PacketNumber last, std::uint64_t, std::uint64_t in_flight) {
  next_ = {last.value + 1};
  peak_in_flight_ = std::max(peak_in_flight_, in_flight);
}

void Cubic::on_packets_acked(const AckedSample& sample, const RttEstimator& rtt) {
  // The curve is one of time in which the path was used: after a minute of silence it would be at the sky.
  if (is_outage(sample.now - std::exchange(heard_at_, sample.now), rtt.smoothed())) curve_.start.reset();
  // What was sent before the reduction says nothing about the new window.
  if (recovery_start_ && sample.largest_sent_at <= *recovery_start_) return;
  // Bursts and lumps of ACKs keep the flight below the window for moments, so what counts is the peak of a round trip:
  // a window that is not even half used says nothing about the path (RFC 9438 section 5.8).
  if (sample.largest >= round_end_) {
    peak_before_ = std::exchange(peak_in_flight_, 0);
    round_end_ = next_;
  }
  if (2 * std::max(peak_before_, peak_in_flight_) < cwnd_) {
    curve_.start.reset();  // idle time is not time in which the path was probed
    return;
  }
  if (in_slow_start())
    grow_slow_start(sample, rtt);
  else
    grow_avoidance(sample, rtt);
}

void Cubic::grow_slow_start(const AckedSample& sample, const RttEstimator& rtt) {
  hystart_.on_sample(sample.largest, next_, rtt.latest());
  const bool careful = hystart_.phase() != HyStart::Phase::slow_start;
  cwnd_ = std::min(window_max, cwnd_ + (careful ? sample.bytes / 4 : sample.bytes));  // RFC 9406: CSS_GROWTH_DIVISOR
  if (ssthresh_) cwnd_ = std::min(cwnd_, std::max(*ssthresh_, window_min()));
  if (hystart_.phase() != HyStart::Phase::done) return;
  ssthresh_ = cwnd_;
  if (lanes_ == 1) return;
  if (!news_) news_.emplace();
  news_->slow_start_over = true;
  ++slow_starts_over_;
}

void Cubic::grow_avoidance(const AckedSample& sample, const RttEstimator& rtt) {
  if (!curve_.start) begin_epoch(sample.now);
  // W_est grows by alpha = 3 (1 - beta) / (1 + beta) = 9 / 17 of a datagram a window; by a whole one beyond the last
  // maximum (RFC 9438 section 4.3).
  const Wide gain = Wide{datagram_} * sample.bytes / (lanes_ * std::max<std::uint64_t>(1, cwnd_));
  curve_.w_est += static_cast<std::uint64_t>(curve_.w_est < curve_.w_max ? gain * 9 / 17 : gain);
  curve_.w_est = std::min(curve_.w_est, window_max);

  // Where the curve will be one RTT from now, at most half as much again as we have (section 4.4 and 4.5).
  const std::uint64_t target =
      std::clamp(window_at(sample.now - *curve_.start + rtt.smoothed()), cwnd_, cwnd_ + cwnd_ / 2);
  const Wide step = Wide{target - cwnd_} * sample.bytes / std::max<std::uint64_t>(1, cwnd_);
  cwnd_ = std::min(window_max, std::max(cwnd_ + static_cast<std::uint64_t>(step), curve_.w_est));
}

void Cubic::begin_epoch(TimePoint now) {
  curve_.start = now;
  curve_.w_est = cwnd_;
  if (curve_.w_max <= cwnd_) {
    curve_.w_max = cwnd_;
    curve_.k = {};
    return;
  }
  // K = cbrt((W_max - cwnd) / C), C = 0.4 datagrams a cubic second, and an Nth of that for one lane of N; in ms:
  // (difference / datagram) * 10^9 * 10 / 4 * N.
  const Wide cubed = Wide{curve_.w_max - cwnd_} * 2'500'000'000 * lanes_ / datagram_;
  curve_.k = Milliseconds{static_cast<std::int64_t>(cube_root(static_cast<std::uint64_t>(cubed)))};
}

std::uint64_t Cubic::window_at(Duration since_start) const {
  const std::int64_t since = std::chrono::duration_cast<Milliseconds>(since_start - curve_.k).count();
  const std::uint64_t t = static_cast<std::uint64_t>(std::min(since < 0 ? -since : since, curve_ms_max));
  // C t^3 in bytes: 0.4 * datagram * t^3 / 10^9.
  const Wide offset = std::min<Wide>(Wide{t} * t * t / 1'000 * datagram_ * 4 / 10'000'000 / lanes_, window_max);
  const auto bytes = static_cast<std::uint64_t>(offset);
  if (since < 0) return curve_.w_max > bytes ? curve_.w_max - bytes : 0;
  return std::min(window_max, curve_.w_max + bytes);
}

void Cubic::on_packets_lost(const LostSample& sample) {
  next_ = sample.next;
  reduce(sample.now, sample.newest_sent_at, sample.packets);
  if (lanes_ == 1) return;
  if (!news_) news_.emplace();
  news_->packets_lost += sample.packets;
  news_->newest_lost = std::max(news_->newest_lost, sample.newest_sent_at);
}

void Cubic::reduce(TimePoint now, TimePoint newest_sent_at, std::uint64_t packets) {
  if (recovery_start_ && newest_sent_at <= *recovery_start_) {
    if (undo_) undo_->losses += packets;
    return;
  }
  undo_ = Undo{.cwnd = cwnd_, .ssthresh = ssthresh_, .curve = curve_, .losses = packets};
  begin_recovery(now, beta_percent);
}

void Cubic::begin_recovery(TimePoint now, std::uint64_t percent) {
  recovery_start_ = now;
  // Fast convergence (RFC 9438 section 4.7): a flow that lost before it was back at its maximum makes room for others.
  curve_.w_max = curve_.start && cwnd_ < curve_.w_max ? cwnd_ * 17 / 20 : cwnd_;
  curve_.start.reset();
  cwnd_ = std::max(window_min(), cwnd_ * percent / 100);
  ssthresh_ = cwnd_;
}

void Cubic::on_packets_marked(const MarkedSample& sample) {
  next_ = sample.next;
  if (sample.begins) before_marks_ = Undo{.cwnd = cwnd_, .ssthresh = ssthresh_, .curve = curve_, .losses = 0};
  reduce_for_marks(sample.now, sample.newest_sent_at);
  if (lanes_ == 1) return;
  if (!news_) news_.emplace();
  news_->packets_marked += sample.packets;
  news_->newest_marked = std::max(news_->newest_marked, sample.newest_sent_at);
}

void Cubic::reduce_for_marks(TimePoint now, TimePoint newest_sent_at) {
  undo_.reset();  // losses that were none take back nothing for which there is another reason
  if (recovery_start_ && newest_sent_at <= *recovery_start_) return;
  begin_recovery(now, in_slow_start() ? beta_percent : beta_marked_percent);
}

void Cubic::on_marks_withdrawn(TimePoint) {
  if (!before_marks_) return;
  restore(*before_marks_);
  before_marks_.reset();
  recovery_start_.reset();
}

void Cubic::restore(const Undo& undo) {
  if (cwnd_ >= undo.cwnd) return;
  cwnd_ = undo.cwnd;
  ssthresh_ = undo.ssthresh;
  curve_ = undo.curve;
}

void Cubic::on_spurious_loss(TimePoint sent_at) {
  take_back(sent_at, 1);
  if (lanes_ == 1) return;
  if (!news_) news_.emplace();
  ++news_->packets_spurious;
  news_->newest_spurious = std::max(news_->newest_spurious, sent_at);
}

void Cubic::take_back(TimePoint sent_at, std::uint64_t packets) {
  if (!undo_ || !recovery_start_ || sent_at > *recovery_start_) return;
  undo_->losses -= std::min(undo_->losses, packets);
  if (undo_->losses > 0) return;
  restore(*undo_);
  recovery_start_.reset();
  undo_.reset();
}

std::optional<CongestionNews> Cubic::take_news() { return std::exchange(news_, std::nullopt); }

void Cubic::on_sibling_news(TimePoint now, const CongestionNews& news) {
  if (news.packets_spurious > 0) take_back(news.newest_spurious, news.packets_spurious);
  if (news.packets_lost > 0) reduce(now, news.newest_lost, news.packets_lost);
  if (news.packets_marked > 0) reduce_for_marks(now, news.newest_marked);
  // Each lane sees the same queue, and one of many is sooner deceived than a single flow: half of them are believed.
  if (news.slow_start_over && 2 * ++slow_starts_over_ >= lanes_ && in_slow_start()) ssthresh_ = cwnd_;
}

DataRate Cubic::pacing_rate(const RttEstimator& rtt) const {
  const bool sampled = rtt.has_sample();
  const Duration round = std::max(sampled ? rtt.smoothed() : initial_rtt_, rate_rtt_min);
  // The first window takes a whole round trip; then slow start doubles, and avoidance stays a quarter ahead.
  const std::uint64_t quarters = !sampled ? 4 : in_slow_start() ? 8 : 5;
  const Wide bits = Wide{cwnd_} * quarters * 2 * 1'000'000'000 / static_cast<std::uint64_t>(round.count());
  return DataRate::bits_per_second(static_cast<std::uint64_t>(std::clamp<Wide>(bits, 8'000, 1'000'000'000'000)));
}

}  // namespace penstock::engine
