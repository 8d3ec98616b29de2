#include "control/session/way_judge.h"

#include <doctest/doctest.h>

#include <vector>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;

/// A source on a path that can be told what to carry, looked at four times a second of virtual time.
class Path {
 public:
  explicit Path(DataWay first = DataWay::udp) : judge_(start, first) { look_.rtt = 20ms; }

  bool udp_works = true;
  bool carries_pings_alone = false;  // small datagrams get through, where full ones do not
  bool control_works = true;
  bool path_limited = true;
  std::uint64_t udp_rate = 50'000'000;
  std::uint64_t tcp_rate = 50'000'000;
  unsigned udp_loss_percent = 0;
  unsigned socket_drop_percent = 0;  // that the other end's socket dropped, of as many packets as we sent
  Duration heard_before_look{};      // an answer came so long before the look that sees it

  struct Turn {
    Duration at;
    DataWay way;
    SwitchReason reason;
  };
  std::vector<Turn> turns;
  std::uint64_t udp_pings = 0;

  void set_rtt(Duration rtt) { look_.rtt = rtt; }
  void set_sink_busy(bool busy) { look_.sink_busy = busy; }
  void set_path_known(bool known) { look_.path_known = known; }
  [[nodiscard]] Duration elapsed() const { return now_ - start; }
  [[nodiscard]] DataWay way() const { return judge_.way(); }
  void run(Duration time) {
    for (const TimePoint end = now_ + time; now_ < end;) step();
  }

  enum class Pings { lost, answered };
  /// UDP works for `time`, and from then on carries nothing, or pings alone. When that was.
  Duration die_after(Duration time, Pings pings = Pings::lost) {
    run(time);
    udp_works = false;
    carries_pings_alone = pings == Pings::answered;
    return elapsed();
  }

 private:
  static constexpr TimePoint start{100s};

  void step() {
    now_ += WayJudge::look_every;
    const bool by_udp = judge_.way() == DataWay::udp;
    if (by_udp && look_.path_known) {
      const std::uint64_t packets = udp_rate / 4 / 1400 + 1;
      look_.packets_sent += packets;
      look_.packets_lost += packets * udp_loss_percent / 100;
      look_.peer_socket_drops += packets * socket_drop_percent / 100;
    }
    const bool data = by_udp && look_.path_known;
    const bool data_answered = data && udp_works;
    const bool answered = data_answered || (look_.path_known && pinged_ && (udp_works || carries_pings_alone));
    const TimePoint heard = now_ - heard_before_look;
    if (data_answered) {
      look_.udp_bytes += udp_rate / 4;
      look_.data_answered_at = look_.data_unanswered_since = heard;
    } else if (!data) {
      look_.data_unanswered_since.reset();
    } else if (!look_.data_unanswered_since) {
      look_.data_unanswered_since = now_;
    }
    if (answered) {
      look_.answered_at = heard;
      look_.unanswered_since.reset();
      if (by_udp) look_.unanswered_since = heard;
    } else if ((by_udp || pinged_) && look_.path_known && !look_.unanswered_since) {
      look_.unanswered_since = now_;
    }
    if (!by_udp) look_.tcp_bytes += tcp_rate / 4;
    if (asked_at_ && control_works && now_ - *asked_at_ >= look_.rtt) {
      look_.control_answered = asked_at_;
      asked_at_.reset();
    }
    look_.now = now_;
    look_.path_limited = path_limited;
    const auto order = judge_.on_look(look_);
    if (order.ping_control && !asked_at_) asked_at_ = now_;
    pinged_ = order.ping_udp;
    udp_pings += order.ping_udp ? 1 : 0;
    if (order.turn) turns.push_back({elapsed(), order.turn->way, order.turn->reason});
  }

  TimePoint now_ = start;
  WayJudge judge_;
  WayLook look_;
  bool pinged_ = false;
  std::optional<TimePoint> asked_at_;
};

/// Of a path on which there was one.
Path::Turn only_turn(const Path& path) {
  REQUIRE(path.turns.size() == 1);
  return path.turns.front();
}

}  // namespace

