#include "control/session/worker_part.h"

#include <algorithm>
#include <asio/post.hpp>
#include <string>

#include "common/bytes/view.h"
#include "control/gate/envelope.h"
#include "control/session/data_message.h"
#include "control/transfer/message_codec.h"
#include "dataplane/io/monotonic_now.h"

namespace penstock::control {

std::vector<LaneRef> lane_refs(const RunConfig& config, io::Worker& worker) {
  std::vector<LaneRef> refs{{&worker, config.own}};
  for (const LaneSeat& seat : config.more_lanes) refs.push_back({seat.worker, seat.keys.own_id});
  return refs;
}

template <class Act>
void TransferRun::WorkerPart::to_receivers(Reopens reopens, Act act) {
  if (!has_lane_) return;
  team_->tell_receivers(reopens, [act](engine::Receiver& receiver, TimePoint) { act(receiver); });
}

template <class Act>
void TransferRun::WorkerPart::to_control(Act act) {
  asio::post(control_, [weak = run_, act = std::move(act)]() mutable {
    if (const auto run = weak.lock()) act(*run);
  });
}

TransferRun::WorkerPart::WorkerPart(const RunConfig& config, io::Worker& worker, asio::any_io_executor control,
                                    std::weak_ptr<TransferRun> run)
    : role_(config.role),
      own_(config.own),
      has_lane_(config.keys.has_value()),
      report_entries_(config.report_entries),
      receipts_(config.receipts),
      worker_(worker),
      control_(std::move(control)),
      run_(std::move(run)),
      team_(std::make_shared<LaneTeam>(lane_refs(config, worker), *this)),
      pipe_(config.data == DataPolicy::udp || config.data == DataPolicy::automatic),
      answered_(!config.ahead || config.role == TransferRole::source) {
  if (role_ == TransferRole::source) {
    source_.emplace(config.source_side, *this, *this);
  } else {
    sink_.emplace(config.sink_side, *this, *this);
  }
}

void TransferRun::WorkerPart::start(std::shared_ptr<storage::SourceReader> reader,
                                    std::shared_ptr<storage::Sink> sink) {
  team_->start(reader, sink);
  if (source_) source_->start(std::move(reader));
  if (sink_) sink_->start(std::move(sink));
}

void TransferRun::WorkerPart::on_tcp_message(proto::Envelope envelope) {
  ++processed_;
  if (!closed_) {
    if (auto status = order_.accept(std::move(envelope), DualOrder::Way::tcp); !status) {
      on_failed(status.error());
    } else {
      drain_order();
    }
  }
  return_credit();
}

void TransferRun::WorkerPart::send_after(proto::Envelope envelope) {
  if (!closed_) number_and_send(std::move(envelope));
}

void TransferRun::WorkerPart::on_tick() {
  if (!closed_) team_->on_tick(io::monotonic_now());
}

void TransferRun::WorkerPart::on_answered(bool await_verdicts) {
  if (closed_) return;
  if (source_ && await_verdicts) source_->await_verdicts();
  answered_ = true;
  drain_order();
}

void TransferRun::WorkerPart::on_data_way(DataWay way) {
  pipe_ = way == DataWay::udp;
  team_->set_watching(io::monotonic_now(), pipe_);
}

void TransferRun::WorkerPart::on_link_room() {
  if (source_ && !closed_ && has_room()) source_->on_room();
}

void TransferRun::WorkerPart::close() {
  if (closed_) return;
  const auto finish = [self = shared_from_this()] {
    if (std::exchange(self->closed_, true)) return;
    if (self->source_) self->source_->close();
    if (self->sink_) self->sink_->close();
    if (!self->has_lane_) return self->gone();
    self->let_lanes_go([self] { self->gone(); });
  };
  if (sink_) {
    sink_->checkpoint(finish);
  } else {
    finish();
  }
}

void TransferRun::WorkerPart::cut_off() {
  if (has_lane_ && !closed_) let_lanes_go({});
}

void TransferRun::WorkerPart::on_event(const engine::SenderEvent& event) {
  if (closed_) return;
  if (const auto* message = std::get_if<engine::ControlReceived>(&event)) return on_pipe_message(message->message);
  if (const auto* drained = std::get_if<engine::Drained>(&event)) return team_->on_drained(drained->end);
  if (const auto* news = std::get_if<engine::CongestionNews>(&event)) return team_->on_congestion(*news);
  if (const auto* proposal = std::get_if<engine::RepairProposal>(&event)) return on_team_proposes(0, proposal->ratio);
  if (std::get_if<engine::PeerHeard>(&event) != nullptr) return on_peer_heard();
  if (const auto* closed = std::get_if<engine::Closed>(&event)) return on_lane_closed(*closed);
}

void TransferRun::WorkerPart::on_event(const engine::ReceiverEvent& event) {
  if (closed_) return;
  if (const auto* message = std::get_if<engine::ControlReceived>(&event)) return on_pipe_message(message->message);
  if (const auto* drained = std::get_if<engine::Drained>(&event)) return team_->on_drained(drained->end);
  if (std::get_if<engine::PeerHeard>(&event) != nullptr) return on_peer_heard();
  if (const auto* closed = std::get_if<engine::Closed>(&event)) return on_lane_closed(*closed);
}

void TransferRun::WorkerPart::on_team_drained(TransferOffset end) {
  if (closed_) return;
  if (source_) source_->on_drained(end);
  if (sink_) sink_->on_drained(end);
}

void TransferRun::WorkerPart::on_team_heard() {
  if (!closed_) on_peer_heard();
}

void TransferRun::WorkerPart::on_team_stats(const engine::LaneStats& stats) {
  if (sink_ && !closed_) follow_path(stats);
  take_stats(stats);
  publish_stats();
}

void TransferRun::WorkerPart::on_team_stream_ack(std::size_t lane, const engine::StreamAck& ack) {
  proto::Envelope message;
  encode_stream_ack(lane, ack, *message.mutable_data_ack());
  to_control([message = std::move(message)](TransferRun& run) mutable { run.link_->send(std::move(message)); });
}

void TransferRun::WorkerPart::on_team_proposes(std::size_t lane, const engine::RepairRatio& ratio) {
  if (!closed_) number_and_send(ratios_.propose(lane, ratio));
}

void TransferRun::WorkerPart::on_team_failed(Error error) {
  if (!closed_) on_failed(std::move(error));
}

bool TransferRun::WorkerPart::has_room() const {
  return outbound_bytes_.load(std::memory_order_relaxed) < outbound_bytes_max;
}

void TransferRun::WorkerPart::warn(Error warning) {
  to_control([warning = std::move(warning)](TransferRun& run) {
    if (run.on_warning) run.on_warning(warning);
  });
}

void TransferRun::WorkerPart::on_entry(const storage::FileReport& report, storage::FileType type,
                                       EntryOutcome outcome) {
  if (!report_entries_) return;
  to_control([report, type, outcome](TransferRun& run) {
    if (run.on_entry) run.on_entry(report, type, outcome);
  });
}

void TransferRun::WorkerPart::on_committed() {
  // The lane's periodic counters are a quarter of a second old; the summary gets its last ones.
  if (!has_lane_) return deliver_committed();
  const TimePoint told_at = io::monotonic_now();
  team_->async_stats(source_.has_value(), [self = shared_from_this(), told_at](engine::LaneStats stats) {
    // The sink's word that it has all may overtake the acknowledgement that says so.
    if (stats.last_new_sent_at && !stats.all_acked_at) stats.all_acked_at = told_at;
    self->take_stats(stats);
    self->deliver_committed();
  });
}

void TransferRun::WorkerPart::on_failed(Error error) {
  RunOutcome outcome;
  outcome.failed = std::move(error);
  deliver(std::move(outcome));
}

void TransferRun::WorkerPart::offer(TransferOffset end) {
  to_senders(Reopens::yes, [end](engine::Sender& sender) { sender.offer(end); });
}

void TransferRun::WorkerPart::finish(TransferOffset end) {
  if (source_) return to_senders(Reopens::yes, [end](engine::Sender& sender) { sender.finish(end); });
  to_receivers(Reopens::yes, [end](engine::Receiver& receiver) { receiver.finish(end); });
}

void TransferRun::WorkerPart::withhold(TransferRange range) {
  // Holes and held blocks may overlap; each byte counts once.
  (void)withheld_.insert({range.begin.value, range.end.value});
  if (source_) return to_senders(Reopens::no, [range](engine::Sender& sender) { sender.withhold(range); });
  to_receivers(Reopens::no, [range](engine::Receiver& receiver) { receiver.withhold(range); });
}

void TransferRun::WorkerPart::resend(TransferRange range) {
  to_senders(Reopens::yes, [range](engine::Sender& sender) { sender.resend(range); });
}

void TransferRun::WorkerPart::on_source_ready() {
  // Of what came for lane 0; the others' windows are told on their workers.
  if (has_lane_) worker_.with_sender(own_, [](engine::Sender& sender, TimePoint) { sender.on_source_ready(); });
}

void TransferRun::WorkerPart::expect(TransferOffset end) {
  to_receivers(Reopens::yes, [end](engine::Receiver& receiver) { receiver.expect(end); });
  return_credit();
}

void TransferRun::WorkerPart::forget(TransferRange range) {
  to_receivers(Reopens::yes, [range](engine::Receiver& receiver) { receiver.forget(range); });
}

void TransferRun::WorkerPart::on_sink_room() {
  if (!has_lane_) return;
  team_->tell_receivers(Reopens::no, [](engine::Receiver& receiver, TimePoint now) { receiver.on_sink_room(now); });
}

void TransferRun::WorkerPart::take_stats(const engine::LaneStats& stats) {
  lane_stats_ = stats;
  // Several lanes count what came by them; what none of them need bring is known here.
  if (!team_->alone()) lane_stats_.bytes_settled += withheld_.size();
}

void TransferRun::WorkerPart::deliver_committed() {
  RunOutcome outcome;
  if (source_) {
    outcome.commit = source_->commit();
    outcome.source = source_->totals();
    outcome.entries_failed = source_->totals().files_failed;
    outcome.lasting_error = source_->totals().refusal;
    outcome.left_out = source_->left_out();
  } else {
    outcome.sink = sink_->totals();
    outcome.entries_failed = sink_->entries_failed();
    outcome.lasting_error = sink_->lasting_error();
  }
  outcome.receipts = receipts_;
  publish_stats();
  deliver(std::move(outcome));
}

void TransferRun::WorkerPart::number_and_send(proto::Envelope envelope) {
  numbering_.stamp(envelope);
  const std::size_t size = envelope.ByteSizeLong();
  outbound_bytes_.fetch_add(size, std::memory_order_relaxed);
  if (has_lane_ && pipe_) {
    auto bytes = std::make_shared<std::string>(envelope.SerializeAsString());
    // The engine's queue has a bound; what it does not take goes by TCP alone.
    if (source_) {
      worker_.with_sender(
          own_, [bytes](engine::Sender& sender, TimePoint) { (void)sender.queue_control(bytes::as_bytes(*bytes)); });
    } else {
      worker_.with_receiver(own_, [bytes](engine::Receiver& receiver, TimePoint) {
        (void)receiver.queue_control(bytes::as_bytes(*bytes));
      });
    }
  }
  to_control([envelope = std::move(envelope)](TransferRun& run) mutable {
    run.outbox_.push_back(std::move(envelope));
    run.outbound_.notify();
  });
}

void TransferRun::WorkerPart::on_pipe_message(std::span<const std::byte> message) {
  // TCP has every message too, so whatever is inconvenient here is left to it.
  if (sink_ && sink_->backlog() > manifest_backlog_max) return;
  auto envelope = decode_envelope(message);
  if (!envelope || envelope->id() == 0) return;
  if (auto status = order_.accept(*std::move(envelope), DualOrder::Way::pipe); !status)
    return on_failed(status.error());
  drain_order();
}

void TransferRun::WorkerPart::drain_order() {
  if (!answered_) return;
  while (auto envelope = order_.poll()) {
    if (envelope->has_receipt()) {
      to_control([receipt = envelope->receipt()](TransferRun& run) {
        run.receipt_ = receipt;
        run.changed_.notify();
      });
    } else if (!team_->alone() && source_ && envelope->has_extent_moved()) {
      team_->on_admitted(envelope->extent_moved().number());
    } else if (!team_->alone() && sink_ && envelope->has_move_extent()) {
      team_->on_move(decode_move(envelope->move_extent()));
    } else if (source_ && envelope->has_fec_ratio_agreed()) {
      on_ratio_agreed(envelope->fec_ratio_agreed().number());
    } else if (sink_ && envelope->has_fec_ratio()) {
      on_ratio_proposed(envelope->fec_ratio());
    } else if (source_) {
      source_->handle(*envelope);
    } else {
      sink_->handle(*envelope);
    }
  }
}

void TransferRun::WorkerPart::on_ratio_agreed(std::uint64_t number) {
  const auto agreed = ratios_.on_agreed(number);
  if (agreed && has_lane_) team_->on_repair_agreed(agreed->lane, agreed->ratio);
}

void TransferRun::WorkerPart::on_ratio_proposed(const proto::FecRatio& proposal) {
  const auto ratio = decode_ratio(proposal);
  // Who proposes without reading the answers goes without, as one does whose proposal makes no sense.
  if (!ratio || !has_lane_ || outbound_bytes_.load(std::memory_order_relaxed) >= outbound_bytes_max) return;
  const auto answer = [self = shared_from_this(), number = proposal.number()] {
    if (self->closed_) return;
    proto::Envelope agreed;
    agreed.mutable_fec_ratio_agreed()->set_number(number);
    self->number_and_send(std::move(agreed));
  };
  (void)team_->on_repair_proposed(proposal.lane(), *ratio, answer);
}

void TransferRun::WorkerPart::return_credit() {
  if (processed_ == 0 || (sink_ && !closed_ && sink_->backlog() > manifest_backlog_max)) return;
  to_control([count = std::exchange(processed_, 0)](TransferRun& run) {
    run.inbound_pending_ -= count;
    run.inbound_.notify();
  });
}

void TransferRun::WorkerPart::on_peer_heard() {
  to_control([](TransferRun& run) {
    run.peer_heard_ = true;
    run.changed_.notify();
  });
}

void TransferRun::WorkerPart::on_lane_closed(const engine::Closed& closed) {
  if (closed.error == engine::TransportError::none) return;  // an orderly end: control says what it means
  on_failed(
      {ErrorCode::PEER_LOST,
       "the data channel ended: " + std::string{engine::to_string(closed.error)} + "; the same command again resumes",
       {},
       closed.by_peer ? ErrorSide::remote : ErrorSide::local});
}

void TransferRun::WorkerPart::deliver(RunOutcome outcome) {
  if (std::exchange(delivered_, true)) return;
  to_control([outcome = std::make_shared<RunOutcome>(std::move(outcome))](TransferRun& run) {
    run.outcome_ = std::move(*outcome);
    run.changed_.notify();
  });
}

void TransferRun::WorkerPart::follow_path(const engine::LaneStats& stats) {
  const auto now = std::chrono::steady_clock::now();
  const auto elapsed = std::chrono::duration_cast<Duration>(now - path_measured_at_).count();
  const std::uint64_t bytes = stats.payload_bytes_received - path_measured_bytes_;
  path_measured_at_ = now;
  path_measured_bytes_ = stats.payload_bytes_received;
  if (elapsed <= 0) return;
  __extension__ using Wide = unsigned __int128;
  const auto product = static_cast<std::uint64_t>(
      std::min<Wide>(Wide{bytes} * static_cast<std::uint64_t>(std::max<Duration::rep>(stats.rtt_min.count(), 0)) /
                         static_cast<std::uint64_t>(elapsed),
                     std::uint64_t{1} << 48));
  // A pause says nothing about the path, so what was known fades slowly.
  path_holds_ = std::max(product, path_holds_ - path_holds_ / 8);
  sink_->on_bandwidth_delay_product(path_holds_);
}

void TransferRun::WorkerPart::publish_stats() {
  RunStats stats;
  stats.lane = lane_stats_;
  stats.bytes_withheld = withheld_.size();
  if (source_) {
    const auto& totals = source_->totals();
    stats.bytes_held = source_->bytes_held();
    stats.all_decided = source_->all_decided();
    stats.bytes_total = totals.bytes_total;
    stats.files = source_->files_read();
    if (totals.bytes_total) stats.files_total = totals.files_total;
  } else {
    stats.sink = sink_->progress();
    stats.bytes_held = sink_->bytes_held();
    stats.all_decided = sink_->all_decided();
    stats.bytes_total = sink_->bytes_total();
    stats.files = sink_->files_finished();
    stats.files_total = sink_->files_total();
  }
  // Of a file that was left out all bytes are settled, and none counts.
  const std::uint64_t given_up = source_ ? source_->bytes_given_up() : sink_->bytes_given_up();
  stats.bytes = lane_stats_.bytes_settled - std::min(lane_stats_.bytes_settled, given_up);
  count_ways(stats);
  stats.bytes_withheld -= std::min(stats.bytes_withheld, given_up);
  if (stats.bytes_total) {
    *stats.bytes_total -= std::min(*stats.bytes_total, given_up);
    stats.bytes = std::min(stats.bytes, *stats.bytes_total);
  }
  to_control([stats](TransferRun& run) {
    const bool heard = stats.lane.last_heard != run.stats_.lane.last_heard;
    run.stats_ = stats;
    if (const auto news = run.marks_.on_stats(stats.lane); news && run.on_mark_news) run.on_mark_news(*news);
    if (heard) run.link_->note_heard();
    run.changed_.notify();
  });
}

void TransferRun::WorkerPart::count_ways(RunStats& stats) const {
  const engine::LaneStats& lane = lane_stats_;
  if (source_) {
    // What is settled and was neither withheld nor arrived by TCP was acknowledged in datagrams.
    stats.bytes_by_tcp = lane.stream_bytes_arrived;
    const std::uint64_t others = stats.bytes_withheld + lane.stream_bytes_arrived;
    stats.bytes_by_udp = lane.bytes_settled - std::min(lane.bytes_settled, others);
  } else {
    stats.bytes_by_tcp = lane.stream_bytes;
    stats.bytes_by_udp = lane.payload_bytes_received - std::min(lane.payload_bytes_received, lane.stream_bytes);
  }
}

void TransferRun::WorkerPart::gone() {
  to_control([](TransferRun& run) {
    run.part_closed_ = true;
    run.closed_.notify();
  });
}

void TransferRun::WorkerPart::to_senders(Reopens reopens, const std::function<void(engine::Sender&)>& act) {
  if (has_lane_) team_->tell_senders(reopens, act);
}

}  // namespace penstock::control
