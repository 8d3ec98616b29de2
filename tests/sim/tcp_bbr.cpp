#include "tests/sim/tcp_bbr.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace penstock::sim {
namespace {

__extension__ using Wide = unsigned __int128;
using namespace std::chrono_literals;

constexpr std::uint64_t one = 256;
constexpr std::uint64_t high_gain = 739;    // 2 / ln 2
constexpr std::uint64_t drain_gain = 88;    // ln 2 / 2
constexpr std::uint64_t window_gain = 512;  // cwnd_gain in ProbeBW
constexpr std::array<std::uint64_t, 8> cycle{320, 192, one, one, one, one, one, one};
constexpr std::uint64_t window_initial = 10;
constexpr std::uint64_t window_min = 4;
constexpr std::uint64_t reordering = 3;  // packets
constexpr std::uint64_t aggregation_rounds = 5;
constexpr Duration min_rtt_length = 10s;
constexpr Duration probe_rtt_length = 200ms;
constexpr Duration aggregation_max = 100ms;

std::uint64_t per_second(std::uint64_t bytes, Duration time) {
  return static_cast<std::uint64_t>(Wide{bytes} * 1'000'000'000 / static_cast<std::uint64_t>(time.count()));
}
std::uint64_t during(std::uint64_t rate, Duration time) {
  return static_cast<std::uint64_t>(Wide{rate} * static_cast<std::uint64_t>(time.count()) / 1'000'000'000);
}

}  // namespace

// --- transport ------------------------------------------------------------------------------------------------------

std::uint64_t TcpBbr::on_sent(TimePoint now) {
  if (in_flight_ == 0) first_sent_at_ = delivered_at_ = heard_at_ = now;
  std::uint64_t sequence = next_sequence_;
  if (resend_.empty()) {
    ++next_sequence_;
    ++unacked_;
  } else {
    sequence = resend_.front();
    resend_.pop_front();
  }
  sent_.push_back({.number = next_number_,
                   .sequence = sequence,
                   .sent_at = now,
                   .first_sent_at = first_sent_at_,
                   .delivered_at = delivered_at_,
                   .delivered = delivered_});
  ++in_flight_;
  return next_number_++;
}

void TcpBbr::on_acked(TimePoint now, std::uint64_t number) {
  if (sent_.empty() || number < sent_.front().number || number >= next_number_) return;
  Packet& packet = sent_[number - sent_.front().number];
  if (std::exchange(packet.resolved, true)) return;
  --in_flight_;
  --unacked_;
  ++delivered_;
  delivered_at_ = heard_at_ = now;
  first_sent_at_ = packet.sent_at;
  const Packet acked = packet;
  const std::uint64_t losses = detect_losses(number);
  const Duration rtt = now - acked.sent_at;
  smoothed_ = smoothed_ == Duration{} ? rtt : smoothed_ + (rtt - smoothed_) / 8;
  sample_bandwidth(now, acked, losses);
  update_aggregation(now);
  update_mode(now, losses);
  update_min_rtt(now, rtt);
  set_pacing();
  update_recovery(acked, losses);
  update_window();
}

std::uint64_t TcpBbr::detect_losses(std::uint64_t number) {
  std::uint64_t losses = 0;
  for (Packet& packet : sent_) {
    if (packet.number + reordering > number) break;
    if (std::exchange(packet.resolved, true)) continue;
    resend_.push_back(packet.sequence);
    --in_flight_;
    ++losses;
  }
  lost_ += losses;
  while (!sent_.empty() && sent_.front().resolved) sent_.pop_front();
  return losses;
}

void TcpBbr::on_timeout(TimePoint now) {
  for (const Packet& packet : sent_) {
    if (packet.resolved) continue;
    resend_.push_back(packet.sequence);
    ++lost_;
  }
  sent_.clear();
  in_flight_ = 0;
  window_before_ = std::max(window_before_, cwnd_);
  cwnd_ = 1;
  heard_at_ = now;
}

std::optional<TimePoint> TcpBbr::timeout() const {
  if (in_flight_ == 0) return std::nullopt;
  return heard_at_ + smoothed_ + std::max<Duration>(200ms, smoothed_);
}

/// Linux: bbr_set_cwnd_to_recover_or_restore.
void TcpBbr::update_recovery(const Packet& packet, std::uint64_t losses) {
  if (losses > 0) cwnd_ = std::max<std::uint64_t>(1, cwnd_ - std::min(cwnd_, losses));
  if (recovering_ && packet.sequence < recovery_end_ && --recovery_missing_ == 0) {
    recovering_ = conserving_ = false;
    cwnd_ = std::max(cwnd_, window_before_);
  }
  if (!recovering_ && losses > 0) {
    window_before_ = mode_ == Mode::probe_rtt ? std::max(window_before_, cwnd_) : cwnd_ + losses;
    recovering_ = conserving_ = true;
    recovery_end_ = next_sequence_;
    recovery_missing_ = unacked_;
    round_end_ = delivered_;
    cwnd_ = in_flight_ + 1;
  } else if (conserving_ && round_start_) {
    conserving_ = false;
  }
}

// --- the model ------------------------------------------------------------------------------------------------------

std::uint64_t TcpBbr::bandwidth() const { return *std::max_element(rates_.begin(), rates_.end()); }

std::uint64_t TcpBbr::rate() const {
  const auto policed = policed_.rate();
  return policed ? *policed * payload : bandwidth();
}

/// Linux: bbr_lt_bw_sampling.
void TcpBbr::watch_for_policer(TimePoint now, std::uint64_t losses) {
  if (policers_ == Policers::ignored) return;
  const bool believed = policed_.rate().has_value();
  policed_.on_ack({.at = now,
                   .delivered = delivered_,
                   .lost = lost_,
                   .round_start = round_start_,
                   .shows_loss = losses > 0,
                   .probes_bandwidth = mode_ == Mode::probe_bandwidth});
  if (policed_.rate().has_value() == believed) return;
  if (believed) return enter_probe_bandwidth(now);
  if (mode_ == Mode::probe_bandwidth) set_gain(one, window_gain);
}

void TcpBbr::sample_bandwidth(TimePoint now, const Packet& packet, std::uint64_t losses) {
  round_start_ = packet.delivered >= round_end_;
  if (round_start_) {
    round_end_ = delivered_;
    rates_[++rounds_ % rates_.size()] = 0;
  }
  watch_for_policer(now, losses);
  const Duration interval = std::max(packet.sent_at - packet.first_sent_at, now - packet.delivered_at);
  if (interval <= Duration{} || interval < min_rtt_) return;
  std::uint64_t& best = rates_[rounds_ % rates_.size()];
  best = std::max(best, per_second((delivered_ - packet.delivered) * payload, interval));
}

void TcpBbr::update_aggregation(TimePoint now) {
  const std::uint64_t expected = during(rate(), now - epoch_at_) / payload;
  if (epoch_acked_ <= expected) {
    epoch_acked_ = 0;
    epoch_at_ = now;
  }
  ++epoch_acked_;
  const std::uint64_t extra = epoch_acked_ - std::min(epoch_acked_, expected);
  if (round_start_ && ++extra_rounds_ >= aggregation_rounds) {
    extra_rounds_ = 0;
    extra_ = {0, extra_[0]};
  }
  extra_[0] = std::max(extra_[0], std::min(extra, cwnd_));
}

void TcpBbr::update_mode(TimePoint now, std::uint64_t losses) {
  if (mode_ == Mode::probe_bandwidth) update_cycle(now, losses);
  if (!full_ && round_start_) {
    if (bandwidth() >= full_rate_ / 4 * 5) {
      full_rate_ = bandwidth();
      full_count_ = 0;
    } else {
      full_ = ++full_count_ >= 3;
    }
  }
  if (mode_ == Mode::startup && full_) {
    mode_ = Mode::drain;
    set_gain(drain_gain, high_gain);
  }
  if (mode_ == Mode::drain && in_flight_ <= inflight(bandwidth(), one)) enter_probe_bandwidth(now);
}

void TcpBbr::enter_probe_bandwidth(TimePoint now) {
  mode_ = Mode::probe_bandwidth;
  phase_ = rng_.between(1, cycle.size() - 1) + 1;  // any but the one that drains
  phase_ %= cycle.size();
  phase_at_ = now;
  set_gain(policed_.rate() ? one : cycle[phase_], window_gain);
}

void TcpBbr::update_cycle(TimePoint now, std::uint64_t losses) {
  const bool long_enough = now - phase_at_ > min_rtt_;
  const std::uint64_t before = in_flight_ + 1 + losses;
  bool next = long_enough;
  if (pacing_gain_ > one) next = long_enough && (losses > 0 || before >= inflight(bandwidth(), pacing_gain_));
  if (pacing_gain_ < one) next = long_enough || before <= inflight(bandwidth(), one);
  if (!next) return;
  phase_ = (phase_ + 1) % cycle.size();
  phase_at_ = now;
  set_gain(policed_.rate() ? one : cycle[phase_], window_gain);
}

void TcpBbr::update_min_rtt(TimePoint now, Duration rtt) {
  const bool expired = min_rtt_ != Duration{} && now > min_rtt_at_ + min_rtt_length;
  if (min_rtt_ == Duration{} || rtt < min_rtt_ || expired) {
    min_rtt_ = rtt;
    min_rtt_at_ = now;
  }
  if (expired && mode_ != Mode::probe_rtt) {
    mode_ = Mode::probe_rtt;
    set_gain(one, one);
    window_before_ = recovering_ ? std::max(window_before_, cwnd_) : cwnd_;
    probe_rtt_until_.reset();
  }
  if (mode_ != Mode::probe_rtt) return;
  if (!probe_rtt_until_) {
    if (in_flight_ > window_min) return;
    probe_rtt_until_ = now + probe_rtt_length;
    probe_rtt_round_ = false;
    round_end_ = delivered_;
    return;
  }
  probe_rtt_round_ = probe_rtt_round_ || round_start_;
  if (!probe_rtt_round_ || now < *probe_rtt_until_) return;
  min_rtt_at_ = now;
  cwnd_ = std::max(cwnd_, window_before_);
  if (full_) return enter_probe_bandwidth(now);
  mode_ = Mode::startup;
  set_gain(high_gain, high_gain);
}

// --- what may leave -------------------------------------------------------------------------------------------------

void TcpBbr::set_pacing() {
  const auto pacing = static_cast<std::uint64_t>(Wide{rate()} * pacing_gain_ / one * 99 / 100);
  if (full_ || pacing > pacing_) pacing_ = pacing;
}

std::uint64_t TcpBbr::burst() const {
  return std::clamp<std::uint64_t>(during(pacing_, 1ms) / payload, 2, 44);  // 64 KB
}

Duration TcpBbr::gap() const {
  // Before the first sample: the initial window over a millisecond, as Linux does.
  if (pacing_ == 0) return Duration{1ms} / window_initial;
  return Duration{static_cast<Duration::rep>(Wide{payload} * 1'000'000'000 / pacing_)};
}

std::uint64_t TcpBbr::inflight(std::uint64_t bytes_per_second, std::uint64_t gain) const {
  if (min_rtt_ == Duration{}) return window_initial;
  return (static_cast<std::uint64_t>(Wide{during(bytes_per_second, min_rtt_)} * gain / one) + payload - 1) / payload;
}

std::uint64_t TcpBbr::inflight_target(std::uint64_t gain) const {
  std::uint64_t target = inflight(rate(), gain) + 3 * burst();
  target += target % 2;
  if (mode_ == Mode::probe_bandwidth && pacing_gain_ > one) target += 2;
  if (!full_) return target;
  return target + std::min(std::max(extra_[0], extra_[1]), during(rate(), aggregation_max) / payload);
}

/// Linux: bbr_set_cwnd.
void TcpBbr::update_window() {
  if (conserving_) {
    cwnd_ = std::max(cwnd_, in_flight_ + 1);
  } else {
    const std::uint64_t target = inflight_target(window_gain_);
    if (full_)
      cwnd_ = std::min(cwnd_ + 1, target);
    else if (cwnd_ < target || delivered_ < window_initial)
      ++cwnd_;
    cwnd_ = std::max(cwnd_, window_min);
  }
  if (mode_ == Mode::probe_rtt) cwnd_ = std::min(cwnd_, window_min);
}

// --- the flow -------------------------------------------------------------------------------------------------------

TcpBbrFlow::TcpBbrFlow(EventQueue& events, Rng rng, Pipe& forward, Pipe& backward, Host& senders, Host& receivers,
                       TimePoint start, TcpBbr::Policers policers)
    : events_(events),
      forward_(forward),
      backward_(backward),
      model_(rng.split(), policers),
      to_sender_{rng.next()},
      to_receiver_{rng.next()},
      next_at_(start) {
  senders.add(to_sender_, sender_);
  receivers.add(to_receiver_, receiver_);
  const auto numbers = [](std::span<std::byte> batch, std::size_t segment, auto&& visit) {
    for (std::size_t at = 0; at < batch.size(); at += segment) {
      const auto header = read_clear_header(batch.subspan(at, std::min(segment, batch.size() - at)));
      if (header) visit(header->number);
    }
  };
  sender_.hear = [this, numbers](std::span<std::byte> batch, std::size_t segment) {
    numbers(batch, segment, [this](std::uint64_t number) { model_.on_acked(events_.now(), number); });
    send();
  };
  receiver_.hear = [this, numbers](std::span<std::byte> batch, std::size_t segment) {
    numbers(batch, segment, [this](std::uint64_t number) {
      received_ += TcpBbr::payload;  // nothing is taken for lost that was not, so nothing arrives twice
      transmit(backward_, to_sender_, number, 52);
    });
  };
  events_.schedule(start, [this] {
    send();
    watch();
  });
}

void TcpBbrFlow::transmit(Pipe& pipe, ConnectionId to, std::uint64_t number, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < 8; ++i) bytes[1 + i] = static_cast<std::byte>(to.value >> (56 - 8 * i));
  for (std::size_t i = 0; i < 4; ++i) bytes[9 + i] = static_cast<std::byte>(number >> (24 - 8 * i));
  pipe.send(bytes);
}

void TcpBbrFlow::send() {
  if (send_at_ && *send_at_ > events_.now()) return;
  send_at_.reset();
  if (next_at_ <= events_.now() && model_.may_send()) {
    std::uint64_t left = 0;
    for (; left < model_.burst() && model_.may_send(); ++left)
      transmit(forward_, to_receiver_, model_.on_sent(events_.now()), TcpBbr::segment_size);
    next_at_ = events_.now() + static_cast<Duration::rep>(left) * model_.gap();
  }
  if (!model_.may_send() || next_at_ <= events_.now()) return;  // an ACK goes on
  send_at_ = next_at_;
  events_.schedule(next_at_, [this] { send(); });
}

void TcpBbrFlow::watch() {
  if (const auto due = model_.timeout(); due && *due <= events_.now()) {
    model_.on_timeout(events_.now());
    send();
  }
  events_.schedule(events_.now() + 50ms, [this] { watch(); });
}

}  // namespace penstock::sim