TEST_CASE("way judge: UDP that never answers is left within three seconds") {
  for (const Duration rtt : {Duration{1ms}, Duration{20ms}, Duration{100ms}, Duration{250ms}, Duration{500ms}}) {
    Path path;
    path.udp_works = false;
    path.set_rtt(rtt);
    path.run(10s);
    const Path::Turn turn = only_turn(path);
    CHECK(turn.at <= 3s);
    CHECK(turn.way == DataWay::tcp);
    CHECK(turn.reason == SwitchReason::dark);
  }
}

TEST_CASE("way judge: a peer whose address was never heard counts as dark") {
  Path path;
  path.set_path_known(false);
  path.run(3s);
  CHECK(only_turn(path).reason == SwitchReason::dark);
}

TEST_CASE("way judge: UDP that dies midway is left within three seconds") {
  Path path;
  const Duration died = path.die_after(20s);
  path.run(10s);
  CHECK(only_turn(path).at - died <= 3s);
}

TEST_CASE("way judge: UDP is dark only after several pings, not after the loss of what left last") {
  Path path;
  path.die_after(10s);
  const auto before = path.udp_pings;
  path.run(2s);
  REQUIRE(path.turns.size() == 1);
  CHECK(path.udp_pings - before >= 4);

  // What left last is lost, and until it is repeated nothing but a ping can be answered.
  Path flight;
  flight.die_after(10s);
  flight.run(500ms);
  flight.carries_pings_alone = true;
  flight.run(1750ms);
  flight.udp_works = true;
  flight.run(1min);
  CHECK(flight.turns.empty());
}

TEST_CASE("way judge: answered pings hide data that never gets through for less than three seconds") {
  SUBCASE("from the start") {
    Path path;
    path.die_after(0s, Path::Pings::answered);
    path.run(20s);
    const Path::Turn turn = only_turn(path);
    CHECK(turn.at <= 3s);
    CHECK(turn.way == DataWay::tcp);
    CHECK(turn.reason == SwitchReason::dark);
  }
  SUBCASE("midway, as where a tunnel takes a part of each datagram") {
    Path path;
    const Duration died = path.die_after(10s, Path::Pings::answered);
    path.run(10s);
    CHECK(only_turn(path).at - died <= 3s);
  }
  SUBCASE("and each return, which pings allow, is later") {
    Path path;
    path.die_after(0s, Path::Pings::answered);
    path.run(1h);
    CHECK(path.way() == DataWay::tcp);
    CHECK(path.turns.size() <= 20);
  }
}

TEST_CASE("way judge: a sink that does not keep up gets three seconds for an answer, but no more") {
  Path path;
  path.set_sink_busy(true);
  const Duration died = path.die_after(10s);
  path.run(2s);
  CHECK(path.turns.empty());
  path.run(10s);
  CHECK(only_turn(path).at - died <= 3s);
}

TEST_CASE("way judge: bytes flow by TCP within three seconds of UDP's end, up to a quarter of a second of RTT") {
  for (const auto pings : {Path::Pings::lost, Path::Pings::answered}) {
    for (const Duration rtt : {Duration{1ms}, Duration{100ms}, Duration{125ms}, Duration{200ms}, Duration{250ms}}) {
      Path path;
      path.set_rtt(rtt);
      path.set_sink_busy(true);
      path.heard_before_look = WayJudge::look_every - 1ms;  // the worst: no look sees it sooner
      const Duration last_ack = path.die_after(10s, pings) - path.heard_before_look;
      path.run(10s);
      const Duration turned_after = only_turn(path).at - last_ack;
      // The last ACK was a round trip on its way, and so is the order to switch and its answer.
      CHECK(turned_after + 2 * rtt <= 3s);
      CHECK(turned_after >= 2s);
    }
  }
}

TEST_CASE("way judge: an outage of everything is not UDP's fault") {
  Path path;
  path.run(10s);
  path.udp_works = path.control_works = false;
  path.run(20s);
  CHECK(path.turns.empty());
  path.udp_works = path.control_works = true;
  path.run(20s);
  CHECK(path.turns.empty());
}

TEST_CASE("way judge: UDP that works is never left, whatever it loses by chance") {
  Path path;
  path.udp_loss_percent = 25;
  path.udp_rate = 10'000'000;
  path.run(10min);
  CHECK(path.turns.empty());
}

