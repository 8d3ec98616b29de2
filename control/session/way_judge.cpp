#include "control/session/way_judge.h"

#include <algorithm>

namespace penstock::control {
namespace {

constexpr Duration best_over = std::chrono::seconds{2};
constexpr std::uint64_t rate_of(std::uint64_t bytes, Duration time) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{bytes} * 1'000'000'000 /
                                    static_cast<std::uint64_t>(std::max<Duration::rep>(time.count(), 1)));
}

/// A long path needs a round trip for each answer, so there its share is larger than 3 s allow.
Duration dark_after(Duration rtt) {
  const Duration usual =
      std::clamp(std::chrono::seconds{1} + 4 * rtt, Duration{WayJudge::dark_min}, Duration{WayJudge::dark_max});
  return std::max<Duration>(usual, std::chrono::seconds{1} + 2 * rtt);
}

/// As long as the contract allows.
Duration dark_at_last(Duration rtt) {
  return std::max(dark_after(rtt), std::min<Duration>(WayJudge::dark_max, WayJudge::dark_budget - 2 * rtt));
}

Duration trial_time(Duration rtt) { return std::max<Duration>(WayJudge::trial_min, 20 * rtt); }

}  // namespace

std::string_view to_string(DataWay way) { return way == DataWay::udp ? "udp" : "tcp"; }

std::string_view words_of(const WayOrder::Switch& turn) {
  const bool by_tcp = turn.way == DataWay::tcp;
  switch (turn.reason) {
    case SwitchReason::dark:
      return "UDP gets no answer, though the control connection does: the data goes by TCP from here on, and UDP is "
             "tried "
             "again later";
    case SwitchReason::poor:
      return "UDP loses much and moves little: the data goes by TCP on trial";
    case SwitchReason::back:
      return "UDP gets through again: the data goes by UDP from here on";
    case SwitchReason::better:
      return by_tcp ? "UDP moves less than TCP did: the data goes by TCP from here on, and UDP is tried again later"
                    : "TCP moves no more than UDP did: the data goes by UDP from here on";
    case SwitchReason::asked:
      break;
  }
  return by_tcp ? "the data goes by TCP" : "the data goes by UDP";
}

WayJudge::WayJudge(TimePoint begun, DataWay first)
    : state_(first == DataWay::udp ? State::udp : State::tcp), entered_(begun), return_at_(begun + wait_min) {}

WayOrder WayJudge::on_look(const WayLook& look) {
  samples_.push_back({.at = look.now,
                      .bytes = way() == DataWay::udp ? look.udp_bytes : look.tcp_bytes,
                      .sent = look.packets_sent,
                      .lost = look.packets_lost,
                      .socket_drops = look.peer_socket_drops,
                      .path_limited = look.path_limited});
  const Duration kept = std::max<Duration>(poor_after, trial_time(look.rtt));
  while (samples_.size() > 2 && look.now - samples_[1].at >= kept) samples_.pop_front();
  WayOrder order;
  switch (state_) {
    case State::udp:
      if (look.now - entered_ >= good_after) wait_ = wait_min;
      if (const auto rate = rate_since(look.now - best_over)) best_ = std::max(best_, *rate);
      judge_poor(look, order);
      if (!order.turn) judge_dark(look, order);
      break;
    case State::udp_trial:
      judge_dark(look, order);
      if (!order.turn) judge_udp_trial(look, order);
      break;
    case State::tcp:
      judge_return(look, order);
      break;
    case State::tcp_trial:
      judge_tcp_trial(look, order);
      break;
  }
  return order;
}

void WayJudge::judge_dark(const WayLook& look, WayOrder& order) {
  bool dark = false;
  // Where only small datagrams get through, pings are answered for ever: they excuse data without an answer for so long
  // as a busy thread is excused, since what it has not read yet is not lost. Both get all the time that there is.
  if (look.data_unanswered_since) {
    const TimePoint since = std::max({entered_, *look.data_unanswered_since, look.data_answered_at.value_or(entered_)});
    dark = is_dark(look, since, dark_at_last(look.rtt), order);
  }
  TimePoint since = std::max(entered_, look.answered_at.value_or(entered_));
  if (look.unanswered_since) {
    since = std::max(since, *look.unanswered_since);
  } else if (look.answered_at && *look.answered_at >= entered_) {
    return;  // all that was sent was answered
  } else if (look.path_known) {
    order.ping_udp = true;  // nothing was sent that could be answered
    return;
  }
  if (look.now - since >= ask_after) {
    // What was sent last may have been all lost in a daemon's socket that a crowd overruns, and is repeated after
    // seconds where a round trip is long for want of a processor: darkness is that none of several was answered.
    order.ping_udp = look.path_known;
    dark = is_dark(look, since, look.sink_busy ? dark_at_last(look.rtt) : dark_after(look.rtt), order) || dark;
  }
  if (!dark) return;
  if (state_ == State::udp_trial) wait_ = std::min<Duration>(2 * wait_, wait_max);
  turn(State::tcp, SwitchReason::dark, look, order);
}

