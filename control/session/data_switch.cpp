#include "control/session/data_switch.h"

#include <algorithm>
#include <asio/post.hpp>
#include <utility>

#include "control/session/data_message.h"
#include "dataplane/io/monotonic_now.h"

namespace penstock::control {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Tuning: while bytes go by TCP the sink pings so often, so that a NAT in between keeps its entry, and a source that
// never heard of us learns where we are once UDP gets through.
constexpr Duration sink_ping_every = std::chrono::seconds{5};

Error breach(std::string_view what) {
  return {ErrorCode::INTERNAL, "the other end broke the protocol: " + std::string{what}, {}, ErrorSide::remote};
}

/// The kernel's clock is one, whichever of its names it is read by.
TimePoint as_engine_time(SteadyClock::time_point at) {
  return TimePoint{std::chrono::duration_cast<Duration>(at.time_since_epoch())};
}

}  // namespace

std::optional<DataPolicy> decode_data_policy(proto::DataPolicy policy) {
  switch (policy) {
    case proto::DATA_POLICY_UDP:
      return DataPolicy::udp;
    case proto::DATA_POLICY_TCP:
      return DataPolicy::tcp;
    case proto::DATA_POLICY_AUTO:
      return DataPolicy::automatic;
    case proto::DATA_POLICY_AUTO_FROM_TCP:
      return DataPolicy::automatic_from_tcp;
    default:
      return std::nullopt;
  }
}

proto::DataPolicy encode_data_policy(DataPolicy policy) {
  switch (policy) {
    case DataPolicy::udp:
      return proto::DATA_POLICY_UDP;
    case DataPolicy::tcp:
      return proto::DATA_POLICY_TCP;
    case DataPolicy::automatic:
      return proto::DATA_POLICY_AUTO;
    case DataPolicy::automatic_from_tcp:
      return proto::DATA_POLICY_AUTO_FROM_TCP;
  }
  return proto::DATA_POLICY_UNSPECIFIED;
}

DataSwitch::DataSwitch(Config config, std::shared_ptr<SessionLink> link)
    : config_(std::move(config)), link_(std::move(link)), taken_(link_->channel().executor()) {
  if (!config_.source) return;
  if (config_.policy == DataPolicy::udp) return;
  const std::size_t share = std::max(data_waiting_max / config_.lanes.size(), data_waiting_least);
  for (std::size_t lane = 0; lane < config_.lanes.size(); ++lane) {
    const LaneRef& ref = config_.lanes[lane];
    outlets_.push_back(
        std::make_shared<DataOutlet>(link_->channel().executor(), link_, lane, *ref.worker, ref.own, share));
  }
}

void DataSwitch::start() {
  if (config_.policy == DataPolicy::udp) return;
  if (config_.source) {
    if (config_.policy != DataPolicy::tcp)
      judge_.emplace(io::monotonic_now(), config_.policy == DataPolicy::automatic ? DataWay::udp : DataWay::tcp);
    link_->on_data_written = [weak = weak_from_this()](std::size_t lane, std::size_t bytes) {
      if (const auto self = weak.lock()) self->outlets_.at(lane)->on_written(bytes);
    };
    if (config_.policy != DataPolicy::automatic) turn({.way = DataWay::tcp, .reason = SwitchReason::asked});
  }
}

void DataSwitch::close() {
  if (std::exchange(closed_, true)) return;
  link_->on_data_written = nullptr;
  on_turn = nullptr;
  for (std::size_t lane = 0; lane < outlets_.size(); ++lane)
    at_lane(lane, [](io::Worker& worker, ConnectionId own) { worker.set_outlet(own, nullptr); });
  taken_.notify();
}

std::optional<Duration> DataSwitch::look_every() const {
  if (judge_) return WayJudge::look_every;
  if (!config_.source && way_ == DataWay::tcp) return sink_ping_every;
  return std::nullopt;
}

// --- the source -----------------------------------------------------------------------------------------------------