TEST_CASE("way judge: what comes back after half a minute is taken back, once it has answered thrice") {
  Path path;
  path.die_after(10s);
  path.run(35s);
  CHECK(path.way() == DataWay::tcp);
  path.udp_works = true;
  path.run(2min);
  REQUIRE(path.turns.size() == 2);
  CHECK(path.turns.back().way == DataWay::udp);
  CHECK(path.turns.back().reason == SwitchReason::back);
  CHECK(path.way() == DataWay::udp);
}

TEST_CASE("way judge: a path that opens and shuts again and again is asked ever more seldom") {
  Path path;
  path.udp_works = false;
  for (int minute = 0; minute < 60; ++minute) {
    path.run(58s);
    path.udp_works = path.way() == DataWay::tcp;  // answers pings, and dies under bytes
    path.run(2s);
    path.udp_works = false;
  }
  path.run(1s);
  CHECK(path.turns.size() <= 16);  // in an hour
  CHECK(path.udp_pings < 300);
}

TEST_CASE("way judge: dead UDP is asked with less than a hundred pings in an hour") {
  Path path;
  path.udp_works = false;
  path.run(1h);
  CHECK(path.turns.size() == 1);
  CHECK(path.udp_pings < 100);
}

TEST_CASE("way judge: a policer of UDP makes TCP be tried, and the better of the two is kept") {
  SUBCASE("TCP is better") {
    Path path;
    path.udp_rate = 200'000;
    path.udp_loss_percent = 30;
    path.run(25s);
    const Path::Turn turn = only_turn(path);
    CHECK(turn.reason == SwitchReason::poor);
    CHECK(turn.at < 8s);
    CHECK(path.way() == DataWay::tcp);
    path.run(10min);
    // Each return shows that it is as poor as before.
    CHECK(path.way() == DataWay::tcp);
    CHECK(path.turns.size() <= 13);
  }
  SUBCASE("TCP is worse: random loss") {
    Path path;
    path.udp_rate = 200'000;
    path.udp_loss_percent = 20;
    path.tcp_rate = 20'000;
    path.run(12s);
    REQUIRE(path.turns.size() == 2);
    CHECK(path.turns.back().way == DataWay::udp);
    CHECK(path.turns.back().reason == SwitchReason::better);
    path.run(1h);
    CHECK(path.turns.size() <= 24);  // twelve trials of five seconds
  }
  SUBCASE("midway: a quarter of what UDP did before") {
    Path path;
    path.run(20s);
    path.udp_rate = 5'000'000;
    path.udp_loss_percent = 50;
    path.run(10s);
    CHECK(only_turn(path).reason == SwitchReason::poor);
  }
  SUBCASE("but not where the other end's socket is what drops") {
    Path path;
    path.udp_rate = 200'000;
    path.udp_loss_percent = 18;
    path.socket_drop_percent = 18;
    path.run(1min);
    CHECK(path.turns.empty());
  }
  SUBCASE("also where that socket drops much more of what others send") {
    Path path;
    path.udp_rate = 200'000;
    path.udp_loss_percent = 30;
    path.socket_drop_percent = 10'000;
    path.run(10s);
    CHECK(only_turn(path).reason == SwitchReason::poor);
  }
  SUBCASE("but not when a disk is what holds the source back") {
    Path path;
    path.udp_rate = 200'000;
    path.udp_loss_percent = 30;
    path.path_limited = false;
    path.run(1min);
    CHECK(path.turns.empty());
  }
}

TEST_CASE("way judge: a session that begins by TCP tries UDP half a minute later") {
  Path path{DataWay::tcp};
  path.run(29s);
  CHECK(path.turns.empty());
  path.run(5s);
  CHECK(only_turn(path).way == DataWay::udp);
}

TEST_CASE("way judge: RTTs of seconds are waited for") {
  Path path;
  path.set_rtt(5s);
  path.udp_works = false;
  path.run(10s);
  CHECK(path.turns.empty());
  path.run(10s);
  CHECK(path.turns.size() == 1);
}

}  // namespace penstock::control