bool WayJudge::is_dark(const WayLook& look, TimePoint since, Duration patience, WayOrder& order) {
  if (look.now - since < ask_after) return false;
  if (!look.control_answered || *look.control_answered < since + ask_after) {
    order.ping_control = true;
    return false;
  }
  return look.now - since >= patience;
}

void WayJudge::judge_poor(const WayLook& look, WayOrder& order) {
  const TimePoint from = look.now - poor_after;
  if (look.now < trial_at_ || samples_.front().at > from || !path_limited_since(from)) return;
  const auto rate = rate_since(from);
  if (!rate || (*rate >= poor_bytes_per_second && *rate >= best_ / 4)) return;
  const Sample& first = samples_.front();
  const std::uint64_t sent = look.packets_sent - std::min(look.packets_sent, first.sent);
  const std::uint64_t all_lost = look.packets_lost - std::min(look.packets_lost, first.lost);
  const std::uint64_t dropped = look.peer_socket_drops - std::min(look.peer_socket_drops, first.socket_drops);
  // Others' datagrams are among these drops, a stranger's too who floods the port: they are a reason to doubt a loss,
  // not to overlook a policer. So they excuse a half at most.
  const std::uint64_t lost = all_lost - std::min(all_lost / 2, dropped);
  if (sent == 0 || lost * 100 < sent * poor_loss_percent) return;
  udp_rate_ = *rate;
  turn(State::tcp_trial, SwitchReason::poor, look, order);
}

void WayJudge::judge_tcp_trial(const WayLook& look, WayOrder& order) {
  const Duration time = trial_time(look.rtt);
  if (look.now - entered_ < time) return;
  const auto rate = rate_since(entered_ + time / 2);
  // What is not held back by its way says nothing against it.
  if ((rate && *rate >= udp_rate_ + udp_rate_ / 4) || !path_limited_since(entered_ + time / 2)) {
    state_ = State::tcp;
    return_at_ = look.now + wait_;
    return;
  }
  trial_at_ = look.now + trial_wait_;
  trial_wait_ = std::min<Duration>(2 * trial_wait_, wait_max);
  turn(State::udp, SwitchReason::better, look, order);
}

void WayJudge::judge_udp_trial(const WayLook& look, WayOrder& order) {
  const Duration time = trial_time(look.rtt);
  if (look.now - entered_ < time) return;
  const auto rate = rate_since(entered_ + time / 2);
  if (rate && *rate < tcp_rate_ / 2 && path_limited_since(entered_ + time / 2)) {
    wait_ = std::min<Duration>(2 * wait_, wait_max);
    return turn(State::tcp, SwitchReason::better, look, order);
  }
  state_ = State::udp;
}

void WayJudge::judge_return(const WayLook& look, WayOrder& order) {
  if (!probing_since_) {
    if (look.now < return_at_) return;
    probing_since_ = look.now;
    probe_answered_ = look.answered_at;
    answers_ = 0;
    order.ping_udp = true;
    return;
  }
  if (look.answered_at && (!probe_answered_ || *look.answered_at > *probe_answered_)) {
    probe_answered_ = look.answered_at;
    if (++answers_ >= probe_answers) {
      tcp_rate_ = rate_since(look.now - trial_min).value_or(0);
      return turn(State::udp_trial, SwitchReason::back, look, order);
    }
  }
  if (look.now - *probing_since_ < probe_time + 2 * look.rtt) {
    order.ping_udp = true;
    return;
  }
  wait_ = std::min<Duration>(2 * wait_, wait_max);
  put_off_return(look.now);
}

void WayJudge::put_off_return(TimePoint now) {
  probing_since_.reset();
  return_at_ = now + wait_;
}

void WayJudge::turn(State state, SwitchReason reason, const WayLook& look, WayOrder& order) {
  enter(state, look);
  order.turn = {.way = way(), .reason = reason};
}

void WayJudge::enter(State state, const WayLook& look) {
  state_ = state;
  entered_ = look.now;
  samples_.clear();
  best_ = 0;
  put_off_return(look.now);
}

std::optional<std::uint64_t> WayJudge::rate_since(TimePoint from) const {
  const auto first = std::ranges::find_if(samples_, [from](const Sample& sample) { return sample.at >= from; });
  if (first == samples_.end() || samples_.back().at - first->at < look_every) return std::nullopt;
  return rate_of(samples_.back().bytes - std::min(samples_.back().bytes, first->bytes), samples_.back().at - first->at);
}

bool WayJudge::path_limited_since(TimePoint from) const {
  // For the most part: each sample is the limit of a quarter of a second.
  std::size_t all = 0;
  std::size_t limited = 0;
  for (const Sample& sample : samples_) {
    if (sample.at < from) continue;
    ++all;
    limited += sample.path_limited ? 1U : 0U;
  }
  return 4 * limited >= 3 * all;
}

}  // namespace penstock::control
