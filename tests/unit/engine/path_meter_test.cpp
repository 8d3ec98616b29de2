#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/lane/recovery.h"
#include "netem/link_model.h"

// Congestion::measure across the link lab's own model, in virtual time: the ledger, the pacer and loss detection are
// the real ones, the cipher and the frames are left out.

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t datagram = 1472;
constexpr std::uint64_t ip_overhead = 28;

enum class Marks : std::uint8_t { pass, wiped_off, dropped };

struct Path {
  DataRate rate = DataRate::megabits_per_second(50);
  Duration rtt = 50ms;
  netem::Probability loss = {};
  std::uint64_t queue_percent_of_bdp = 100;  // 64 KiB at least
  netem::Probability ack_loss = {};
  Duration jitter{0};
  std::uint64_t seed = 1;
  std::uint64_t packets_max = std::numeric_limits<std::uint64_t>::max();  // then the sender has nothing more
  Marks marks = Marks::pass;                                              // what becomes of marked packets
};

struct Outcome {
  PathReport report;
  Duration taken{};
};

class Measurement {
 public:
  explicit Measurement(const Path& path)
      : path_(path),
        recovery_({.datagram_size = datagram,
                   .ip_overhead = ip_overhead,
                   .initial_rtt = path.rtt,
                   .congestion = Congestion::measure,
                   .ecn = true},
                  Rng(path.seed)),
        forward_(forward(path), path.seed + 1000),
        backward_({.delay = path.rtt / 2, .loss = path.ack_loss}, path.seed + 2000) {}

  /// Until the report is finished, or `patience` of virtual time has passed.
  Outcome run(Duration patience = 60s) {
    const TimePoint start{1s};
    now_ = start;
    next_ack_ = start;
    send();
    while (!recovery_.path_report().finished && now_ - start < patience) {
      const auto next = next_event();
      if (!next) break;
      now_ = std::max(now_, *next);
      change_path();
      receive();
      if (const auto until = stalled_until()) {
        resume_at_ = *until;
        continue;
      }
      resume_at_.reset();
      take_acks();
      if (const auto due = recovery_.loss_deadline(); due && *due <= now_) recovery_.on_loss_deadline(now_, news_);
      if (const auto due = recovery_.probe_deadline(); due && *due <= now_) recovery_.on_probe_deadline(now_);
      news_.clear();
      send();
    }
    return {recovery_.path_report(), now_ - start};
  }

  /// Cuts the path in both directions.
  void cut_at(Duration after_start) { cut_at_ = TimePoint{1s} + after_start; }
  /// The path is as slow as `rate` from one time after the start to the other.
  void squeeze(Duration from, Duration to, DataRate rate) {
    auto settings = forward(path_);
    changes_.push_back({TimePoint{1s} + to, settings});
    settings.rate = rate;
    changes_.push_back({TimePoint{1s} + from, settings});
  }
  /// The sender's thread does not run from one time after the start to the other. Ascending.
  void stall(Duration from, Duration to) { stalls_.push_back({TimePoint{1s} + from, TimePoint{1s} + to}); }
  /// Nothing leaves any more.
  [[nodiscard]] bool is_silent() const { return recovery_.allowance() == 0; }
  [[nodiscard]] const EcnValidation& ecn() const { return recovery_.ecn(); }

 private:
  struct Arrival {
    TimePoint at;
    std::uint64_t number;
    bool operator>(const Arrival& other) const { return at != other.at ? at > other.at : number > other.number; }
  };
  struct Stall {
    TimePoint from;
    TimePoint to;
  };
  struct Change {
    TimePoint at;
    netem::LinkSettings settings;
  };
  struct Ack {
    TimePoint at;
    std::vector<AckRange> ranges;
    Duration delay;
    std::optional<EcnCounts> marks;
  };