void DataSwitch::on_look(const engine::LaneStats& lanes) {
  if (closed_) return;
  const auto now = SteadyClock::now();
  if (!config_.source) {
    if (way_ != DataWay::tcp || config_.policy == DataPolicy::tcp || (pinged_ && now - *pinged_ < sink_ping_every))
      return;
    pinged_ = now;
    return tell_receivers([](engine::Receiver& receiver) { receiver.ping(); });
  }
  if (!judge_) return;
  WayLook look;
  look.now = as_engine_time(now);
  look.answered_at = lanes.answered_at;
  look.unanswered_since = lanes.unanswered_since;
  look.data_answered_at = lanes.data_answered_at;
  look.data_unanswered_since = lanes.data_unanswered_since;
  look.path_known = config_.peer_known || lanes.last_heard.has_value();
  if (const auto sent = link_->answered_ping_sent()) look.control_answered = as_engine_time(*sent);
  look.rtt = std::max(link_->channel().smoothed_rtt().value_or(Duration{}),
                      lanes.answered_at ? lanes.rtt_smoothed : Duration{});
  look.udp_bytes =
      lanes.payload_bytes_sent - lanes.payload_bytes_retransmitted - (lanes.stream_bytes - lanes.stream_bytes_repeated);
  look.tcp_bytes = lanes.stream_bytes_arrived;
  look.packets_sent = lanes.packets_sent;
  look.packets_lost = lanes.packets_lost;
  look.peer_socket_drops = lanes.peer_socket_drops;
  look.sink_busy = sink_busy_;
  look.path_limited = lanes.limit == engine::SenderLimit::stream || lanes.limit == engine::SenderLimit::cwnd ||
                      (lanes.limit == engine::SenderLimit::pacing && !config_.rate_capped);
  const WayOrder order = judge_->on_look(look);
  if (order.ping_control) link_->ping();
  if (order.ping_udp) tell_sender(0, [](engine::Sender& sender, TimePoint) { sender.ping(); });
  if (order.turn) turn(*order.turn);
}

void DataSwitch::turn(const WayOrder::Switch& to) {
  way_ = to.way;
  ++switches_;
  for (std::size_t lane = 0; lane < config_.lanes.size(); ++lane) {
    if (to.way == DataWay::tcp) {
      tell_sender(lane, [](engine::Sender& sender, TimePoint) { sender.go_by_stream(); });
    } else {
      at_lane(lane, [](io::Worker& worker, ConnectionId own) { worker.set_outlet(own, nullptr); });
      tell_sender(lane, [](engine::Sender& sender, TimePoint) { sender.go_by_datagrams(); });
    }
  }
  proto::Envelope message;
  encode_switch(switches_, to, *message.mutable_switch_data());
  link_->send(std::move(message));
  if (on_turn) on_turn(to);
}

Status DataSwitch::handle_switched(const proto::DataSwitched& message) {
  if (message.number() > switches_ || message.number() == 0) return breach("it answers a switch of data that was none");
  auto holdings = decode_holdings(message, config_.lanes.size());
  if (!holdings) return holdings.error();
  if (message.number() != switches_ || way_ != DataWay::tcp) return {};  // we have turned away since
  for (std::size_t lane = 0; lane < config_.lanes.size(); ++lane) {
    tell_sender(lane, [holding = std::move((*holdings)[lane])](engine::Sender& sender, TimePoint) {
      for (const TransferRange& range : holding.held) sender.on_held(range);
      sender.on_credit(holding.credit);
    });
    at_lane(lane, [outlet = outlets_[lane]](io::Worker& worker, ConnectionId own) { worker.set_outlet(own, outlet); });
  }
  return {};
}

Status DataSwitch::handle_ack(const proto::DataAck& message) {
  auto decoded = decode_stream_ack(message, config_.lanes.size());
  if (!decoded) return decoded.error();
  tell_sender(decoded->lane, [ack = std::move(decoded->ack)](engine::Sender& sender, TimePoint now) {
    sender.on_stream_ack(now, ack);
  });
  return {};
}

// --- the sink -------------------------------------------------------------------------------------------------------

Status DataSwitch::handle_switch(const proto::SwitchData& message) {
  const auto to = decode_switch(message);
  if (!to) return to.error();
  if (message.number() != switches_ + 1) return breach("its switches of data are out of order");
  if (to->way == DataWay::udp && config_.policy == DataPolicy::tcp) return breach("data by UDP was not agreed on");
  ++switches_;
  way_ = to->way;
  tell_receivers([by_udp = to->way == DataWay::udp](engine::Receiver& receiver) { receiver.set_probing(by_udp); });
  if (to->way == DataWay::tcp) {
    by_tcp_ever_ = true;
    answer_switch(message.number());
  }
  if (on_turn) on_turn(*to);
  return {};
}

