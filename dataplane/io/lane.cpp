#include "dataplane/io/lane.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace penstock::io {

Lane::Lane(ConnectionId own, std::shared_ptr<LaneObserver> observer, const Timing& timing)
    : id_(own), observer_(std::move(observer)), timing_(timing) {
  PENSTOCK_CHECK(observer_ != nullptr);
}

Lane::~Lane() = default;

void Lane::open_path(TimePoint now, const Path& path, Port& port) {
  PENSTOCK_CHECK(!path_);
  path_ = path;
  port_ = &port;
  open_engine_path(now);
}

void Lane::learn_path(TimePoint now, const Path& path, Port& port) {
  open_path(now, path, port);
  follows_ = true;
}

void Lane::on_arrival(TimePoint now, const engine::BatchOutcome& outcome, std::uint64_t bytes, const Path& from,
                      Port& port) {
  if (outcome.authentic == 0) return;
  if (!path_) {
    if (outcome.newest_authentic) learn_path(now, from, port);
    return;
  }
  if (outcome.peer_moved && proposed_) {
    path_ = proposed_->path;
    port_ = proposed_->port;
    proposed_.reset();
  }
  if (!follows_ || from.peer == path_->peer) return;
  if (asks_proposed()) {
    if (proposed_ && proposed_->path.peer == from.peer) on_bytes_from_proposed(bytes);
    return;
  }
  if (!outcome.newest_authentic) return;
  const bool same_host = from.peer.with_port(0) == path_->peer.with_port(0);
  if (propose_address(now, same_host ? engine::AddressChange::port : engine::AddressChange::host, bytes))
    proposed_ = Proposed{from, &port};
}

void Lane::deliver(TimePoint now) {
  serve_stream(now);
  deliver_events();
  if (activity() == reported_activity_) return;
  if (!stats_at_) stats_at_ = last_report_ ? std::max(*last_report_ + timing_.stats_interval, now) : now;
  if (*stats_at_ <= now) report_stats(now);
}

std::optional<TimePoint> Lane::deadline() const {
  std::optional<TimePoint> earliest = engine_timeout();
  for (const auto& other : {quiet_at_, stats_at_}) {
    if (other && (!earliest || *other < *earliest)) earliest = other;
  }
  return earliest;
}

void Lane::handle_due(TimePoint now) {
  served_until_ = now;
  if (const auto due = engine_timeout(); due && *due <= now) handle_engine_timeout(now);
  if (quiet_at_ && *quiet_at_ <= now) {
    quiet_at_.reset();
    on_quiet();
  }
  if (stats_at_ && *stats_at_ <= now) report_stats(now);
}

void Lane::say_goodbye() {
  observer_->on_stats(stats());
  observer_->on_lane_gone();
}

std::uint64_t Lane::activity() const {
  const engine::LaneStats& now = stats();
  return now.packets_sent + now.packets_received + now.stream_messages;
}

void Lane::report_stats(TimePoint now) {
  engine::LaneStats told = stats();
  told.thread_busy_percent = thread_busy_percent;
  observer_->on_stats(told);
  reported_activity_ = activity();
  last_report_ = now;
  stats_at_.reset();
}

SenderLane::SenderLane(ConnectionId own, engine::Sender sender, std::shared_ptr<engine::SourceWindow> window,
                       std::shared_ptr<LaneObserver> observer, const Timing& timing)
    : Lane(own, std::move(observer), timing), sender_(std::move(sender)), window_(std::move(window)) {
  PENSTOCK_CHECK(window_ != nullptr);
}

engine::BatchOutcome SenderLane::handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                                  engine::EcnMark mark, const SocketDrops& /*drops*/) {
  return sender_.handle_datagrams(now, batch, segment_size, mark);
}

std::optional<engine::Transmit> SenderLane::poll_transmit(TimePoint now, std::span<std::byte> buffer) {
  return sender_.poll_transmit(now, *window_, buffer);
}

void SenderLane::on_send_blocked(TimePoint now) { sender_.on_send_blocked(now); }
Duration SenderLane::patience() const { return sender_.patience(); }

