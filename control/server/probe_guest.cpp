#include "control/server/probe_guest.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "control/gate/failure.h"
#include "control/session/fast_path_words.h"
#include "control/session/udp_probe.h"

namespace penstock::control {
namespace {

std::optional<Error> reason_against_bulk(const DaemonState& state) {
  if (state.draining) return Error{ErrorCode::DRAINING, "the daemon is shutting down; try again later"};
  if (state.places.full())
    return Error{ErrorCode::SERVER_BUSY, "the daemon runs as many transfers as it may; try again later"};
  return std::nullopt;
}

}  // namespace

proto::Envelope ProbeGuest::open(const proto::OpenProbe& open, engine::LaneKeys keys, const LanePath& path) {
  proto::Envelope reply;
  std::uint64_t bytes = 0;
  if (!open.bulk()) {
    reply.mutable_done();
  } else if (const auto refused = reason_against_bulk(state_)) {
    fill_failure(*reply.mutable_probe_opened()->mutable_refused(), *refused);
  } else {
    const Duration time = probe_time_max + probe_round_trips_max * std::min(path.rtt, probe_rtt_max);
    bytes = probe_bytes_max;
    auto& opened = *reply.mutable_probe_opened();
    opened.set_bytes_max(bytes);
    opened.set_time_max_ms(
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()));
    if (state_.config.rate_cap) opened.set_rate_cap_bps(state_.config.rate_cap->bits_per_second());
    place_ = state_.places.take();
    time_is_up_.expires_after(time);
    time_is_up_.async_wait([weak = weak_from_this()](std::error_code failed) {
      if (const auto self = weak.lock(); self && !failed) self->end();
    });
  }
  if (reply.has_probe_opened()) {
    reply.mutable_probe_opened()->set_udp_payload_max(static_cast<std::uint32_t>(path.udp_payload));
    for (auto& word : fast_path_words(state_.workers->fast_paths()))
      reply.mutable_probe_opened()->add_fast_paths(std::move(word));
  }
  start_probe_echo(state_.worker_of(own_), std::move(keys), path, bytes);
  lane_open_ = true;
  return reply;
}

void ProbeGuest::end() {
  time_is_up_.cancel();
  if (std::exchange(lane_open_, false) && state_.workers) {
    io::Worker& worker = state_.worker_of(own_);
    worker.with_receiver(
        own_, [](engine::Receiver& receiver, TimePoint) { receiver.close(engine::TransportError::cancelled); });
    worker.remove(own_);
  }
  place_.reset();
}

}  // namespace penstock::control
