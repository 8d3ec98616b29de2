#include "control/session/lane_team.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <vector>

#include "common/random.h"
#include "control/transfer/message_codec.h"
#include "dataplane/engine/blank_windows.h"

namespace penstock::control {
namespace {

constexpr std::size_t lanes = 3;
constexpr TransferOffset manifest_end{256 * MiB};

engine::LaneKeys keys(std::uint64_t own) {
  const auto secret = [](unsigned fill) {
    crypto::SecretArray<crypto::traffic_secret_size> bytes;
    std::fill(bytes.writable().begin(), bytes.writable().end(), static_cast<std::byte>(fill));
    return crypto::TrafficSecret(std::move(bytes));
  };
  return {.backend = &crypto::aead_backend_for(crypto::AeadAlgorithm::aes_256_gcm),
          .send_secret = secret(1),
          .receive_secret = secret(2),
          .peer_id = ConnectionId{own + 100},
          .own_id = ConnectionId{own}};
}

/// Of a sink a team needs nothing but to tell it what a lane gave up.
class DeafSink final : public storage::Sink {
 public:
  engine::SinkWindow& window() override { return window_; }
  void on_given_up(std::size_t lane, TransferRange range) override {
    const std::lock_guard lock{mutex_};
    given_up_.emplace_back(lane, range);
  }
  void on_entries(std::uint64_t /*first*/, std::vector<storage::ManifestEntry> /*entries*/) override {}
  void on_manifest_end(std::uint64_t /*entries*/, std::uint64_t /*bytes*/) override {}
  void on_digests(storage::DigestRun /*run*/) override {}
  void fail_entry(std::uint64_t /*index*/, Error /*error*/) override {}
  void audit() override {}
  void commit() override {}
  void checkpoint(std::function<void()> done) override { done(); }
  void close() override {}
  [[nodiscard]] storage::SinkProgress progress() const override { return {}; }

  [[nodiscard]] std::vector<std::pair<std::size_t, TransferRange>> given_up() {
    const std::lock_guard lock{mutex_};
    return given_up_;
  }

