#include "control/session/session_link.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <charconv>
#include <exception>
#include <string>
#include <utility>

#include "control/gate/framing.h"

namespace penstock::control {

using SteadyClock = std::chrono::steady_clock;

namespace {

std::string words_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& known) {
    return known.what();
  } catch (...) {
    return "an exception of no known kind";
  }
}

}  // namespace

std::shared_ptr<SessionLink> SessionLink::make(TlsChannel channel, Duration silence) {
  return std::shared_ptr<SessionLink>(new SessionLink(std::move(channel), silence));
}

SessionLink::SessionLink(TlsChannel channel, Duration silence)
    : channel_(std::move(channel)),
      outgoing_(channel_.executor()),
      bulk_(channel_.executor()),
      room_(channel_.executor()),
      tick_(channel_.executor()),
      done_(channel_.executor()),
      pong_(channel_.executor()),
      silence_max_(silence) {}

void SessionLink::send(proto::Envelope envelope) {
  if (outcome_) return;
  queue_.push_back(encode_frame(envelope));
  queued_bytes_ += queue_.back().size();
  outgoing_.notify();
}

asio::awaitable<void> SessionLink::async_room() {
  const auto self = shared_from_this();
  ++awaiting_room_;
  while (!may_answer() && !outcome_) {
    if (queued_bytes_ != 0) {
      co_await room_.async_wait();
    } else if (const auto drained = co_await channel_.async_drained_to(answers_waiting_max); !drained) {
      break;  // read_loop is told the same
    }
  }
  --awaiting_room_;
}

bool SessionLink::may_answer() const { return queued_bytes_ + channel_.send_queue_bytes() <= answers_waiting_max; }

void SessionLink::send_data(std::size_t lane, std::string frame) {
  if (outcome_) return;
  data_.push_back({lane, std::move(frame)});
  bulk_.notify();
}

void SessionLink::end(Status reason, Duration orderly_max, TlsChannel::PeerEnd peer_end) {
  if (outcome_) return;
  peer_end_ = peer_end;
  const bool orderly = reason.ok();
  Error cause = orderly ? Error{ErrorCode::CANCELLED, "the session is over"} : reason.error();
  outcome_ = std::move(reason);
  data_.clear();  // what it carries is resumed
  outgoing_.notify();
  bulk_.notify();
  tick_.notify();
  pong_.notify();
  room_.notify();
  // An orderly end lets write_loop empty the queue first; it closes the channel, which ends read_loop.
  // A peer that does not read must not keep it from ending.
  if (orderly) {
    channel_.expire_after(orderly_max);
  } else {
    channel_.abort(std::move(cause));
  }
}

asio::awaitable<Status> SessionLink::async_run(Handler handler) {
  const auto self = shared_from_this();
  silence_.on_heard(SteadyClock::now());
  const auto start = [&](asio::awaitable<void> loop) {
    ++running_;
    asio::co_spawn(channel_.executor(), std::move(loop), [self](std::exception_ptr failed) {
      if (failed) self->end(Error{ErrorCode::INTERNAL, "a loop of the control channel failed: " + words_of(failed)});
      --self->running_;
      self->done_.notify();
    });
  };
  start(read_loop(std::move(handler)));
  start(write_loop());
  start(data_loop());
  start(watch_loop());
  while (running_ != 0) co_await done_.async_wait();
  co_return *outcome_;
}

asio::awaitable<void> SessionLink::read_loop(Handler handler) {
  while (!outcome_) {
    reading_ = true;
    silence_.on_heard(SteadyClock::now());
    auto frame = co_await channel_.async_receive();
    reading_ = false;
    if (!frame) {
      end(frame.error());
      break;
    }
    silence_.on_heard(SteadyClock::now());
    auto& envelope = frame->envelope;
    if (envelope.has_ping()) {
      // An answer that stood behind so much would tell of no path, and who pings without reading is to hold no memory.
      if (!may_answer()) continue;
      proto::Envelope reply;
      reply.mutable_pong()->set_payload(envelope.ping().payload().substr(0, 64));
      send(std::move(reply));
      continue;
    }
    if (envelope.has_pong()) {
      const std::string& payload = envelope.pong().payload();
      std::uint64_t number = 0;
      const auto read = std::from_chars(payload.data(), payload.data() + payload.size(), number);
      if (read.ec == std::errc{} && number > pong_seen_ && number <= pings_ && pings_ - number < pings_remembered) {
        pong_seen_ = number;
        answered_sent_ = ping_sent_[number % pings_remembered];
        ping_rtt_ = std::chrono::duration_cast<Duration>(SteadyClock::now() - *answered_sent_);
        pong_.notify();
      }
      continue;
    }
    if (auto status = co_await handler(std::move(envelope)); !status) end(std::move(status));
  }
}

