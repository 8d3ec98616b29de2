#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <string_view>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "tests/sim/under_attack.h"

// A peer that has the keys and lies in its acknowledgements: whoever decides how much is sent, it is no more than the
// path's due.

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::Congestion;
using engine::TransportError;

constexpr Congestion controllers[] = {Congestion::fixed, Congestion::bbr, Congestion::cubic, Congestion::scavenger};
/// Those whose own decision it is.
constexpr Congestion deciders[] = {Congestion::bbr, Congestion::cubic, Congestion::scavenger};
constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();

TEST_CASE("lying ACKs: an honest acknowledgement is taken, so that the others are refused for what they say") {
  for (const Congestion congestion : controllers) {
    SenderUnderAttack victim{1, congestion};
    const bytes::IntervalSet sent = victim.send_for(5ms);
    REQUIRE(!sent.empty());
    victim.acknowledge(sent);
    CHECK(!victim.closed);
    CHECK(victim.sender.oldest_unacknowledged().value > 0);
  }
}

TEST_CASE("lying ACKs: acknowledging a number far beyond what was sent ends the session") {
  for (const Congestion congestion : controllers) {
    SenderUnderAttack victim{2, congestion};
    REQUIRE(!victim.send_for(5ms).empty());
    bytes::IntervalSet lie;
    lie.insert({1'000'000, 1'000'001});
    victim.acknowledge(lie);
    REQUIRE(victim.closed);
    CHECK(victim.closed->error == TransportError::acknowledged_unsent);
    CHECK(!victim.closed->by_peer);
  }
}

TEST_CASE("lying ACKs: acknowledging the next number already ends the session") {
  for (const Congestion congestion : controllers) {
    SenderUnderAttack victim{3, congestion};
    const bytes::IntervalSet sent = victim.send_for(5ms);
    REQUIRE(!sent.empty());
    bytes::IntervalSet lie;
    lie.insert({sent.back().end, sent.back().end + 1});
    victim.acknowledge(lie);
    REQUIRE(victim.closed);
    CHECK(victim.closed->error == TransportError::acknowledged_unsent);
  }
}

TEST_CASE("lying ACKs: an optimistic acknowledger trips over a skipped number, however fast he makes us") {
  for (const Congestion congestion : controllers) {
    CAPTURE(static_cast<int>(congestion));
    SenderUnderAttack victim{4, congestion};
    bytes::IntervalSet sent;
    for (int i = 0; i < 2000 && !victim.closed; ++i) {
      const bytes::IntervalSet more = victim.send_for(2ms);
      for (const bytes::Interval& run : more.intervals()) sent.insert(run);
      if (sent.empty()) continue;
      bytes::IntervalSet lie;
      lie.insert({0, sent.back().end});  // claims all of them, seen or not
      victim.acknowledge(lie);
    }
    CHECK(sent.interval_count() > 1);  // a number was skipped
    REQUIRE(victim.closed);
    CHECK(victim.closed->error == TransportError::acknowledged_unsent);
    CHECK(sent.size() <= 4096 + 2048);  // the longest way to a skipped number, and what left in two milliseconds
  }
}

/// A path of 20 ms whose bottleneck lets ten packets out a millisecond and holds a hundred; the peer acknowledges what
/// arrives, each millisecond, and lies beside it.
class NarrowPath {
 public:
  NarrowPath(std::uint64_t seed, Congestion congestion) : victim_(seed, congestion, 64 * MiB) {}

  /// `lie(fields, in_flight)` changes an honest ACK's fields.
  template <class Lie>
  void run(Duration length, Lie lie) {
    for (Duration passed{0}; passed < length && !victim_.closed; passed += 1ms, ++now_) {
      for (const bytes::Interval& numbers : victim_.send_for(1ms, turn).intervals())
        for (std::uint64_t n = numbers.begin; n != numbers.end; ++n) take(n);
      for (int i = 0; i < rate && !queue_.empty(); ++i, queue_.pop_front())
        under_way_.push_back({queue_.front(), now_ + delay});
      bool arrived = false;
      for (; !under_way_.empty() && under_way_.front().at <= now_; under_way_.pop_front(), arrived = true)
        arrived_.insert({under_way_.front().number, under_way_.front().number + 1});
      if (!arrived) continue;
      while (arrived_.interval_count() > 200) (void)arrived_.pop_front();
      engine::AckFields fields{.credit = {victim_.bytes(), {victim_.bytes()}}};
      lie(fields, victim_.sender.stats().bytes_in_flight / engine::udp_payload_min);
      victim_.acknowledge(arrived_, fields);
      cwnd_most_ = std::max(cwnd_most_, victim_.sender.stats().cwnd);
    }
  }

  [[nodiscard]] SenderUnderAttack& victim() { return victim_; }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  [[nodiscard]] std::uint64_t cwnd_most() const { return cwnd_most_; }

