#include "tests/sim/under_attack.h"

#include <algorithm>
#include <span>
#include <utility>
#include <variant>

#include "common/check.h"
#include "dataplane/engine/wire/frames.h"
#include "tests/sim/datagram.h"

namespace penstock::sim {

using namespace std::chrono_literals;

SenderUnderAttack::SenderUnderAttack(std::uint64_t seed, engine::Congestion congestion, std::uint64_t bytes)
    : peer(seed),
      truth_(bytes),
      source_(events_, truth_, {}, [this] { sender.on_source_ready(); }),
      sender({.congestion = congestion,
              .rate = congestion == engine::Congestion::fixed ? std::optional{DataRate::megabits_per_second(1000)}
                                                              : std::nullopt,
              .initial_rtt = 20ms,
              .initial_credit = bytes,
              .fec = {.mode = engine::FecMode::automatic}},
             peer.victim_keys(), Rng{seed}) {
  sender.open_path(events_.now());
  sender.offer({bytes});
  sender.finish({bytes});
}

bytes::IntervalSet SenderUnderAttack::send_for(Duration time, Duration step) {
  bytes::IntervalSet numbers;
  const TimePoint end = now_ + time;
  std::vector<std::byte> buffer(engine::udp_payload_limit);
  while (now_ < end) {
    while (events_.run_one(now_)) {
    }
    if (const auto due = sender.poll_timeout(); due && *due <= now_) sender.handle_timeout(now_);
    while (const auto batch = sender.poll_transmit(now_, source_, buffer)) {
      for (std::size_t at = 0; at < batch->size; at += batch->segment_size) {
        const auto header =
            read_clear_header(std::span{buffer}.subspan(at, std::min(batch->segment_size, batch->size - at)));
        PENSTOCK_CHECK(header);
        numbers.insert({header->number, std::uint64_t{header->number} + 1});
      }
    }
    poll_events();
    source_.on_progress(sender.frontier(), sender.oldest_unacknowledged(), sender.retention_target());
    now_ += step;
  }
  return numbers;
}

void SenderUnderAttack::hear(Datagram datagram) {
  sender.handle_datagrams(now_, datagram, datagram.size());
  poll_events();
}

void SenderUnderAttack::acknowledge(const bytes::IntervalSet& numbers, std::optional<engine::EcnCounts> counts) {
  hear(peer.frames([&](bytes::WireWriter& out) {
    if (counts) engine::encode_ecn_counts(out, *counts);
    engine::encode_ack(out, 1000, {.credit = {bytes(), {bytes()}}}, numbers.intervals(), {});
  }));
}

void SenderUnderAttack::acknowledge(const bytes::IntervalSet& numbers, const engine::AckFields& fields) {
  hear(peer.frames([&](bytes::WireWriter& out) { engine::encode_ack(out, 1000, fields, numbers.intervals(), {}); }));
}

void SenderUnderAttack::poll_events() {
  while (const auto event = sender.poll_event()) {
    if (const auto* over = std::get_if<engine::Closed>(&*event)) closed = *over;
    if (const auto* prefetch = std::get_if<engine::Prefetch>(&*event)) source_.prefetch(prefetch->range);
  }
}

ReceiverUnderAttack::ReceiverUnderAttack(std::uint64_t seed, std::uint64_t credit)
    : peer(seed),
      truth_(attacked_bytes),
      sink_(events_, truth_, {}, [this] { receiver.on_sink_room(now_); }),
      receiver({.initial_rtt = 20ms, .initial_credit = credit}, peer.victim_keys(), Rng{seed}) {
  receiver.open_path(now_);
  receiver.expect({attacked_bytes});
  sink_.expect({attacked_bytes});
  receiver.finish({attacked_bytes});
}

engine::BatchOutcome ReceiverUnderAttack::hear(Datagram datagram) {
  const auto outcome = receiver.handle_datagrams(now_, datagram, datagram.size(), sink_);
  poll_events();
  return outcome;
}

std::uint64_t ReceiverUnderAttack::send_for(Duration time) {
  std::uint64_t datagrams = 0;
  const TimePoint end = now_ + time;
  std::vector<std::byte> buffer(engine::udp_payload_limit);
  for (; now_ < end; now_ += 1ms) {
    while (events_.run_one(now_)) {
    }
    if (const auto due = receiver.poll_timeout(); due && *due <= now_) receiver.handle_timeout(now_);
    while (const auto batch = receiver.poll_transmit(now_, sink_, buffer))
      datagrams += (batch->size + batch->segment_size - 1) / batch->segment_size;
    poll_events();
  }
  return datagrams;
}

void ReceiverUnderAttack::poll_events() {
  while (const auto event = receiver.poll_event()) {
    if (const auto* over = std::get_if<engine::Closed>(&*event)) closed = *over;
  }
}

}  // namespace penstock::sim