void DataSwitch::answer_switch(std::uint64_t number) {
  struct Gathering {
    std::vector<engine::Receiver::Holding> holdings;
    std::size_t left;
  };
  const auto gathering = std::make_shared<Gathering>(Gathering{{}, config_.lanes.size()});
  gathering->holdings.resize(config_.lanes.size());
  const std::size_t ranges_max = held_ranges_max / config_.lanes.size();
  for (std::size_t lane = 0; lane < config_.lanes.size(); ++lane) {
    const auto answer = [weak = weak_from_this(), executor = link_->channel().executor(), gathering, number,
                         lane](const engine::Receiver::Holding& holding) {
      asio::post(executor, [weak, gathering, number, lane, holding] {
        const auto self = weak.lock();
        if (!self || self->closed_) return;
        gathering->holdings[lane] = holding;
        if (--gathering->left > 0) return;
        proto::Envelope reply;
        reply.mutable_data_switched()->set_number(number);
        for (const auto& each : gathering->holdings) encode_holding(each, *reply.mutable_data_switched()->add_lanes());
        self->link_->send(std::move(reply));
      });
    };
    at_lane(lane, [ranges_max, answer](io::Worker& worker, ConnectionId own) {
      worker.ask_holding(own, ranges_max, answer);
    });
  }
}

asio::awaitable<Status> DataSwitch::async_handle_data(proto::Data data) {
  const auto self = shared_from_this();
  if (!by_tcp_ever_) co_return breach("data by TCP before the switch");
  auto message = take_data(std::move(data), config_.lanes.size());
  if (!message) co_return message.error();
  while (arrived_bytes_ >= data_arrived_max && !closed_ && !link_->ended()) co_await taken_.async_wait();
  if (closed_) co_return Status{};
  const std::size_t size = message->payload.size();
  arrived_bytes_ += size;
  const LaneRef& ref = config_.lanes[message->lane];
  const auto done = [weak = weak_from_this(), executor = link_->channel().executor(), size] {
    asio::post(executor, [weak, size] {
      const auto here = weak.lock();
      if (!here) return;
      here->arrived_bytes_ -= size;
      here->taken_.notify();
    });
  };
  ref.worker->hand_stream(ref.own, message->at, std::move(message->payload), done);
  co_return Status{};
}

// --- both -----------------------------------------------------------------------------------------------------------

asio::awaitable<Status> DataSwitch::async_handle(proto::Envelope envelope) {
  if (closed_) co_return Status{};
  if (config_.policy == DataPolicy::udp) co_return breach("data by TCP was not agreed on");
  if (envelope.has_data() && !config_.source) co_return co_await async_handle_data(std::move(*envelope.mutable_data()));
  if (envelope.has_switch_data() && !config_.source) co_return handle_switch(envelope.switch_data());
  if (envelope.has_data_switched() && config_.source) co_return handle_switched(envelope.data_switched());
  if (envelope.has_data_ack() && config_.source) co_return handle_ack(envelope.data_ack());
  co_return breach("data in the wrong direction");
}

void DataSwitch::at_lane(std::size_t lane, std::function<void(io::Worker&, ConnectionId)> act) const {
  // Twice posted, as the adding of lane 0 is.
  const LaneRef& ref = config_.lanes[lane];
  ref.worker->post([worker = ref.worker, own = ref.own, act = std::move(act)] { act(*worker, own); });
}

void DataSwitch::tell_sender(std::size_t lane, std::function<void(engine::Sender&, TimePoint)> act) {
  at_lane(lane, [act = std::move(act)](io::Worker& worker, ConnectionId own) { worker.with_sender(own, act); });
}

void DataSwitch::tell_receivers(const std::function<void(engine::Receiver&)>& act) {
  for (std::size_t lane = 0; lane < config_.lanes.size(); ++lane) {
    at_lane(lane, [act](io::Worker& worker, ConnectionId own) {
      worker.with_receiver(own, [act](engine::Receiver& receiver, TimePoint) { act(receiver); });
    });
  }
}

}  // namespace penstock::control