  static netem::LinkSettings forward(const Path& path) {
    const std::uint64_t bdp = path.rate.bytes_in(path.rtt);
    return {.delay = path.rtt / 2,
            .jitter = path.jitter,
            .rate = path.rate,
            .queue = {.bytes = std::max(64 * KiB, bdp * path.queue_percent_of_bdp / 100),
                      .packets = std::numeric_limits<std::uint32_t>::max()},
            .loss = path.loss};
  }
  bool is_cut() const { return cut_at_ && now_ >= *cut_at_; }

  std::optional<TimePoint> next_event() const {
    std::optional<TimePoint> next;
    const auto consider = [&](std::optional<TimePoint> at) {
      if (at && (!next || *at < *next)) next = at;
    };
    if (!arrivals_.empty()) consider(arrivals_.front().at);
    if (news_since_ack_) consider(std::max(next_ack_, now_));
    if (resume_at_) {
      consider(resume_at_);
      return next;
    }
    if (!acks_.empty()) consider(acks_.front().at);
    consider(recovery_.loss_deadline());
    consider(recovery_.probe_deadline());
    if (sent_ < path_.packets_max && recovery_.allowance() >= datagram) consider(recovery_.pacer().ready_at(now_));
    return next;
  }

  std::optional<TimePoint> stalled_until() const {
    for (const auto& stall : stalls_)
      if (stall.from <= now_ && now_ < stall.to) return stall.to;
    return std::nullopt;
  }
  void change_path() {
    while (!changes_.empty() && changes_.back().at <= now_) {
      forward_.change(changes_.back().settings);
      changes_.pop_back();
    }
  }
  void send_one(EcnMark mark) {
    const PacketNumber number = recovery_.take_number();
    recovery_.on_packet_sent({.sent_at = now_,
                              .offset = number.value * datagram,
                              .length = datagram,
                              .size = datagram,
                              .kind = SentKind::data,
                              .marked = mark != EcnMark::none});
    recovery_.on_batch_sent(now_, 1, datagram);
    if (mark != EcnMark::none) {
      recovery_.on_marked_sent(now_, 1);
      if (path_.marks == Marks::dropped) return;
      if (path_.marks == Marks::pass) marked_.insert({number.value, number.value + 1});
    }
    if (is_cut()) return;
    for (const auto& copy : forward_.offer(now_, datagram + ip_overhead)) {
      const Arrival arrival{copy.at, number.value};
      arrivals_.insert(std::upper_bound(arrivals_.begin(), arrivals_.end(), arrival,
                                        [](const Arrival& a, const Arrival& b) { return b > a; }),
                       arrival);
    }
  }
  void send() {
    for (; recovery_.probes_owed() > 0; recovery_.on_probe_sent()) send_one(EcnMark::none);
    while (recovery_.allowance() >= datagram && recovery_.can_send_bulk() &&
           recovery_.pacer().available(now_) >= recovery_.pacer().worthwhile()) {
      if (sent_ == path_.packets_max) return recovery_.on_app_limited();
      ++sent_;
      send_one(recovery_.mark(now_));
    }
  }

  void receive() {
    while (!arrivals_.empty() && arrivals_.front().at <= now_) {
      received_.insert({arrivals_.front().number, arrivals_.front().number + 1});
      if (marked_.find(arrivals_.front().number)) ++marks_counted_.ect0;
      if (arrivals_.front().number >= largest_) {
        largest_ = arrivals_.front().number;
        largest_at_ = arrivals_.front().at;
      }
      news_since_ack_ = true;
      arrivals_.pop_front();
    }
    if (!news_since_ack_ || next_ack_ > now_) return;
    news_since_ack_ = false;
    next_ack_ = now_ + ack_interval(path_.rtt);
    Ack ack{.at = {}, .ranges = {}, .delay = now_ - largest_at_, .marks = std::nullopt};
    if (marks_counted_.ect0 > 0) ack.marks = marks_counted_;
    received_.erase_below(std::min(recovery_.oldest_needed().value, largest_));
    for (const auto& range : received_.intervals()) ack.ranges.push_back({{range.begin}, {range.end - 1}});
    std::ranges::reverse(ack.ranges);
    if (is_cut()) return;
    for (const auto& copy : backward_.offer(now_, 100)) {
      ack.at = copy.at;
      acks_.push_back(ack);
    }
  }
  void take_acks() {
    while (!acks_.empty() && acks_.front().at <= now_) {
      const Ack& ack = acks_.front();
      AckFrame frame{{.delay = ack.delay}, ack.ranges.front().largest, ack.ranges};
      frame.marks = ack.marks;
      const bool honest = recovery_.on_ack(now_, frame, news_);
      if (!honest) FAIL("the path acknowledged what was never sent");
      acks_.pop_front();
    }
  }