 private:
  engine::DiscardSink window_;
  std::mutex mutex_;
  std::vector<std::pair<std::size_t, TransferRange>> given_up_;
};

/// The sink's team of three lanes, each on a worker of its own. The team is called, and tells its host, on home alone.
class Scene final : public LaneTeamHost {
 public:
  Scene() {
    std::vector<LaneRef> refs;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      auto worker = io::Worker::create({});
      REQUIRE(worker);
      workers_.push_back(std::move(*worker));
      refs.push_back({workers_.back().get(), ConnectionId{lane + 1}});
    }
    team_ = std::make_shared<LaneTeam>(refs, *this);
    team_->start(nullptr, sink);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      if (lane > 0) ears.push_back(team_->make_ear(lane));
      workers_[lane]->add_receiver(
          refs[lane].own, engine::Receiver{{.place = {.lane = lane, .lanes = lanes}}, keys(lane + 1), Rng{1}},
          std::make_shared<engine::DiscardSink>(), std::nullopt, lane > 0 ? ears.back() : std::make_shared<Nobody>());
    }
    at_home([](LaneTeam& team) {
      team.tell_receivers(LaneTeam::Reopens::yes,
                          [](engine::Receiver& receiver, TimePoint) { receiver.expect(manifest_end); });
    });
    settle();
  }
  ~Scene() override {
    // A lane's last word goes home, so home goes last.
    std::promise<void> gone;
    at_home([&](LaneTeam& team) {
      team.retire();
      team.let_go(false, [&] { gone.set_value(); });
    });
    gone.get_future().wait();
    while (!workers_.empty()) workers_.pop_back();
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  /// Returns when it has been done.
  template <class Act>
  void at_home(Act act) {
    std::promise<void> done;
    workers_.front()->post([&] {
      act(*team_);
      done.set_value();
    });
    done.get_future().wait();
  }
  /// Returns when whatever the lanes and home have to say to each other has been said: no chain is longer than this.
  void settle() {
    for (int round = 0; round < 8; ++round) {
      for (auto& worker : workers_) {
        std::promise<void> done;
        worker->post([&] { done.set_value(); });
        done.get_future().wait();
      }
    }
  }
  void move(std::uint64_t number, engine::ExtentMove extents) {
    at_home([&](LaneTeam& team) { team.on_move({number, extents}); });
    settle();
  }
  /// Says on the worker of lane `lane` > 0 what its engine would say there.
  template <class Event>
  void say(std::size_t lane, const Event& event) {
    std::promise<void> done;
    workers_[lane]->post([&] {
      ears[lane - 1]->on_event(event);
      done.set_value();
    });
    done.get_future().wait();
    settle();
  }
  void drain(std::size_t lane, std::uint64_t end) {
    if (lane == 0) return at_home([&](LaneTeam& team) { team.on_drained({end}); });
    say(lane, engine::ReceiverEvent{engine::Drained{{end}}});
  }

  void on_team_drained(TransferOffset end) override { drained.push_back(end.value); }
  void on_team_heard() override { ++heard; }
  void on_team_stats(const engine::LaneStats& stats) override { last_stats = stats; }
  void on_team_stream_ack(std::size_t lane, const engine::StreamAck& /*ack*/) override { stream_acks.push_back(lane); }
  void on_team_proposes(std::size_t lane, const engine::RepairRatio& ratio) override {
    proposed.emplace_back(lane, ratio);
  }
  void send(proto::Envelope envelope) override { sent.push_back(std::move(envelope)); }
  void on_team_failed(Error error) override { failed.push_back(std::move(error)); }

  // Written on home; read after at_home or settle.
  std::vector<std::uint64_t> drained;
  std::size_t heard = 0;
  engine::LaneStats last_stats;
  std::vector<std::size_t> stream_acks;
  std::vector<std::pair<std::size_t, engine::RepairRatio>> proposed;
  std::vector<proto::Envelope> sent;
  std::vector<Error> failed;

  const std::shared_ptr<DeafSink> sink = std::make_shared<DeafSink>();
  std::vector<std::shared_ptr<io::LaneObserver>> ears;  // of lane 1 and on

 private:
  struct Nobody final : io::LaneObserver {};

  std::vector<std::unique_ptr<io::Worker>> workers_;
  std::shared_ptr<LaneTeam> team_;
};

TEST_CASE("lane team: every lane's wish for repair symbols is passed on, and done when its worker has heard") {
  Scene scene;
  const engine::RepairRatio ratio{.sources = 128, .repairs = 9, .loss_ppm = 5, .window = 7};
  scene.say(2, engine::SenderEvent{engine::RepairProposal{ratio}});
  REQUIRE(scene.proposed.size() == 1);
  CHECK(scene.proposed[0] == std::pair{std::size_t{2}, ratio});
  std::vector<std::size_t> done;
  scene.at_home([&](LaneTeam& team) {
    for (const std::size_t lane : {2U, 0U})
      CHECK(team.on_repair_proposed(lane, ratio, [&, lane] { done.push_back(lane); }));
    CHECK_FALSE(team.on_repair_proposed(lanes, ratio, [&] { done.push_back(lanes); }));
  });
  scene.settle();
  std::ranges::sort(done);
  CHECK(done == std::vector<std::size_t>{0, 2});
}

TEST_CASE("lane team: a moved extent is given up, adopted, and then admitted to the peer") {
  Scene scene;
  scene.move(1, {.from = 0, .to = 1, .extent = 3});  // extent 3 is lane 0's: every third
  CHECK(scene.failed.empty());
  REQUIRE(scene.sent.size() == 1);
  CHECK(scene.sent[0].extent_moved().number() == 1);
  const auto given_up = scene.sink->given_up();
  REQUIRE(given_up.size() == 1);
  CHECK(given_up[0].first == 0);
  const std::uint64_t size = engine::ExtentMap{lanes}.extent_size();
  CHECK(given_up[0].second == TransferRange{{3 * size}, {4 * size}});
  // It can go on from where it is now, and from nowhere else.
  scene.move(2, {.from = 1, .to = 2, .extent = 3});
  CHECK(scene.failed.empty());
  CHECK(scene.sent.size() == 2);
  scene.move(3, {.from = 0, .to = 1, .extent = 3});
  CHECK(scene.failed.size() == 1);
}

TEST_CASE("lane team: moves that make no sense end the session, and nothing is admitted") {
  const std::vector<engine::NumberedMove> moves{
      {.number = 2, .move = {.from = 0, .to = 1, .extent = 3}},      // not the next number
      {.number = 1, .move = {.from = 0, .to = 0, .extent = 3}},      // nowhere
      {.number = 1, .move = {.from = 0, .to = lanes, .extent = 3}},  // to a lane that is not there
      {.number = 1, .move = {.from = lanes, .to = 0, .extent = 3}},  // from one
      {.number = 1, .move = {.from = 1, .to = 2, .extent = 3}},      // an extent that the lane has not
  };
  for (const auto& move : moves) {
    CAPTURE(move.number);
    CAPTURE(move.move.from);
    CAPTURE(move.move.to);
    Scene scene;
    scene.move(move.number, move.move);
    REQUIRE(scene.failed.size() == 1);
    CHECK(scene.failed[0].code == ErrorCode::INTERNAL);
    CHECK(scene.failed[0].side == ErrorSide::remote);
    CHECK(scene.sent.empty());
  }
}

TEST_CASE("lane team: an answer to a move that was never said ends the session") {
  Scene scene;
  scene.at_home([](LaneTeam& team) { team.on_admitted(1); });
  CHECK(scene.failed.size() == 1);
}

TEST_CASE("lane team: it is drained when all of its lanes are, as far as the least of them") {
  Scene scene;
  scene.drain(0, 900);
  scene.drain(2, 700);
  CHECK(scene.drained.empty());
  scene.drain(1, 800);
  CHECK(scene.drained == std::vector<std::uint64_t>{700});
}

TEST_CASE("lane team: a lane that was given work since it said that it is drained has not said so") {
  Scene scene;
  scene.drain(0, 900);
  scene.drain(1, 900);
  scene.at_home([](LaneTeam& team) {
    team.tell_receivers(LaneTeam::Reopens::yes, [](engine::Receiver& receiver, TimePoint) {
      receiver.forget({{0}, {10}});
    });
  });
  scene.settle();
  scene.drain(2, 900);
  CHECK(scene.drained.empty());
  scene.drain(0, 900);
  scene.drain(1, 900);
  CHECK(scene.drained == std::vector<std::uint64_t>{900});
}

TEST_CASE("lane team: the host hears of all lanes together, and which stream is meant") {
  Scene scene;
  engine::LaneStats stats;
  stats.payload_bytes_received = 10;
  scene.at_home([&](LaneTeam& team) { team.on_stats(stats); });
  scene.ears[0]->on_stats(stats);
  scene.ears[1]->on_event(engine::ReceiverEvent{engine::PeerHeard{}});
  scene.ears[1]->on_stream_ack({});
  scene.settle();
  CHECK(scene.last_stats.payload_bytes_received == 20);
  CHECK(scene.heard == 1);
  CHECK(scene.stream_acks == std::vector<std::size_t>{2});
}

TEST_CASE("lane team: lanes that share a socket at the other end tell its drops once") {
  Scene scene;
  engine::LaneStats stats;
  stats.peer_socket_drops = 100;
  scene.at_home([&](LaneTeam& team) { team.on_stats(stats); });
  scene.ears[0]->on_stats(stats);
  stats.peer_socket_drops = 120;  // a later word
  scene.ears[1]->on_stats(stats);
  scene.settle();
  CHECK(scene.last_stats.peer_socket_drops == 120);
}

TEST_CASE("lane team: data is answered where any lane's is, and waits since the first lane's does") {
  using namespace std::chrono_literals;
  Scene scene;
  engine::LaneStats stats;
  stats.data_answered_at = TimePoint{3s};
  stats.data_unanswered_since = TimePoint{3s};
  scene.at_home([&](LaneTeam& team) { team.on_stats(stats); });
  stats.data_answered_at = TimePoint{5s};
  stats.data_unanswered_since.reset();
  scene.ears[0]->on_stats(stats);
  stats.data_answered_at.reset();
  stats.data_unanswered_since = TimePoint{4s};
  scene.ears[1]->on_stats(stats);
  scene.settle();
  CHECK(scene.last_stats.data_answered_at == TimePoint{5s});
  CHECK(scene.last_stats.data_unanswered_since == TimePoint{3s});
}

TEST_CASE("lane team: the tail is that of all lanes, and unknown where one died or went by the stream last") {
  using namespace std::chrono_literals;
  Scene scene;
  const auto say_tails = [&] {
    engine::LaneStats stats;
    stats.last_new_sent_at = TimePoint{10s};
    stats.all_acked_at = TimePoint{12s};
    scene.at_home([&](LaneTeam& team) { team.on_stats(stats); });
    stats.last_new_sent_at = TimePoint{11s};
    stats.all_acked_at = TimePoint{13s};
    scene.ears[0]->on_stats(stats);
    scene.settle();
  };
  say_tails();
  REQUIRE(engine::tail_of(scene.last_stats));
  CHECK(*engine::tail_of(scene.last_stats) == 2s);
  SUBCASE("the stream") {
    engine::LaneStats by_stream;
    by_stream.stream_bytes = 1;
    scene.ears[1]->on_stats(by_stream);
    scene.settle();
  }
  SUBCASE("a dead lane") {
    scene.move(1, {.from = 2, .to = 1, .extent = std::nullopt});
    say_tails();
  }
  CHECK(!engine::tail_of(scene.last_stats));
}

TEST_CASE("lane team: a retired team calls its host no more") {
  Scene scene;
  scene.at_home([](LaneTeam& team) { team.retire(); });
  scene.move(9, {.from = 0, .to = 0, .extent = 3});
  scene.drain(0, 1);
  scene.drain(1, 1);
  scene.drain(2, 1);
  scene.ears[0]->on_event(engine::ReceiverEvent{engine::PeerHeard{}});
  scene.settle();
  CHECK(scene.failed.empty());
  CHECK(scene.drained.empty());
  CHECK(scene.heard == 0);
}

TEST_CASE("lane team: letting go is done once, when the last lane has gone") {
  Scene scene;
  std::promise<void> gone;
  scene.at_home([&](LaneTeam& team) { team.let_go(false, [&] { gone.set_value(); }); });
  gone.get_future().wait();  // a second call would throw
  scene.settle();
}

}  // namespace
}  // namespace penstock::control
