#include "dataplane/io/worker.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "dataplane/io/bound_ports.h"
#include "dataplane/io/lane.h"
#include "dataplane/io/monotonic_now.h"
#include "dataplane/io/stray_exchange.h"
#include "dataplane/io/worker_loop.h"

namespace penstock::io {
namespace {

// Tuning: the kernel's default of 50 us would round every pacing deadline up by the time of a whole batch at 10 Gbit/s.
constexpr unsigned long timer_slack_ns = 1000;
constexpr std::size_t thread_name_max = 15;  // pthread_setname_np(3)

void prepare_thread(const std::string& name) {
  // Neither is needed to be right: a failure costs a name in ps, or some microseconds of pacing.
  ::pthread_setname_np(::pthread_self(), name.substr(0, thread_name_max).c_str());
  ::prctl(PR_SET_TIMERSLACK, timer_slack_ns);
}

}  // namespace

WorkerCounters& WorkerCounters::operator+=(const WorkerCounters& other) {
  datagrams_received += other.datagrams_received;
  receive_batches += other.receive_batches;
  datagrams_unknown += other.datagrams_unknown;
  datagrams_early += other.datagrams_early;
  strays_passed_on += other.strays_passed_on;
  strays_dropped += other.strays_dropped;
  datagrams_short += other.datagrams_short;
  socket_drops += other.socket_drops;
  datagrams_sent += other.datagrams_sent;
  send_batches += other.send_batches;
  datagrams_refused += other.datagrams_refused;
  send_blocked += other.send_blocked;
  gso_fallbacks += other.gso_fallbacks;
  timers_overdue += other.timers_overdue;
  gso = gso && other.gso;
  gro = gro && other.gro;
  return *this;
}

Result<std::unique_ptr<Worker>> Worker::create(const WorkerConfig& config) {
  const std::vector<Endpoint> any{Endpoint{}};
  auto ports = bind_ports(config.listen.empty() ? any : config.listen, config.bind_companion, config.socket, 1,
                          UdpSteering::off);
  if (!ports.ok()) return std::move(ports).error();
  auto worker = prepare(config, std::move(ports->of_worker.front()), {});
  if (worker.ok()) worker.value()->start();
  return worker;
}

Result<std::unique_ptr<Worker>> Worker::prepare(const WorkerConfig& config, std::vector<UdpSocket> sockets,
                                                const PlaceInGroup& place) {
  auto loop = WorkerLoop::create(config, std::move(sockets), place);
  if (!loop.ok()) return std::move(loop).error();
  if (place.strays != nullptr) place.strays->join(place.place, **loop);
  return std::unique_ptr<Worker>{new Worker{std::move(loop).value(), config, place}};
}

Worker::Worker(std::unique_ptr<WorkerLoop> loop, const WorkerConfig& config, const PlaceInGroup& place)
    : loop_(std::move(loop)),
      place_(place),
      thread_name_(config.thread_name),
      local_endpoints_(loop_->local_endpoints()),
      fast_paths_(loop_->fast_paths(config)),
      stats_interval_(config.stats_interval),
      quiet_after_(config.quiet_after) {}

Worker::~Worker() { stop(); }

void Worker::start() {
  PENSTOCK_CHECK(!thread_.joinable());
  thread_ = std::thread{[running = loop_.get(), name = thread_name_] {
    prepare_thread(name);
    running->run();
  }};
}

void Worker::stop() {
  PENSTOCK_CHECK(thread_.get_id() != std::this_thread::get_id());
  loop_->inbox().close();
  if (thread_.joinable()) thread_.join();
}

const std::vector<Endpoint>& Worker::local_endpoints() const { return local_endpoints_; }

WorkerCounters Worker::counters() const { return loop_->counters(); }

void Worker::add_sender(ConnectionId own, engine::Sender sender, std::shared_ptr<engine::SourceWindow> window,
                        std::optional<Endpoint> peer, std::shared_ptr<LaneObserver> observer) {
  add(std::make_shared<SenderLane>(own, std::move(sender), std::move(window), std::move(observer),
                                   Lane::Timing{stats_interval_, quiet_after_}),
      std::move(peer));
}

void Worker::add_receiver(ConnectionId own, engine::Receiver receiver, std::shared_ptr<engine::SinkWindow> window,
                          std::optional<Endpoint> peer, std::shared_ptr<LaneObserver> observer) {
  add(std::make_shared<ReceiverLane>(own, std::move(receiver), std::move(window), std::move(observer),
                                     Lane::Timing{stats_interval_, quiet_after_}),
      std::move(peer));
}

void Worker::add(std::shared_ptr<Lane> lane, std::optional<Endpoint> peer) {
  // Now, and not on the worker's thread: a sibling may meet the lane's first datagram before we come to add it, and
  // what it hands on queues up behind.
  if (place_.strays != nullptr) place_.strays->on_lane_added(lane->id(), place_.place);
  post([loop = loop_.get(), lane = std::move(lane), peer = std::move(peer)]() mutable {
    loop->add(std::move(lane), peer);
  });
}

void Worker::await_lane(ConnectionId own, std::size_t bytes_max) {
  if (place_.strays != nullptr) place_.strays->on_lane_added(own, place_.place);
  post([loop = loop_.get(), own, bytes_max] { loop->await_lane(own, bytes_max); });
}

void Worker::forget_awaited(ConnectionId own) {
  post([loop = loop_.get(), own] { loop->forget_awaited(own); });
}

void Worker::with_sender(ConnectionId own, std::function<void(engine::Sender&, TimePoint now)> act) {
  post([loop = loop_.get(), own, act = std::move(act)] {
    Lane* const lane = loop->find(own);
    if (lane == nullptr || lane->sender() == nullptr) return;
    act(*lane->sender(), monotonic_now());
    lane->forget_served();
    loop->make_runnable(*lane);
  });
}

void Worker::with_receiver(ConnectionId own, std::function<void(engine::Receiver&, TimePoint now)> act) {
  post([loop = loop_.get(), own, act = std::move(act)] {
    Lane* const lane = loop->find(own);
    if (lane == nullptr || lane->receiver() == nullptr) return;
    act(*lane->receiver(), monotonic_now());
    lane->forget_served();
    loop->make_runnable(*lane);
  });
}

void Worker::set_outlet(ConnectionId own, std::shared_ptr<StreamOutlet> outlet) {
  post([loop = loop_.get(), own, outlet = std::move(outlet)]() mutable {
    auto* const lane = dynamic_cast<SenderLane*>(loop->find(own));
    if (lane == nullptr) return;
    lane->set_outlet(std::move(outlet));
    lane->forget_served();
    loop->make_runnable(*lane);
  });
}

void Worker::hand_stream(ConnectionId own, TransferOffset at, std::string payload, std::function<void()> done) {
  // std::function wants copies; the payload is moved in once and never copied.
  auto bytes = std::make_shared<std::string>(std::move(payload));
  post([loop = loop_.get(), own, at, bytes = std::move(bytes), done = std::move(done)] {
    if (auto* const lane = dynamic_cast<ReceiverLane*>(loop->find(own)); lane != nullptr) {
      const TimePoint now = monotonic_now();
      lane->handle_stream(now, at, bytes::as_bytes(*bytes));
      lane->forget_served();
      loop->share_stream(now, *lane, bytes->size());
      loop->make_runnable(*lane);
    }
    done();
  });
}

void Worker::ask_holding(ConnectionId own, std::size_t ranges_max,
                         std::function<void(const engine::Receiver::Holding&)> answer) {
  post([loop = loop_.get(), own, ranges_max, answer = std::move(answer)] {
    auto* const lane = dynamic_cast<ReceiverLane*>(loop->find(own));
    if (lane != nullptr) answer(lane->receiver()->holding(lane->window(), ranges_max));
  });
}

void Worker::remove(ConnectionId own, std::function<void()> done) {
  post([loop = loop_.get(), own, done = std::move(done)] {
    loop->remove(own);
    if (done) done();
  });
}

void Worker::post(std::function<void()> act) { loop_->inbox().post(std::move(act)); }

}  // namespace penstock::io
