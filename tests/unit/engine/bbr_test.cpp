#include "dataplane/engine/congestion/bbr.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include "common/random.h"

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t datagram = 1200;
constexpr std::uint64_t overhead = 28;

/// A controller, its pacing, and a path of one bottleneck: packets are numbers with times. ACKs every eighth of a round
/// trip, as the receiver's tracker has it. Losses show at the ACK that passes them.
class Tube {
 public:
  struct Path {
    Duration rtt = 40ms;
    std::uint64_t rate = 2'500'000;  // bytes a second, of UDP payload
    std::uint64_t queue = 100'000;   // bytes
    std::uint64_t loss_per_mille = 0;
    bool down = false;
    bool marks_all = false;
    std::optional<Duration> smoothed_rtt = {};  // what the estimator is made to believe
  };
  explicit Tube(const Path& given) : path(given), rtt(given.rtt) {}

  void run(Duration length) {
    const TimePoint end = now + length;
    while (now < end) {
      now += 250us;
      acknowledge();
      send();
    }
  }
  /// Bytes a second that arrived since the last call.
  std::uint64_t arrived_rate() {
    const std::uint64_t bytes = arrived_ - arrived_before_;
    const auto ms = static_cast<std::uint64_t>((now - arrived_since_) / 1ms);
    arrived_before_ = arrived_;
    arrived_since_ = now;
    return bytes * 1000 / std::max<std::uint64_t>(1, ms);
  }
  [[nodiscard]] std::uint64_t queued() const {
    return busy_until_ <= now ? 0 : static_cast<std::uint64_t>((busy_until_ - now) / 1us) * path.rate / 1'000'000;
  }

  Path path;
  RttEstimator rtt;
  Bbr bbr{datagram, overhead, 40ms, Rng{1}};
  TimePoint now = TimePoint{} + 1s;
  std::uint64_t in_flight = 0;
  std::uint64_t lost_by_queue = 0;
  std::uint64_t backlog = ~std::uint64_t{0};  // packets that there are to send

 private:
  struct Packet {
    std::uint64_t number;
    TimePoint sent_at;
    TimePoint acked_at;  // its ACK's arrival, but for the ACK interval
    bool lost;
  };

  void send() {
    credit_ += bbr.pacing_rate(rtt).bytes_in(250us);
    credit_ = std::min(credit_, std::max(4 * (datagram + overhead), bbr.pacing_rate(rtt).bytes_in(500us)));
    std::uint64_t sent = 0;
    // A probe finds a path that has been silent.
    if (in_flight > 0 && now - std::max(heard_at_, probed_at_) > 200ms) {
      probed_at_ = now;
      put();
      sent += datagram;
    }
    while (credit_ >= datagram + overhead && in_flight + datagram <= bbr.cwnd() && backlog > 0) {
      if (backlog != ~std::uint64_t{0}) --backlog;
      credit_ -= datagram + overhead;
      put();
      sent += datagram;
    }
    if (sent > 0) bbr.on_packets_sent(now, {next_ - 1}, sent, in_flight);
    if (backlog == 0 && in_flight + datagram <= bbr.cwnd()) bbr.on_app_limited(in_flight);
  }

  void put() {
    in_flight += datagram;
    const bool overrun = queued() > path.queue;
    lost_by_queue += overrun ? 1 : 0;
    if (!overrun) busy_until_ = std::max(busy_until_, now) + DataRate::bytes_per_second(path.rate).time_for(datagram);
    const bool lost = path.down || overrun || luck_.chance(path.loss_per_mille, 1000);
    packets_.push_back({next_++, now, std::max(busy_until_, now) + path.rtt, lost});
  }

  void acknowledge() {
    if (now < ack_due_ || packets_.empty()) return;
    std::size_t last = 0;
    for (std::size_t i = 0; i < packets_.size() && packets_[i].acked_at <= now; ++i) {
      if (!packets_[i].lost) last = i + 1;
    }
    if (last == 0) return;
    ack_due_ = now + path.rtt / 8;
    heard_at_ = now;
    std::vector<bytes::Interval> acked;
    std::vector<bytes::Interval> lost;
    AckedSample sample{
        .now = now, .largest = {packets_[last - 1].number}, .largest_sent_at = packets_[last - 1].sent_at};
    LostSample losses{.now = now, .newest_sent_at = {}, .next = {next_}};
    for (std::size_t i = 0; i < last; ++i) {
      const Packet& packet = packets_[i];
      in_flight -= datagram;
      if (packet.lost) {
        losses.newest_sent_at = packet.sent_at;
        losses.bytes += datagram;
        ++losses.packets;
        lost.push_back({packet.number, packet.number + 1});
      } else {
        sample.bytes += datagram;
        ++sample.packets;
        acked.push_back({packet.number, packet.number + 1});
      }
    }
    arrived_ += sample.bytes;
    sample.rtt = now - sample.largest_sent_at;
    rtt.on_sample(path.smoothed_rtt.value_or(*sample.rtt), {});
    sample.in_flight = in_flight;
    sample.numbers = acked;
    losses.numbers = lost;
    packets_.erase(packets_.begin(), packets_.begin() + static_cast<std::ptrdiff_t>(last));
    if (losses.packets > 0) bbr.on_packets_lost(losses);
    if (path.marks_all)
      bbr.on_packets_marked({.now = now,
                             .newest_sent_at = sample.largest_sent_at,
                             .next = {next_},
                             .packets = sample.packets,
                             .begins = true});
    bbr.on_packets_acked(sample, rtt);
  }