void SenderLane::open_engine_path(TimePoint now) { sender_.open_path(now); }

void SenderLane::deliver_events() {
  while (auto event = sender_.poll_event()) {
    if (const auto* wanted = std::get_if<engine::Prefetch>(&*event)) {
      window_->prefetch(wanted->range);
    } else {
      observer().on_event(*event);
    }
  }
  const TransferOffset frontier = sender_.frontier();
  const TransferOffset oldest = sender_.oldest_unacknowledged();
  if (frontier == frontier_told_ && oldest == oldest_told_) return;
  frontier_told_ = frontier;
  oldest_told_ = oldest;
  window_->on_progress(frontier, oldest, sender_.retention_target());
}

void SenderLane::serve_stream(TimePoint now) {
  if (!outlet_) return;
  // The outlet's bound is the bound of a turn.
  while (const std::size_t room = outlet_->room()) {
    const auto chunk = sender_.poll_stream(now, *window_, room);
    if (!chunk) return;
    outlet_->put(*chunk);
  }
  sender_.on_stream_full(now);
}

void SenderLane::handle_engine_timeout(TimePoint now) { sender_.handle_timeout(now); }
std::optional<TimePoint> SenderLane::engine_timeout() const { return sender_.poll_timeout(); }
const engine::LaneStats& SenderLane::stats() const { return sender_.stats(); }

ReceiverLane::ReceiverLane(ConnectionId own, engine::Receiver receiver, std::shared_ptr<engine::SinkWindow> window,
                           std::shared_ptr<LaneObserver> observer, const Timing& timing)
    : Lane(own, std::move(observer), timing), receiver_(std::move(receiver)), window_(std::move(window)) {
  PENSTOCK_CHECK(window_ != nullptr);
}

engine::BatchOutcome ReceiverLane::handle_datagrams(TimePoint now, std::span<std::byte> batch, std::size_t segment_size,
                                                    engine::EcnMark mark, const SocketDrops& drops) {
  if (const std::uint64_t dropped = drops_.on_batch(drops); dropped != drops_told_) {
    drops_told_ = dropped;
    receiver_.on_socket_drops(dropped);
  }
  const std::uint64_t before = receiver_.stats().payload_bytes_received;
  const auto outcome = receiver_.handle_datagrams(now, batch, segment_size, *window_, mark);
  if (receiver_.stats().payload_bytes_received != before) note_new_bytes(now);
  return outcome;
}

std::optional<engine::Transmit> ReceiverLane::poll_transmit(TimePoint now, std::span<std::byte> buffer) {
  return receiver_.poll_transmit(now, *window_, buffer);
}

void ReceiverLane::hold_window(const ReceiveShare& share) { receiver_.limit_window(share.window(receiver_.path_rtt())); }

Duration ReceiverLane::patience() const { return receiver_.patience(); }

void ReceiverLane::open_engine_path(TimePoint now) { receiver_.open_path(now); }

void ReceiverLane::deliver_events() {
  while (const auto event = receiver_.poll_event()) observer().on_event(*event);
}

void ReceiverLane::handle_stream(TimePoint now, TransferOffset at, std::span<const std::byte> payload) {
  const std::uint64_t before = receiver_.stats().payload_bytes_received;
  receiver_.handle_stream(now, at, payload, *window_);
  if (receiver_.stats().payload_bytes_received != before) note_new_bytes(now);
}

void ReceiverLane::serve_stream(TimePoint now) {
  if (const auto ack = receiver_.poll_stream_ack(now, *window_)) observer().on_stream_ack(*ack);
}

void ReceiverLane::handle_engine_timeout(TimePoint now) { receiver_.handle_timeout(now); }
std::optional<TimePoint> ReceiverLane::engine_timeout() const { return receiver_.poll_timeout(); }
const engine::LaneStats& ReceiverLane::stats() const { return receiver_.stats(); }
void ReceiverLane::on_quiet() { window_->on_quiet(); }

}  // namespace penstock::io
