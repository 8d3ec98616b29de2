#include "dataplane/io/worker_loop.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/io/monotonic_now.h"

namespace penstock::io {
namespace {

// Specification: the shortest datagram we know, and where its connection id lies (PROTOCOL section 2).
constexpr std::size_t datagram_size_min = engine::frames_header_size + crypto::aead_tag_size;
constexpr std::size_t connection_id_offset = 1;

// Tuning: how long an engine is left alone that asks for a time-out it was just given. Only a fault of ours gets here;
// it then costs some wake-ups instead of a whole core.
constexpr Duration overdue_pause = std::chrono::microseconds{100};

ConnectionId connection_id_of(std::span<const std::byte> datagram) {
  std::uint64_t value = 0;
  for (const std::byte byte : datagram.subspan(connection_id_offset, sizeof value)) {
    value = value << 8 | std::to_integer<std::uint64_t>(byte);
  }
  return {value};
}

std::size_t bytes_of(std::span<const ReceivedRun> runs) {
  std::size_t bytes = 0;
  for (const ReceivedRun& run : runs) bytes += run.bytes.size();
  return bytes;
}

}  // namespace

Result<std::unique_ptr<WorkerLoop>> WorkerLoop::create(const WorkerConfig& config, std::vector<UdpSocket> sockets,
                                                       const PlaceInGroup& place) {
  std::unique_ptr<WorkerLoop> loop{new WorkerLoop{config, place}};
  loop->epoll_ = UniqueFd{::epoll_create1(EPOLL_CLOEXEC)};
  if (!loop->epoll_) return error_from_errno(errno, "create an epoll instance", "");
  for (UdpSocket& socket : sockets) loop->ports_.push_back(std::make_unique<Port>(std::move(socket)));
  for (std::size_t i = 0; i < loop->ports_.size(); ++i) {
    loop->ports_[i]->watched = EPOLLIN;
    loop->watch(loop->ports_[i]->socket.fd(), EPOLLIN, i, EPOLL_CTL_ADD);
  }
  loop->watch(loop->inbox_.fd(), EPOLLIN, loop->ports_.size(), EPOLL_CTL_ADD);
  loop->events_.resize(loop->ports_.size() + 1);
  loop->publish_counters();
  return loop;
}

WorkerLoop::WorkerLoop(const WorkerConfig& config, const PlaceInGroup& place)
    : inbox_(config.inbox_max), place_(place), wait_(config.busy_poll) {}
WorkerLoop::~WorkerLoop() = default;

WorkerCounters WorkerLoop::counters() const {
  const std::lock_guard lock{published_mutex_};
  return published_;
}

std::vector<Endpoint> WorkerLoop::local_endpoints() const {
  std::vector<Endpoint> out;
  for (const auto& port : ports_) out.push_back(port->socket.local());
  return out;
}

FastPaths WorkerLoop::fast_paths(const WorkerConfig& config) const {
  FastPaths paths{.gso = true,
                  .gro = true,
                  .receive_buffer_asked = config.socket.receive_buffer,
                  .receive_buffer = config.socket.receive_buffer,
                  .send_buffer_asked = config.socket.send_buffer,
                  .send_buffer = config.socket.send_buffer,
                  .busy_poll = config.busy_poll};
  for (const auto& port : ports_) {
    paths.gso = paths.gso && port->socket.gso();
    paths.gro = paths.gro && port->socket.gro();
    // The kernel reports twice what it was asked for, its bookkeeping included (socket(7)).
    paths.receive_buffer = std::min(paths.receive_buffer, port->socket.receive_buffer() / 2);
    paths.send_buffer = std::min(paths.send_buffer, port->socket.send_buffer() / 2);
  }
  return paths;
}

void WorkerLoop::run() {
  inbox_.adopt();
  // Asked before the closures are taken: what came in before the closing is carried out.
  for (bool closing = inbox_.closed(); !closing; closing = inbox_.closed()) {
    wait_and_react();
    serve_deadlines();
    serve_lanes();
    flush_all();
    publish_counters();
  }
  run_tasks();
  serve_lanes();
  flush_all();
  while (!lanes_.empty()) let_go(*lanes_.begin()->second);
  publish_counters();
}

void WorkerLoop::add(std::shared_ptr<Lane> lane, const std::optional<Endpoint>& peer) {
  Lane& added = *lane;
  PENSTOCK_CHECK(lanes_.emplace(added.id().value, std::move(lane)).second);
  if (peer) {
    const auto port =
        std::find_if(ports_.begin(), ports_.end(), [&](const auto& p) { return p->socket.reaches(*peer); });
    // The peer is where we were told it is; from which of our addresses is the kernel's to choose, as routes change.
    if (port != ports_.end()) added.open_path(monotonic_now(), {.peer = *peer, .from = std::nullopt}, **port);
  }
  hand_over_early(added);
  make_runnable(added);
}

void WorkerLoop::await_lane(ConnectionId id, std::size_t bytes_max) {
  if (find(id) == nullptr) early_.await(id, bytes_max);
}

void WorkerLoop::forget_awaited(ConnectionId id) {
  if (!early_.awaits(id)) return;
  early_.forget(id);
  if (place_.strays != nullptr) place_.strays->on_lane_gone(id);
}

void WorkerLoop::hand_over_early(Lane& lane) {
  // A lane that knows its path has lived since before this moment; else its time begins with what came first, so that
  // its acknowledgements tell how long that waited here.
  const auto now = lane.path() ? std::optional{monotonic_now()} : std::nullopt;
  for (EarlyDatagrams::Batch& batch : early_.take(lane.id())) {
    const ReceivedRun run{.bytes = batch.bytes,
                          .segment_size = batch.segment_size,
                          .from = batch.from,
                          .mark = batch.mark,
                          .to = batch.to};
    hand_over(now.value_or(batch.arrived), *ports_.at(batch.port), run, lane.id(), run.bytes);
  }
}

void WorkerLoop::remove(ConnectionId id) {
  Lane* const lane = find(id);
  if (lane == nullptr) return;
  if (lane->runnable) pump(*lane, batches_per_lane);
  let_go(*lane);
}

Lane* WorkerLoop::find(ConnectionId id) const {
  const auto found = lanes_.find(id.value);
  return found == lanes_.end() ? nullptr : found->second.get();
}

void WorkerLoop::make_runnable(Lane& lane) {
  if (lane.runnable) return;
  lane.runnable = true;
  run_queue_.push_back(&lane);
}

void WorkerLoop::watch(int fd, std::uint32_t events, std::size_t tag, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  // Fails only for a descriptor that is not ours, or without memory for one entry.
  PENSTOCK_CHECK(::epoll_ctl(epoll_.get(), operation, fd, &event) == 0);
}

void WorkerLoop::watch_port(std::size_t index) {
  Port& port = *ports_[index];
  std::uint32_t wanted = 0;
  if (!port.moderation.rest_until()) wanted |= EPOLLIN;
  if (port.out.blocked()) wanted |= EPOLLOUT;
  if (wanted == port.watched) return;
  port.watched = wanted;
  watch(port.socket.fd(), wanted, index, EPOLL_CTL_MOD);
}

void WorkerLoop::wait_and_react() {
  const TimePoint asked_at = monotonic_now();
  const int count = wait_.wait(epoll_.get(), events_, time_to_sleep(asked_at));
  busy_.on_rested(asked_at, monotonic_now());
  bool all_read = count >= 0;
  bool all_asked = true;
  const auto events = std::span{events_}.first(static_cast<std::size_t>(std::max(count, 0)));
  for (const epoll_event& event : events) {
    if (event.data.u64 == ports_.size()) {
      run_tasks();
      continue;
    }
    Port& port = *ports_[event.data.u64];
    if ((event.events & EPOLLOUT) != 0) on_writable(port);
    if ((event.events & (EPOLLIN | EPOLLERR)) != 0 && !read_port(port)) all_read = false;
  }
  for (const auto& port : ports_) {
    const auto rest = port->moderation.rest_until();
    if ((port->watched & EPOLLIN) != 0 || !rest) continue;
    // Nobody tells us of this one. A lane's deadline ends the rest: what the lane then does, it does in the light of
    // all that has come.
    const TimePoint now = monotonic_now();
    const auto deadline = deadlines_.earliest();
    if (*rest > now && !(deadline && *deadline <= now)) {
      all_asked = false;
    } else if (!read_port(*port)) {
      all_read = false;
    }
  }
  if (all_asked) heard_.on_read(asked_at, all_read);
}

std::optional<Duration> WorkerLoop::time_to_sleep(TimePoint now) const {
  if (!run_queue_.empty()) return Duration::zero();
  auto earliest = deadlines_.earliest();
  for (const auto& port : ports_) {
    const auto rest = port->moderation.rest_until();
    if (rest && (!earliest || *rest < *earliest)) earliest = rest;
  }
  if (!earliest) return std::nullopt;
  return std::max(*earliest - now, Duration::zero());
}

void WorkerLoop::run_tasks() {
  inbox_.take(tasks_);
  for (auto& task : tasks_) task();
  tasks_.clear();
}

bool WorkerLoop::read_port(Port& port) {
  const auto runs = port.in.receive();
  // Closures between receiving and looking: a lane that was added before its peer could hear of it then misses none of
  // the peer's datagrams, even where an earlier datagram woke us.
  if (inbox_.has_tasks()) run_tasks();
  const TimePoint now = monotonic_now();
  port.share.on_read(now, bytes_of(runs), port.in.socket_drops());
  ReceiveModeration::Read read{.messages = runs.size(), .emptied = !port.in.saturated()};
  read_patience_ = ReceiveModeration::rest_max;
  for (const ReceivedRun& run : runs) {
    read.bytes += run.bytes.size();
    take_run(now, port, run);
  }
  read.patience = read_patience_;
  port.moderation.on_read(now, read);
  return read.emptied;
}

/// Cuts a run where the connection id changes: one peer may have several lanes in one GRO message.
void WorkerLoop::take_run(TimePoint now, Port& port, const ReceivedRun& run) {
  ++counted_.receive_batches;
  std::size_t begin = 0;
  const auto datagram_at = [&](std::size_t at) {
    return run.bytes.subspan(at, std::min(run.segment_size, run.bytes.size() - at));
  };
  while (begin < run.bytes.size()) {
    const auto first = datagram_at(begin);
    ++counted_.datagrams_received;
    if (first.size() < datagram_size_min) {
      ++counted_.datagrams_short;
      begin += first.size();
      continue;
    }
    const ConnectionId id = connection_id_of(first);
    std::size_t end = begin + first.size();
    while (end < run.bytes.size()) {
      const auto next = datagram_at(end);
      if (next.size() < datagram_size_min || connection_id_of(next) != id) break;
      ++counted_.datagrams_received;
      end += next.size();
    }
    hand_over(now, port, run, id, run.bytes.subspan(begin, end - begin));
    begin = end;
  }
}

void WorkerLoop::hand_over(TimePoint now, Port& port, const ReceivedRun& run, ConnectionId id,
                           std::span<std::byte> batch) {
  const std::size_t segment_size = std::min(run.segment_size, batch.size());
  Lane* const lane = find(id);
  if (lane == nullptr) return hand_on(now, port, run, id, batch);
  lane->forget_served();
  const auto outcome =
      lane->handle_datagrams(now, batch, segment_size, run.mark, {.socket = &port, .total = port.in.socket_drops()});
  Port* const before = lane->port();
  lane->on_arrival(now, outcome, batch.size(), {.peer = run.from, .from = run.to}, port);
  if (lane->waiting && lane->port() != before) {
    // The peer moved to where another socket of ours reaches it.
    std::erase(before->waiting, lane);
    lane->waiting = false;
  }
  share(port, *lane);
  read_patience_ = std::min(read_patience_, lane->patience());
  make_runnable(*lane);
}

void WorkerLoop::share(Port& port, Lane& lane) {
  port.share.on_lane(lane.share_mark);
  lane.hold_window(port.share);
}

void WorkerLoop::share_stream(TimePoint now, Lane& lane, std::size_t bytes) {
  // Where its datagrams would have come, as far as that is known.
  Port& port = lane.port() != nullptr ? *lane.port() : *ports_.front();
  port.share.on_read(now, bytes, port.in.socket_drops());
  share(port, lane);
}

/// Not ours, or not yet: early, a sibling's, or nobody's.
void WorkerLoop::hand_on(TimePoint now, const Port& port, const ReceivedRun& run, ConnectionId id,
                         std::span<const std::byte> batch) {
  const std::size_t segment_size = std::min(run.segment_size, batch.size());
  const std::uint64_t datagrams = (batch.size() + segment_size - 1) / segment_size;
  if (keep_early(now, port, run, id, batch)) {
    counted_.datagrams_early += datagrams;
    return;
  }
  auto fate = StrayExchange::Fate::unknown;
  if (place_.strays != nullptr) fate = place_.strays->pass_on(place_.place, id, place_of(port), run, batch);
  switch (fate) {
    case StrayExchange::Fate::unknown:
      counted_.datagrams_unknown += datagrams;
      break;
    case StrayExchange::Fate::passed_on:
      counted_.strays_passed_on += datagrams;
      break;
    case StrayExchange::Fate::dropped:
      counted_.strays_dropped += datagrams;
      break;
  }
}

bool WorkerLoop::keep_early(TimePoint now, const Port& port, const ReceivedRun& run, ConnectionId id,
                            std::span<const std::byte> batch) {
  if (!early_.awaits(id)) return false;
  const EarlyDatagrams::Batch like{.arrived = now,
                                   .port = place_of(port),
                                   .segment_size = std::min(run.segment_size, batch.size()),
                                   .from = run.from,
                                   .mark = run.mark,
                                   .to = run.to,
                                   .bytes = {}};
  return early_.keep(like, id, batch);
}

void WorkerLoop::take_stray(const Stray& stray) {
  Lane* const lane = find(stray.id);
  const std::span<std::byte> batch{stray.bytes.get(), stray.size};
  Port& port = *ports_.at(stray.port);
  const ReceivedRun run{
      .bytes = batch, .segment_size = stray.segment_size, .from = stray.from, .mark = stray.mark, .to = stray.to};
  // Gone since: a straggler. It is not handed on a second time.
  if (lane == nullptr) {
    const TimePoint now = monotonic_now();
    if (keep_early(now, port, run, stray.id, batch)) {
      counted_.datagrams_early += (batch.size() + stray.segment_size - 1) / stray.segment_size;
      return;
    }
    counted_.datagrams_unknown += (batch.size() + stray.segment_size - 1) / stray.segment_size;
    return;
  }
  hand_over(monotonic_now(), port, run, stray.id, batch);
}

std::size_t WorkerLoop::place_of(const Port& port) const {
  const auto found = std::find_if(ports_.begin(), ports_.end(), [&](const auto& p) { return p.get() == &port; });
  return static_cast<std::size_t>(found - ports_.begin());
}

void WorkerLoop::serve_deadlines() {
  if (!deadlines_.earliest()) return;
  const TimePoint now = monotonic_now();
  while (Lane* const lane = deadlines_.pop_due(now)) {
    // Pacing needs no more than a turn. A time-out that fell due after we last listened stays due, and the next turn,
    // which begins by listening, does not sleep.
    lane->handle_due(heard_.until());
    make_runnable(*lane);
  }
}

void WorkerLoop::serve_lanes() {
  std::size_t batches_left = batches_per_turn;
  // Only those that are queued now: a lane that has more goes to the end and waits for the next turn.
  for (std::size_t left = run_queue_.size(); left > 0 && batches_left > 0; --left) {
    Lane& lane = *run_queue_.front();
    run_queue_.pop_front();
    lane.runnable = false;
    batches_left -= pump(lane, std::min(batches_left, batches_per_lane));
  }
}

std::size_t WorkerLoop::pump(Lane& lane, std::size_t batches_max) {
  std::size_t sealed = 0;
  TimePoint now = monotonic_now();
  bool drained = !lane.path();
  while (!drained && sealed < batches_max) {
    SendQueue& out = lane.port()->out;
    auto room = out.room();
    if (room.empty() && !out.blocked() && out.flush()) room = out.room();
    if (room.empty()) break;
    const auto batch = lane.poll_transmit(now, room);
    if (!batch) {
      drained = true;
      break;
    }
    if (batch->to_proposed)
      push_to_proposed(lane, room.first(batch->size));
    else
      out.push(*lane.path(), *batch);
    ++sealed;
    if (out.worth_flushing()) out.flush();
    now = monotonic_now();
  }
  lane.thread_busy_percent = busy_.percent();
  lane.deliver(now);
  if (drained) {
    schedule(lane, now);
  } else if (lane.port()->out.blocked()) {
    // Its deadlines wait too: nothing they could bring about would leave.
    deadlines_.erase(lane);
    lane.on_send_blocked(now);
    if (!lane.waiting) lane.port()->waiting.push_back(&lane);
    lane.waiting = true;
  } else {
    make_runnable(lane);
  }
  return sealed;
}

/// One datagram, sealed where the lane's own way out begins; the other address may be behind another socket.
void WorkerLoop::push_to_proposed(const Lane& lane, std::span<const std::byte> datagram) {
  if (!lane.proposed()) return;
  SendQueue& out = lane.proposed()->port->out;
  const auto room = out.room();
  if (room.size() < datagram.size()) return;  // lost; the engine asks again
  std::memmove(room.data(), datagram.data(), datagram.size());
  out.push(lane.proposed()->path, {.size = datagram.size(), .segment_size = datagram.size()});
}

void WorkerLoop::schedule(Lane& lane, TimePoint now) {
  auto deadline = lane.deadline();
  if (deadline && lane.served_until() && *deadline <= *lane.served_until()) {
    ++counted_.timers_overdue;
    deadline = now + overdue_pause;
  }
  deadlines_.update(lane, deadline);
}

void WorkerLoop::flush_all() {
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (!ports_[i]->out.blocked()) ports_[i]->out.flush();
    watch_port(i);
  }
}