  std::deque<Packet> packets_;
  std::uint64_t next_ = 0;
  std::uint64_t credit_ = 0;
  TimePoint busy_until_{};
  TimePoint ack_due_{};
  TimePoint heard_at_ = now;
  TimePoint probed_at_{};
  std::uint64_t arrived_ = 0;
  std::uint64_t arrived_before_ = 0;
  TimePoint arrived_since_ = now;
  Rng luck_{3};
};

}  // namespace

TEST_CASE("bbr: starts with 64 packets over the control channel's round trip") {
  Bbr bbr{datagram, overhead, 100ms, Rng{1}};
  CHECK(bbr.cwnd() == 64 * datagram);
  CHECK(bbr.pacing_rate(RttEstimator{100ms}) == DataRate::bytes_per_second(64 * (datagram + overhead) * 10));
  CHECK(bbr.state() == Bbr::State::startup);
}

TEST_CASE("bbr: begins with half of the rate that this path had before, over the control channel's round trip") {
  const DataRate remembered = DataRate::bytes_per_second(20'000'000);
  const Bbr bbr{datagram, overhead, 100ms, Rng{1}, remembered};
  CHECK(bbr.cwnd() == 1'000'000 * datagram / (datagram + overhead));  // of 10 MB/s
  const DataRate half = DataRate::bytes_per_second(10'000'000);
  CHECK(bbr.pacing_rate(RttEstimator{100ms}) <= half);
  CHECK(bbr.pacing_rate(RttEstimator{100ms}).bits_per_second() >= half.bits_per_second() / 1000 * 999);
  CHECK(bbr.state() == Bbr::State::startup);
}

TEST_CASE("bbr: the first loss gives up what was remembered, and nothing of it is left") {
  Bbr bbr{datagram, overhead, 100ms, Rng{1}, DataRate::bytes_per_second(20'000'000)};
  const RttEstimator rtt{100ms};
  const TimePoint start = TimePoint{} + 1s;
  bbr.on_packets_sent(start, {99}, 100 * datagram, 100 * datagram);
  const std::vector<bytes::Interval> lost{{0, 1}};
  bbr.on_packets_lost(
      {.now = start + 120ms, .newest_sent_at = start, .next = {100}, .packets = 1, .bytes = datagram, .numbers = lost});
  CHECK(bbr.cwnd() == 64 * datagram);
  CHECK(bbr.pacing_rate(rtt) == DataRate::bytes_per_second(64 * (datagram + overhead) * 10));
}

TEST_CASE("bbr: drops in the receiver's own socket are no word of the path that was remembered") {
  Bbr bbr{datagram, overhead, 100ms, Rng{1}, DataRate::bytes_per_second(20'000'000)};
  const TimePoint start = TimePoint{} + 1s;
  const std::uint64_t before = bbr.cwnd();
  bbr.on_packets_sent(start, {99}, 100 * datagram, 100 * datagram);
  bbr.on_receiver_drops(1);
  const std::vector<bytes::Interval> lost{{0, 1}};
  bbr.on_packets_lost(
      {.now = start + 120ms, .newest_sent_at = start, .next = {100}, .packets = 1, .bytes = datagram, .numbers = lost});
  CHECK(bbr.cwnd() == before);
}

TEST_CASE("bbr: knows what a path carries once it has filled it, and says whether it has") {
  Tube tube({.rtt = 40ms, .rate = 2'500'000});
  CHECK(!tube.bbr.estimate());
  tube.run(60ms);  // the first round trip's ACKs
  REQUIRE(tube.bbr.estimate());
  CHECK(!tube.bbr.estimate()->filled);
  tube.run(2s);
  const auto known = tube.bbr.estimate();
  REQUIRE(known);
  CHECK(known->filled);
  const std::uint64_t wire = 2'500'000 * (datagram + overhead) / datagram;
  CHECK(known->rate.bytes_per_second() >= wire / 100 * 97);
  CHECK(known->rate.bytes_per_second() <= wire / 100 * 103);
}

TEST_CASE("bbr: a path of a hundred windows is full within eight round trips") {
  Tube tube({.rate = 64 * datagram * 25 * 100, .queue = 64 * datagram * 100});
  tube.run(8 * 40ms);
  (void)tube.arrived_rate();
  tube.run(2 * 40ms);
  CHECK(tube.arrived_rate() >= tube.path.rate / 100 * 95);
}

