#include "control/session/transfer_run.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <chrono>
#include <utility>

#include "common/bytes/interval_set.h"
#include "common/bytes/view.h"
#include "common/crypto/random.h"
#include "control/gate/envelope.h"
#include "control/session/data_message.h"
#include "control/session/lane_team.h"
#include "control/session/ratio_talk.h"
#include "control/transfer/message_codec.h"
#include "control/transfer/message_order.h"
#include "dataplane/io/monotonic_now.h"

namespace penstock::control {
namespace {

// Tuning: how often lanes are looked at that may have fallen silent.
constexpr Duration lanes_tick = std::chrono::seconds{1};
constexpr Duration send_idle = std::chrono::seconds{1};

std::vector<LaneRef> lane_refs(const RunConfig& config, io::Worker& worker) {
  std::vector<LaneRef> refs{{&worker, config.own}};
  for (const LaneSeat& seat : config.more_lanes) refs.push_back({seat.worker, seat.keys.own_id});
  return refs;
}

}  // namespace

/// What lives on the worker's thread: the side, the order of messages, the lane's ear.
class TransferRun::WorkerPart final : public io::LaneObserver,
                                      public SideHost,
                                      public SenderLane,
                                      public ReceiverLane,
                                      public LaneTeamHost,
                                      public std::enable_shared_from_this<WorkerPart> {
 public:
  WorkerPart(const RunConfig& config, io::Worker& worker, asio::any_io_executor control, std::weak_ptr<TransferRun> run)
      : role_(config.role),
        own_(config.own),
        has_lane_(config.keys.has_value()),
        report_entries_(config.report_entries),
        receipts_(config.receipts),
        worker_(worker),
        control_(std::move(control)),
        run_(std::move(run)),
        team_(std::make_shared<LaneTeam>(lane_refs(config, worker), *this)),
        pipe_(config.data == DataPolicy::udp || config.data == DataPolicy::automatic) {
    if (role_ == TransferRole::source) {
      source_.emplace(config.source_side, *this, *this);
    } else {
      sink_.emplace(config.sink_side, *this, *this);
    }
  }

  ~WorkerPart() override { team_->retire(); }
  WorkerPart(const WorkerPart&) = delete;
  WorkerPart& operator=(const WorkerPart&) = delete;

  [[nodiscard]] LaneTeam& team() { return *team_; }
  [[nodiscard]] storage::SourceObserver& source_observer() { return *source_; }
  [[nodiscard]] storage::SinkObserver& sink_observer() { return *sink_; }

  void start(std::shared_ptr<storage::SourceReader> reader, std::shared_ptr<storage::Sink> sink) {
    team_->start(reader, sink);
    if (source_) source_->start(std::move(reader));
    if (sink_) sink_->start(std::move(sink));
  }

  void on_tcp_message(proto::Envelope envelope) {
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

  void send_after(proto::Envelope envelope) {
    if (!closed_) number_and_send(std::move(envelope));
  }

  void on_tick() {
    if (!closed_) team_->on_tick(io::monotonic_now());
  }

  /// While bytes go by TCP, UDP carries nothing: neither our messages, nor what could tell that a lane is silent.
  void on_data_way(DataWay way) {
    pipe_ = way == DataWay::udp;
    team_->set_watching(io::monotonic_now(), pipe_);
  }

  void on_link_room() {
    if (source_ && !closed_ && has_room()) source_->on_room();
  }

  /// Makes durable what arrived, closes the side, removes the lane; then tells the control thread.
  void close() {
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

  /// On the worker's thread, so that it comes after the adding, which is posted from there. Again does no harm.
  void cut_off() {
    if (has_lane_ && !closed_) let_lanes_go({});
  }

  // io::LaneObserver
  void on_event(const engine::SenderEvent& event) override {
    if (closed_) return;
    if (const auto* message = std::get_if<engine::ControlReceived>(&event)) return on_pipe_message(message->message);
    if (const auto* drained = std::get_if<engine::Drained>(&event)) return team_->on_drained(drained->end);
    if (const auto* news = std::get_if<engine::CongestionNews>(&event)) return team_->on_congestion(*news);
    if (const auto* proposal = std::get_if<engine::RepairProposal>(&event))
      return number_and_send(ratios_.propose(proposal->ratio));
    if (std::get_if<engine::PeerHeard>(&event) != nullptr) return on_peer_heard();
    if (const auto* closed = std::get_if<engine::Closed>(&event)) return on_lane_closed(*closed);
  }
  void on_event(const engine::ReceiverEvent& event) override {
    if (closed_) return;
    if (const auto* message = std::get_if<engine::ControlReceived>(&event)) return on_pipe_message(message->message);
    if (const auto* drained = std::get_if<engine::Drained>(&event)) return team_->on_drained(drained->end);
    if (std::get_if<engine::PeerHeard>(&event) != nullptr) return on_peer_heard();
    if (const auto* closed = std::get_if<engine::Closed>(&event)) return on_lane_closed(*closed);
  }
  void on_stats(const engine::LaneStats& stats) override { team_->on_stats(stats); }
  void on_stream_ack(const engine::StreamAck& ack) override { on_team_stream_ack(0, ack); }

  // LaneTeamHost
  void on_team_drained(TransferOffset end) override {
    if (closed_) return;
    if (source_) source_->on_drained(end);
    if (sink_) sink_->on_drained(end);
  }
  void on_team_heard() override {
    if (!closed_) on_peer_heard();
  }
  void on_team_stats(const engine::LaneStats& stats) override {
    if (sink_ && !closed_) follow_path(stats);
    take_stats(stats);
    publish_stats();
  }
  void on_team_stream_ack(std::size_t lane, const engine::StreamAck& ack) override {
    proto::Envelope message;
    encode_stream_ack(lane, ack, *message.mutable_data_ack());
    to_control([message = std::move(message)](TransferRun& run) mutable { run.link_->send(std::move(message)); });
  }
  void on_team_failed(Error error) override {
    if (!closed_) on_failed(std::move(error));
  }

  // SideHost
  void send(proto::Envelope envelope) override { number_and_send(std::move(envelope)); }
  [[nodiscard]] bool has_room() const override {
    return outbound_bytes_.load(std::memory_order_relaxed) < outbound_bytes_max;
  }
  void warn(Error warning) override {
    to_control([warning = std::move(warning)](TransferRun& run) {
      if (run.on_warning) run.on_warning(warning);
    });
  }
  void on_entry(const storage::FileReport& report, storage::FileType type, EntryOutcome outcome) override {
    if (!report_entries_) return;
    to_control([report, type, outcome](TransferRun& run) {
      if (run.on_entry) run.on_entry(report, type, outcome);
    });
  }
  void on_committed() override {
    // The lane's periodic counters are a quarter of a second old; the summary gets its last ones.
    if (!has_lane_) return deliver_committed();
    team_->async_stats(source_.has_value(), [self = shared_from_this()](const engine::LaneStats& stats) {
      self->take_stats(stats);
      self->deliver_committed();
    });
  }
  void on_failed(Error error) override {
    RunOutcome outcome;
    outcome.failed = std::move(error);
    deliver(std::move(outcome));
  }

  // SenderLane and ReceiverLane: the same words where they mean the same.
  void offer(TransferOffset end) override {
    to_senders(Reopens::yes, [end](engine::Sender& sender) { sender.offer(end); });
  }
  void finish(TransferOffset end) override {
    if (source_) return to_senders(Reopens::yes, [end](engine::Sender& sender) { sender.finish(end); });
    to_receivers(Reopens::yes, [end](engine::Receiver& receiver) { receiver.finish(end); });
  }
  void withhold(TransferRange range) override {
    // Holes and held blocks may overlap; each byte counts once.
    (void)withheld_.insert({range.begin.value, range.end.value});
    if (source_) return to_senders(Reopens::no, [range](engine::Sender& sender) { sender.withhold(range); });
    to_receivers(Reopens::no, [range](engine::Receiver& receiver) { receiver.withhold(range); });
  }
  void resend(TransferRange range) override {
    to_senders(Reopens::yes, [range](engine::Sender& sender) { sender.resend(range); });
  }
  void on_source_ready() override {
    // Of what came for lane 0; the others' windows are told on their workers.
    if (has_lane_) worker_.with_sender(own_, [](engine::Sender& sender, TimePoint) { sender.on_source_ready(); });
  }
  void expect(TransferOffset end) override {
    to_receivers(Reopens::yes, [end](engine::Receiver& receiver) { receiver.expect(end); });
    return_credit();
  }
  void forget(TransferRange range) override {
    to_receivers(Reopens::yes, [range](engine::Receiver& receiver) { receiver.forget(range); });
  }
  void on_sink_room() override {
    if (!has_lane_) return;
    team_->tell_receivers(Reopens::no, [](engine::Receiver& receiver, TimePoint now) { receiver.on_sink_room(now); });
  }

  std::atomic<std::size_t> outbound_bytes_{0};  // handed to the control thread and not yet to the link

 private:
  using Reopens = LaneTeam::Reopens;

  void take_stats(const engine::LaneStats& stats) {
    lane_stats_ = stats;
    // Several lanes count what came by them; what none of them need bring is known here.
    if (!team_->alone()) lane_stats_.bytes_settled += withheld_.size();
  }

  void deliver_committed() {
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

  void number_and_send(proto::Envelope envelope) {
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

  void on_pipe_message(std::span<const std::byte> message) {
    // TCP has every message too, so whatever is inconvenient here is left to it.
    if (sink_ && sink_->backlog() > manifest_backlog_max) return;
    auto envelope = decode_envelope(message);
    if (!envelope || envelope->id() == 0) return;
    if (auto status = order_.accept(*std::move(envelope), DualOrder::Way::pipe); !status)
      return on_failed(status.error());
    drain_order();
  }

  void drain_order() {
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

  void on_ratio_agreed(std::uint64_t number) {
    const auto ratio = ratios_.on_agreed(number);
    if (!ratio || !has_lane_) return;
    worker_.with_sender(own_, [ratio](engine::Sender& sender, TimePoint) { sender.on_repair_agreed(*ratio); });
  }

  void on_ratio_proposed(const proto::FecRatio& proposal) {
    const auto ratio = decode_ratio(proposal);
    if (!ratio || !has_lane_) return;  // the source goes without
    worker_.with_receiver(
        own_, [ratio = *ratio](engine::Receiver& receiver, TimePoint) { receiver.on_repair_agreed(ratio); });
    proto::Envelope agreed;
    agreed.mutable_fec_ratio_agreed()->set_number(proposal.number());
    number_and_send(std::move(agreed));
  }

  /// Lets the reader of TCP go on, unless the sink is far behind with its verdicts.
  void return_credit() {
    if (processed_ == 0 || (sink_ && !closed_ && sink_->backlog() > manifest_backlog_max)) return;
    to_control([count = std::exchange(processed_, 0)](TransferRun& run) {
      run.inbound_pending_ -= count;
      run.inbound_.notify();
    });
  }

  void on_peer_heard() {
    to_control([](TransferRun& run) {
      run.peer_heard_ = true;
      run.changed_.notify();
    });
  }

  void on_lane_closed(const engine::Closed& closed) {
    if (closed.error == engine::TransportError::none) return;  // an orderly end: control says what it means
    on_failed(
        {ErrorCode::PEER_LOST,
         "the data channel ended: " + std::string{engine::to_string(closed.error)} + "; the same command again resumes",
         {},
         closed.by_peer ? ErrorSide::remote : ErrorSide::local});
  }

  void deliver(RunOutcome outcome) {
    if (std::exchange(delivered_, true)) return;
    to_control([outcome = std::make_shared<RunOutcome>(std::move(outcome))](TransferRun& run) {
      run.outcome_ = std::move(*outcome);
      run.changed_.notify();
    });
  }

  /// Tells the sink what the path holds, so that its slabs, and with them the credit, are not what limits. While they
  /// are, what is measured is the window, and twice as much may be had: it doubles until something else limits.
  /// By the least RTT: what a busy machine lets wait in its own sockets is no path, and slabs for it make more wait.
  void follow_path(const engine::LaneStats& stats) {
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

  void publish_stats() {
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
      if (heard) run.link_->note_heard();
      run.changed_.notify();
    });
  }

  void count_ways(RunStats& stats) const {
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

  /// Says goodbye to the peer; `done` when the lanes are no more, or were not there.
  void let_lanes_go(std::function<void()> done) { team_->let_go(source_.has_value(), std::move(done)); }

  void gone() {
    to_control([](TransferRun& run) {
      run.part_closed_ = true;
      run.closed_.notify();
    });
  }

  void to_senders(Reopens reopens, const std::function<void(engine::Sender&)>& act) {
    if (has_lane_) team_->tell_senders(reopens, act);
  }
  template <class Act>
  void to_receivers(Reopens reopens, Act act) {
    if (!has_lane_) return;
    team_->tell_receivers(reopens, [act](engine::Receiver& receiver, TimePoint) { act(receiver); });
  }
  template <class Act>
  void to_control(Act act) {
    asio::post(control_, [weak = run_, act = std::move(act)]() mutable {
      if (const auto run = weak.lock()) act(*run);
    });
  }

  const TransferRole role_;
  const ConnectionId own_;
  const bool has_lane_;
  const bool report_entries_;
  const std::shared_ptr<ReceiptSpool> receipts_;
  io::Worker& worker_;
  asio::any_io_executor control_;
  std::weak_ptr<TransferRun> run_;
  const std::shared_ptr<LaneTeam> team_;
  std::optional<SourceSide> source_;
  std::optional<SinkSide> sink_;
  DualOrder order_;
  DualNumbering numbering_;
  RatioTalk ratios_;
  engine::LaneStats lane_stats_;
  std::chrono::steady_clock::time_point path_measured_at_ = std::chrono::steady_clock::now();
  std::uint64_t path_measured_bytes_ = 0;
  std::uint64_t path_holds_ = 0;  // bandwidth-delay product, bytes
  bytes::IntervalSet withheld_;
  std::uint64_t processed_ = 0;
  bool pipe_;  // numbered messages go by datagrams too
  bool delivered_ = false;
  bool closed_ = false;
};

TransferRun::TransferRun(io::Worker& worker, std::shared_ptr<SessionLink> link)
    : worker_(worker),
      link_(std::move(link)),
      changed_(link_->channel().executor()),
      inbound_(link_->channel().executor()),
      outbound_(link_->channel().executor()),
      closed_(link_->channel().executor()) {}

TransferRun::~TransferRun() = default;

std::shared_ptr<TransferRun> TransferRun::start(RunConfig config, io::Worker& worker,
                                                std::shared_ptr<SessionLink> link) {
  auto run = std::shared_ptr<TransferRun>(new TransferRun(worker, std::move(link)));
  const auto executor = run->link_->channel().executor();
  auto part = std::make_shared<WorkerPart>(config, worker, executor, run);
  run->part_ = part;
  run->data_ = std::make_shared<DataSwitch>(DataSwitch::Config{.source = config.role == TransferRole::source,
                                                               .policy = config.keys ? config.data : DataPolicy::udp,
                                                               .peer_known = config.peer.has_value(),
                                                               .rate_capped = config.sender.rate.has_value(),
                                                               .lanes = lane_refs(config, worker)},
                                            run->link_);
  run->data_->on_turn = [weak = std::weak_ptr(run)](const WayOrder::Switch& to) {
    const auto self = weak.lock();
    if (!self) return;
    self->worker_.post([part = self->part_, way = to.way] { part->on_data_way(way); });
    if (to.reason != SwitchReason::asked && self->on_data_turn) self->on_data_turn(to);
    self->changed_.notify();
  };
  std::shared_ptr<storage::SourceReader> reader;
  std::shared_ptr<storage::Sink> sink;
  if (config.role == TransferRole::source) {
    std::vector<storage::SourceReader::LaneWay> ways;
    for (const LaneSeat& seat : config.more_lanes) {
      ways.push_back({.post = seat.post, .on_resident = [to = seat.worker, own = seat.keys.own_id] {
                        to->with_sender(own, [](engine::Sender& sender, TimePoint) { sender.on_source_ready(); });
                      }});
    }
    reader = config.make_reader(part->source_observer(), std::move(ways));
  } else {
    std::vector<storage::PostToWorker> ways;
    for (const LaneSeat& seat : config.more_lanes) ways.push_back(seat.post);
    sink = config.make_sink(part->sink_observer(), ways);
  }
  const std::size_t lanes = 1 + config.more_lanes.size();
  config.sender.place.lanes = config.receiver.place.lanes = lanes;
  // The other lanes may breathe before home's side has started, and before the peer can hear of them. What they have to
  // say is taken home, where it finds a side that offers and expects nothing yet; what is said to them is posted later.
  for (std::size_t lane = 1; lane < lanes; ++lane) {
    LaneSeat& seat = config.more_lanes[lane - 1];
    const ConnectionId own = seat.keys.own_id;
    config.sender.place.lane = config.receiver.place.lane = lane;
    const auto ear = part->team().make_ear(lane);
    if (reader) {
      seat.worker->add_sender(own, engine::Sender{config.sender, std::move(seat.keys), Rng{crypto::random_u64()}},
                              reader->window_of(lane), config.peer, ear);
    } else {
      seat.worker->add_receiver(own, engine::Receiver{config.receiver, std::move(seat.keys), Rng{crypto::random_u64()}},
                                std::shared_ptr<engine::SinkWindow>(sink, &sink->window_of(lane)), config.peer, ear);
    }
  }
  config.sender.place.lane = config.receiver.place.lane = 0;
  // One closure on the worker, which adds the lane and starts the side. Its order matters twice. Adding is itself
  // posted, so the lane breathes only after this closure, and no event of it can meet a side that has not started: the
  // peer may have sent its first messages long before. And what the side asks of the lane is posted after the adding.
  worker.post([part, shared = std::make_shared<RunConfig>(std::move(config)), reader = std::move(reader),
               sink = std::move(sink), &worker]() mutable {
    auto& keys = shared->keys;
    if (keys && reader) {
      worker.add_sender(shared->own, engine::Sender{shared->sender, std::move(*keys), Rng{crypto::random_u64()}},
                        reader, shared->peer, part);
    } else if (keys) {
      worker.add_receiver(shared->own, engine::Receiver{shared->receiver, std::move(*keys), Rng{crypto::random_u64()}},
                          std::shared_ptr<engine::SinkWindow>(sink, &sink->window()), shared->peer, part);
    }
    part->start(std::move(reader), std::move(sink));
  });
  run->data_->start();
  run->sending_ = true;
  asio::co_spawn(
      executor, [run]() -> asio::awaitable<void> { return run->send_loop(); }, asio::detached);
  return run;
}

asio::awaitable<Status> TransferRun::async_deliver(proto::Envelope envelope) {
  const auto self = shared_from_this();
  while (inbound_pending_ >= inbound_messages_max && !closing_ && !link_->ended()) co_await inbound_.async_wait();
  if (closing_) co_return Status{};
  ++inbound_pending_;
  auto shared = std::make_shared<proto::Envelope>(std::move(envelope));
  worker_.post([part = part_, shared] { part->on_tcp_message(std::move(*shared)); });
  co_return Status{};
}

asio::awaitable<Status> TransferRun::async_deliver_data(proto::Envelope envelope) {
  const auto self = shared_from_this();
  if (closing_) co_return Status{};
  co_return co_await data_->async_handle(std::move(envelope));
}

void TransferRun::send(proto::Envelope envelope) {
  auto shared = std::make_shared<proto::Envelope>(std::move(envelope));
  worker_.post([part = part_, shared] { part->send_after(std::move(*shared)); });
}

asio::awaitable<void> TransferRun::send_loop() {
  const auto self = shared_from_this();
  auto next_tick = std::chrono::steady_clock::now() + lanes_tick;
  auto next_look = std::chrono::steady_clock::now();
  while (!closing_ && !link_->ended()) {
    if (const auto now = std::chrono::steady_clock::now(); !part_->team().alone() && now >= next_tick) {
      next_tick = now + lanes_tick;
      worker_.post([part = part_] { part->on_tick(); });
    }
    const auto look_every = data_->look_every();
    if (const auto now = std::chrono::steady_clock::now(); look_every && now >= next_look) {
      next_look = now + *look_every;
      data_->on_look(stats_.lane);
    }
    while (!outbox_.empty() && link_->has_room()) {
      auto envelope = std::move(outbox_.front());
      outbox_.pop_front();
      const std::size_t size = envelope.ByteSizeLong();
      link_->send(std::move(envelope));
      const std::size_t before = part_->outbound_bytes_.fetch_sub(size, std::memory_order_relaxed);
      if (before >= outbound_bytes_max && before - size < outbound_bytes_max)
        worker_.post([part = part_] { part->on_link_room(); });
    }
    const Duration idle = std::min(look_every.value_or(send_idle), send_idle);
    if (outbox_.empty()) {
      co_await outbound_.async_wait(idle);
    } else {
      co_await link_->room().async_wait(idle);
    }
  }
  sending_ = false;
  closed_.notify();
}

void TransferRun::cut_off() {
  worker_.post([part = part_] { part->cut_off(); });
}

asio::awaitable<void> TransferRun::async_close() {
  const auto self = shared_from_this();
  if (closing_) co_return;
  data_->close();
  // What the side has said already still leaves: a Commit must not be lost to our own haste.
  closing_ = true;
  while (!outbox_.empty()) {
    link_->send(std::move(outbox_.front()));
    outbox_.pop_front();
  }
  inbound_.notify();
  outbound_.notify();
  link_->room().notify();
  worker_.post([part = part_] { part->close(); });
  while (!part_closed_ || sending_) co_await closed_.async_wait();
}

}  // namespace penstock::control