 private:
  void take(std::uint64_t number) {
    ++sent_;
    if (queue_.size() < room)
      queue_.push_back(number);
    else
      ++dropped_;
  }
  struct Packet {
    std::uint64_t number;
    std::uint64_t at;
  };
  static constexpr Duration turn = 125us;  // seldomer, and the pacer's bucket runs over: the sender is the bottleneck
  static constexpr std::uint64_t delay = 20;
  static constexpr int rate = 10;
  static constexpr std::size_t room = 100;

  SenderUnderAttack victim_;
  std::uint64_t now_ = 0;
  std::deque<std::uint64_t> queue_;
  std::deque<Packet> under_way_;
  bytes::IntervalSet arrived_;
  std::uint64_t sent_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t cwnd_most_ = 0;
};

struct Amount {
  std::uint64_t sent;
  std::uint64_t dropped;
  std::uint64_t cwnd_most;
};

template <class Lie>
Amount amount(Congestion congestion, Lie lie) {
  NarrowPath path{5, congestion};
  path.run(3s, lie);
  CHECK(!path.victim().closed);
  const auto stats = path.victim().sender.stats();
  CHECK(stats.rtt_smoothed >= stats.rtt_min);
  CHECK(path.victim().sender.frontier().value <= path.victim().bytes());
  return {path.sent(), path.dropped(), path.cwnd_most()};
}

/// A quarter more than an honest peer has us send, and no window beyond twice the largest. Who goes by the delay of
/// ACKs alone, and is told that none of it is the path's, takes loss for chance, up to a quarter of all (loss_floor.h).
template <class Lie>
void check_gains_little(std::string_view what, Lie lie) {
  CAPTURE(what);
  for (const Congestion congestion : deciders) {
    CAPTURE(static_cast<int>(congestion));
    const Amount honest = amount(congestion, [](engine::AckFields&, std::uint64_t) {});
    const Amount lied_to = amount(congestion, lie);  // a copy: what it counts begins anew
    CHECK(lied_to.sent <= honest.sent * (congestion == Congestion::scavenger ? 6 : 5) / 4);
    CHECK(lied_to.cwnd_most <= 2 * honest.cwnd_most);
  }
}

TEST_CASE("lying ACKs: whatever a peer says of its delay, its socket and its credit, it is sent little more") {
  check_gains_little("an ACK that waited for an hour",
                     [](engine::AckFields& fields, std::uint64_t) { fields.delay = std::chrono::microseconds{most}; });
  check_gains_little("a delay that explains any queue",
                     [](engine::AckFields& fields, std::uint64_t) { fields.delay = 25ms; });
  check_gains_little("drops without end, at once",
                     [](engine::AckFields& fields, std::uint64_t) { fields.socket_drops = most; });
  check_gains_little("drops without end, bit by bit",
                     [drops = 0U](engine::AckFields& fields, std::uint64_t in_flight) mutable {
                       fields.socket_drops = drops += static_cast<std::uint32_t>(in_flight);
                     });
  check_gains_little("credit without end", [](engine::AckFields& fields, std::uint64_t) {
    fields.credit = {std::numeric_limits<std::uint64_t>::max(), {transfer_space_max}};
  });
  check_gains_little("refusals without end, at once",
                     [](engine::AckFields& fields, std::uint64_t) { fields.sink_refusals = most; });
}

TEST_CASE("lying ACKs: a peer that calls every loss a refusal does not keep cubic from giving way") {
  for (const Congestion congestion : deciders) {
    CAPTURE(static_cast<int>(congestion));
    NarrowPath path{6, congestion};
    path.run(1s, [](engine::AckFields& fields, std::uint64_t) { fields.sink_refusals = most; });
    const std::uint64_t before = path.dropped();
    path.run(1s, [](engine::AckFields& fields, std::uint64_t) { fields.sink_refusals = most; });
    CHECK(path.dropped() - before <= 1'000);  // of ten thousand
  }
}

TEST_CASE("lying ACKs: refusals beyond what is on its way are no word of data that arrived") {
  SenderUnderAttack victim{7, Congestion::bbr};
  const bytes::IntervalSet sent = victim.send_for(30ms);
  bytes::IntervalSet first;
  first.insert({sent.front().begin, sent.front().begin + 1});
  engine::AckFields lie{.credit = {victim.bytes(), {victim.bytes()}}};
  victim.acknowledge(first, lie);
  (void)victim.send_for(10ms);  // the window is full again
  lie.sink_refusals = 1'000'000;
  victim.acknowledge(first, lie);
  const auto told = victim.sender.stats().data_answered_at;
  REQUIRE(told);
  for (int i = 0; i < 5; ++i) {
    REQUIRE(victim.send_for(1ms).empty());
    lie.sink_refusals += 1'000'000;
    victim.acknowledge(first, lie);
  }
  CHECK(victim.sender.stats().data_answered_at == told);
}

}  // namespace
}  // namespace penstock::sim