TEST_CASE("bbr: fills the path and leaves no queue, at any random loss up to a fifth") {
  for (const std::uint64_t loss : {0U, 1U, 10U, 50U, 100U, 200U}) {
    CAPTURE(loss);
    Tube tube({.loss_per_mille = loss});
    tube.run(3s);
    (void)tube.arrived_rate();
    std::vector<std::uint64_t> queues;
    for (int i = 0; i < 1000; ++i) {
      tube.run(10ms);
      queues.push_back(tube.queued());
    }
    CHECK(tube.arrived_rate() >= tube.path.rate * (1000 - loss) / 1000 * 97 / 100);
    std::nth_element(queues.begin(), queues.begin() + 500, queues.end());
    CHECK(queues[500] <= 15'000);  // 15 % of a BDP
    CHECK(tube.bbr.loss_floor_ppm() <= loss * 1'200 + 3'000);
    CHECK(tube.bbr.min_rtt() <= 41ms);
  }
}

TEST_CASE("bbr: a silence of ten seconds destroys nothing of the model") {
  Tube tube({.loss_per_mille = 10});
  tube.run(3s);
  const std::uint64_t bandwidth = tube.bbr.bandwidth();
  tube.path.down = true;
  tube.run(10s);
  tube.path.down = false;
  tube.run(400ms);
  (void)tube.arrived_rate();
  tube.run(1s);
  CHECK(tube.arrived_rate() >= tube.path.rate / 10 * 9);
  CHECK(tube.bbr.bandwidth() >= bandwidth / 10 * 9);
}

TEST_CASE("bbr: what the receiver's socket drops is no loss of the path, but less is kept in flight") {
  Tube tube({.rate = 25'000'000, .queue = 1'000'000});
  tube.run(1s);
  const std::uint64_t bandwidth = tube.bbr.bandwidth();
  const std::uint64_t window = tube.bbr.cwnd();
  const bytes::Interval numbers{10'000, 10'050};
  tube.bbr.on_receiver_drops(50);
  tube.bbr.on_packets_lost({.now = tube.now,
                            .newest_sent_at = tube.now - 40ms,
                            .next = {1'000'000},
                            .packets = 50,
                            .bytes = 50 * datagram,
                            .numbers = std::span{&numbers, 1}});
  tube.run(50ms);
  CHECK(tube.bbr.loss_floor_ppm() == 0);
  CHECK(tube.bbr.bandwidth() >= bandwidth / 100 * 98);
  CHECK(tube.bbr.cwnd() < window);
  tube.run(5s);
  CHECK(tube.bbr.cwnd() >= window * 8 / 10);  // in CRUISE 15 % less than in the probe that was under way then
}

TEST_CASE("bbr: a sender with little to say forgets nothing of what the path carries") {
  Tube tube({});
  tube.run(3s);
  const std::uint64_t bandwidth = tube.bbr.bandwidth();
  for (int i = 0; i < 100; ++i) {
    tube.backlog = 5;
    tube.run(100ms);
  }
  CHECK(tube.bbr.bandwidth() >= bandwidth / 100 * 95);
}

TEST_CASE("bbr: marks on a trickle, of others' queue, do not end startup") {
  Tube tube({.marks_all = true});
  for (int i = 0; i < 20; ++i) {
    tube.backlog = 1;
    tube.run(100ms);
  }
  CHECK(tube.bbr.pacing_rate(tube.rtt).bits_per_second() >= 1'000'000);
  tube.path.marks_all = false;
  tube.backlog = ~std::uint64_t{0};
  tube.run(1s);
  (void)tube.arrived_rate();
  tube.run(1s);
  CHECK(tube.arrived_rate() >= tube.path.rate / 100 * 90);
}

TEST_CASE("bbr: a round trip that grew by a hundred milliseconds is found out within a second") {
  Tube tube({.rtt = 20ms});
  tube.run(3s);
  tube.path.rtt = 120ms;
  tube.run(1500ms);
  CHECK(tube.bbr.min_rtt() >= 119ms);
  (void)tube.arrived_rate();
  tube.run(1s);
  CHECK(tube.arrived_rate() >= tube.path.rate / 10 * 9);
}

/// A peer's claims of how long its ACKs waited may bring that about.
TEST_CASE("bbr: a smoothed round trip far below the shortest one is survived, whatever is lost") {
  Tube tube({.loss_per_mille = 50, .smoothed_rtt = 1ms});
  tube.run(10s);
  CHECK(tube.arrived_rate() > 0);
  CHECK(tube.bbr.cwnd() <= 8 * tube.path.rate * 40 / 1000);
}

TEST_CASE("bbr: a policer's drops are not taken for chance for ever") {
  // No queue at all behind a token bucket: what comes too fast is lost, and the round trip tells nothing.
  Tube tube({.queue = 2 * datagram});
  tube.run(20s);
  const std::uint64_t lost_before = tube.lost_by_queue;
  (void)tube.arrived_rate();
  tube.run(10s);
  CHECK(tube.arrived_rate() >= tube.path.rate / 100 * 75);
  const std::uint64_t lost = tube.lost_by_queue - lost_before;
  CHECK(lost * datagram <= tube.path.rate * 3 / 2);  // of ten seconds
}

}  // namespace penstock::engine::test
