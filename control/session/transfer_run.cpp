#include "control/session/transfer_run.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <chrono>
#include <utility>

#include "common/crypto/random.h"
#include "control/session/worker_part.h"

namespace penstock::control {
namespace {

// Tuning: how often lanes are looked at that may have fallen silent.
constexpr Duration lanes_tick = std::chrono::seconds{1};
constexpr Duration send_idle = std::chrono::seconds{1};

}  // namespace

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
  const bool ahead = config.ahead;
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
  if (!ahead) run->data_->start();
  run->sending_ = true;
  asio::co_spawn(
      executor, [run]() -> asio::awaitable<void> { return run->send_loop(); }, asio::detached);
  return run;
}

void TransferRun::confirm(bool await_verdicts) {
  if (closing_) return;
  worker_.post([part = part_, await_verdicts] { part->on_answered(await_verdicts); });
  data_->start();
  outbound_.notify();  // looks begin
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