  Path path_;
  Recovery recovery_;
  netem::LinkModel forward_;
  netem::LinkModel backward_;
  DeliveryNews news_;
  TimePoint now_{};
  std::optional<TimePoint> cut_at_;
  std::vector<Stall> stalls_;
  std::optional<TimePoint> resume_at_;
  std::vector<Change> changes_;  // the next one last
  std::uint64_t sent_ = 0;
  std::deque<Arrival> arrivals_;
  std::deque<Ack> acks_;
  bytes::IntervalSet received_;
  bytes::IntervalSet marked_;  // of those that leave with a mark which stays
  EcnCounts marks_counted_;
  std::uint64_t largest_ = 0;
  TimePoint largest_at_{};
  TimePoint next_ack_{};
  bool news_since_ack_ = false;
};

double loss_of(const PathReport& report) {
  return static_cast<double>(report.packets_lost) / static_cast<double>(report.packets);
}
/// What arrives of a full path, as a share of what the report says.
double rate_ratio(const Path& path, const PathReport& report) {
  const double arrives =
      static_cast<double>(path.rate.bits_per_second()) * (1 - static_cast<double>(path.loss.parts_per_billion()) / 1e9);
  return static_cast<double>(report.rate->bits_per_second()) / arrives;
}

void check_truth(const Path& path, double packets_min = 400) {
  CAPTURE(path.rate.bits_per_second());
  CAPTURE(path.rtt.count());
  CAPTURE(path.loss.parts_per_billion());
  CAPTURE(path.queue_percent_of_bdp);
  CAPTURE(path.seed);
  const Outcome outcome = Measurement{path}.run();
  REQUIRE(outcome.report.finished);
  REQUIRE(outcome.report.rate);
  CHECK(rate_ratio(path, outcome.report) > 0.85);
  CHECK(rate_ratio(path, outcome.report) < 1.15);
  const double truth = static_cast<double>(path.loss.parts_per_billion()) / 1e9;
  const auto packets = static_cast<double>(outcome.report.packets);
  CAPTURE(outcome.report.packets);
  CAPTURE(outcome.report.packets_lost);
  CHECK(packets >= packets_min);
  CHECK(std::abs(loss_of(outcome.report) - truth) <= 3 * std::sqrt(truth * (1 - truth) / packets));
  CAPTURE(outcome.taken.count());
  // Waiting for a queue that we filled is waiting, too.
  const Duration queue =
      path.rate.time_for(std::max(64 * KiB, path.rate.bytes_in(path.rtt) * path.queue_percent_of_bdp / 100));
  CHECK(outcome.taken <= 2500ms + 10 * path.rtt + 3 * queue);
}

}  // namespace

TEST_CASE("path meter: finds rate and loss of paths of 10 to 500 Mbit/s, 5 to 300 ms, 0 to 10 %") {
  std::uint64_t seed = 100;
  for (const std::uint64_t megabits : {10U, 50U, 200U, 500U}) {
    for (const Duration rtt : {5ms, 25ms, 100ms, 300ms}) {
      for (const std::uint32_t percent : {0U, 2U, 10U})
        check_truth({.rate = DataRate::megabits_per_second(megabits),
                     .rtt = rtt,
                     .loss = netem::Probability::percent(percent),
                     .seed = ++seed});
    }
  }
}