asio::awaitable<void> SessionLink::write_loop() {
  for (;;) {
    while (!queue_.empty() && !(outcome_ && !outcome_->ok())) {
      std::string frame = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= frame.size();
      if (has_room()) room_.notify();
      if (auto status = co_await channel_.async_send_frame(std::move(frame)); !status) end(std::move(status));
    }
    if (outcome_) break;
    co_await outgoing_.async_wait();
  }
  if (outcome_->ok()) co_await channel_.async_close(std::chrono::seconds{2}, peer_end_);
}

asio::awaitable<void> SessionLink::data_loop() {
  std::size_t unsent_max = 0;
  while (!outcome_) {
    if (data_.empty()) {
      co_await bulk_.async_wait();
      continue;
    }
    if (unsent_max != data_pace_.ahead_max()) channel_.set_unsent_max(unsent_max = data_pace_.ahead_max());
    const auto asked = SteadyClock::now();
    if (auto status = co_await channel_.async_drained_to(data_pace_.ahead_max()); !status) {
      end(std::move(status));
      break;
    }
    const auto blocked = std::chrono::duration_cast<Duration>(SteadyClock::now() - asked);
    if (outcome_ || data_.empty()) continue;
    Bulk bulk = std::move(data_.front());
    data_.pop_front();
    const std::size_t size = bulk.frame.size();
    if (auto status = co_await channel_.async_send_frame(std::move(bulk.frame)); !status) end(std::move(status));
    data_pace_.on_written(SteadyClock::now(), size, blocked);
    if (on_data_written) on_data_written(bulk.lane, size);
  }
}

void SessionLink::send_ping() {
  proto::Envelope ping;
  ping.mutable_ping()->set_payload(std::to_string(++pings_));
  ping_sent_[pings_ % pings_remembered] = SteadyClock::now();
  send(std::move(ping));
}

void SessionLink::ping() {
  if (pings_ == 0 || SteadyClock::now() - ping_sent_[pings_ % pings_remembered] >= ping_pause) send_ping();
}

void SessionLink::look_for_life(SteadyClock::time_point now) {
  // Half a message is one too: on a slow path one of bulk takes its time.
  const auto bytes = channel_.received_bytes();
  bool alive = std::exchange(bytes_seen_, bytes) != bytes;
  // Only while nothing is read: else a peer whose system goes on taking our pings would never be lost.
  if (awaiting_room_ != 0) {
    const auto taken = channel_.taken_bytes();
    alive = alive || taken > taken_seen_;
    taken_seen_ = std::max(taken_seen_, taken);
  }
  if (alive) silence_.on_heard(now);
}

asio::awaitable<void> SessionLink::watch_loop() {
  auto next_ping = SteadyClock::now() + ping_interval;
  while (!outcome_) {
    co_await tick_.async_wait(silence_.plan_look(next_ping - SteadyClock::now()));
    if (outcome_) break;
    const auto now = SteadyClock::now();
    look_for_life(now);
    const bool heeding = reading_ || awaiting_room_ != 0;
    silence_.on_look(now, heeding);
    // Until the daemon has proven itself the channel's own deadline holds: pings are not answered before.
    if (heeding && !channel_.expires() && silence_.silent_for() >= silence_max_) {
      end(Error{ErrorCode::PEER_LOST,
                reading_ ? "the other end has been silent for 5 seconds; the same command again resumes"
                         : "the other end has not read what it asked for, for 5 seconds"});
      break;
    }
    if (now >= next_ping) {
      next_ping = now + ping_interval;
      send_ping();
    }
  }
}

asio::awaitable<Result<Duration>> SessionLink::async_ping() {
  const auto self = shared_from_this();
  send_ping();
  const std::uint64_t number = pings_;
  while (!outcome_ && pong_seen_ < number) co_await pong_.async_wait();
  if (pong_seen_ >= number) co_return *ping_rtt_;
  co_return outcome_->ok() ? Error{ErrorCode::PEER_LOST, "the session ended"} : outcome_->error();
}

}  // namespace penstock::control