void WorkerLoop::on_writable(Port& port) {
  if (!port.out.flush()) return;
  for (Lane* const lane : port.waiting) {
    lane->waiting = false;
    make_runnable(*lane);
  }
  port.waiting.clear();
}

void WorkerLoop::forget_marks(Lane& lane) {
  deadlines_.erase(lane);
  if (lane.runnable) run_queue_.erase(std::find(run_queue_.begin(), run_queue_.end(), &lane));
  if (lane.waiting) std::erase(lane.port()->waiting, &lane);
  lane.runnable = false;
  lane.waiting = false;
}

void WorkerLoop::let_go(Lane& lane) {
  forget_marks(lane);
  lane.say_goodbye();
  if (place_.strays != nullptr) place_.strays->on_lane_gone(lane.id());
  lanes_.erase(lane.id().value);
}

void WorkerLoop::publish_counters() {
  WorkerCounters now = counted_;
  now.gso = true;
  now.gro = true;
  for (const auto& port : ports_) {
    const auto& out = port->out.counters();
    now.datagrams_sent += out.datagrams;
    now.send_batches += out.batches;
    now.datagrams_refused += out.refused;
    now.send_blocked += out.blocked;
    now.gso_fallbacks += out.gso_fallbacks;
    now.socket_drops += port->in.socket_drops();
    now.datagrams_short += port->in.unusable();
    now.datagrams_received += port->in.unusable();
    now.gso = now.gso && port->out.gso();
    now.gro = now.gro && port->socket.gro();
  }
  const std::lock_guard lock{published_mutex_};
  published_ = now;
}

}  // namespace penstock::io