TEST_CASE("path meter: a queue of a quarter or of eight round trips changes neither figure") {
  std::uint64_t seed = 200;
  for (const std::uint64_t percent_of_bdp : {25U, 800U}) {
    for (const Duration rtt : {10ms, 50ms, 150ms})
      check_truth(
          {.rtt = rtt, .loss = netem::Probability::percent(1), .queue_percent_of_bdp = percent_of_bdp, .seed = ++seed});
  }
}

TEST_CASE("path meter: tells whether marks pass, and finds the same figures where they do not") {
  const auto found = [](Marks marks) {
    const Path path{.marks = marks};
    check_truth(path);
    Measurement measurement{path};
    (void)measurement.run();
    CHECK(measurement.ecn().packets_marked() <= 10);
    return std::pair{measurement.ecn().state(), measurement.ecn().fault()};
  };
  CHECK(found(Marks::pass) == std::pair{EcnState::capable, EcnFault::none});
  CHECK(found(Marks::wiped_off) == std::pair{EcnState::failed, EcnFault::uncounted});
  CHECK(found(Marks::dropped) == std::pair{EcnState::failed, EcnFault::black_hole});
}

TEST_CASE("path meter: lost and late acknowledgements change neither figure") {
  for (std::uint64_t seed = 300; seed < 306; ++seed)
    check_truth({.loss = netem::Probability::percent(2),
                 .ack_loss = netem::Probability::percent(20),
                 .jitter = 4ms,
                 .seed = seed});
}

TEST_CASE("path meter: a modem of 1 Mbit/s, and a path that loses two in five") {
  check_truth({.rate = DataRate::megabits_per_second(1), .rtt = 50ms, .seed = 400}, 40);
  check_truth({.loss = netem::Probability::percent(40), .seed = 401});
}

TEST_CASE("path meter: a hiccup during the ramp is not taken for the path's rate") {
  const Path path{.rate = DataRate::megabits_per_second(200), .rtt = 20ms};
  Measurement measurement{path};
  measurement.squeeze(300ms, 360ms, DataRate::megabits_per_second(4));
  const Outcome outcome = measurement.run();
  REQUIRE(outcome.report.finished);
  CHECK(rate_ratio(path, outcome.report) > 0.85);
  CHECK(rate_ratio(path, outcome.report) < 1.15);
  CHECK(outcome.report.packets_lost == 0);
}

TEST_CASE("path meter: a sender that is kept from its core now and then finds the same") {
  const Path path{.rate = DataRate::megabits_per_second(200), .rtt = 20ms, .loss = netem::Probability::percent(1)};
  for (const Duration length : {30ms, 60ms, 90ms}) {
    CAPTURE(length.count());
    Measurement measurement{path};
    for (Duration at = 250ms; at < 1500ms; at += 250ms) measurement.stall(at, at + length);
    const Outcome outcome = measurement.run();
    REQUIRE(outcome.report.finished);
    CHECK(rate_ratio(path, outcome.report) > 0.8);
    CHECK(rate_ratio(path, outcome.report) < 1.15);
  }
}

TEST_CASE("path meter: when it has finished, nothing leaves any more") {
  Measurement measurement{Path{}};
  CHECK(measurement.run().report.finished);
  CHECK(measurement.is_silent());
}

TEST_CASE("path meter: a path that dies is not reported as measured") {
  for (const Duration cut : {100ms, 400ms, 700ms, 1200ms}) {
    Measurement measurement{Path{}};
    measurement.cut_at(cut);
    CHECK_FALSE(measurement.run(20s).report.finished);
  }
}

TEST_CASE("path meter: a sender that runs out of bytes ends without figures") {
  const Outcome outcome = Measurement{Path{.packets_max = 100}}.run();
  CHECK(outcome.report.finished);
  CHECK_FALSE(outcome.report.rate);
  CHECK(outcome.report.packets == 0);
}

}  // namespace penstock::engine::test
