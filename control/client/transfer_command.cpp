#include "control/client/transfer_command.h"

#include <algorithm>
#include <utility>

#include "common/crypto/random.h"
#include "control/client/busy_patience.h"
#include "control/client/transfer_session.h"
#include "control/session/data_message.h"
#include "dataplane/io/path_mtu.h"

namespace penstock::control {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Tuning: between attempts to come back; doubling up to the last.
constexpr Duration backoff_first = std::chrono::milliseconds{250};
constexpr Duration backoff_last = std::chrono::seconds{8};
// Tuning: what an attempt gets at the least, even when --timeout is up: a daemon that is there answers within it.
constexpr Duration attempt_min = std::chrono::seconds{1};

bool is_lost_connection(const Error& error) {
  switch (error.code) {
    case ErrorCode::PEER_LOST:
    case ErrorCode::DRAINING:
    case ErrorCode::SERVER_BUSY:
    case ErrorCode::CONNECT_REFUSED:
    case ErrorCode::RESOLVE_FAILED:
      return true;
    case ErrorCode::TIMED_OUT:
      return true;  // a handshake that got no answer
    default:
      return false;
  }
}

/// What happened, without the way out that its message ends with: for a message that has its own.
std::string_view reason_of(const Error& error) {
  const std::string_view message = error.message;
  return message.substr(0, message.find("; "));
}

Error interrupted() { return {ErrorCode::INTERRUPTED, "interrupted; the same command again resumes"}; }

}  // namespace

TransferCommand::TransferCommand(ClientMachinery& machinery, ReceiptOperation operation, const TransferWords& words,
                                 const TransferOptions& options)
    : machinery_(machinery),
      request_{operation, words, options},
      tally_(SteadyClock::now()),
      durable_(SteadyClock::now()) {}

Status TransferCommand::check_words() {
  if (request_.words.sources.empty()) return Error{ErrorCode::USAGE, "nothing to transfer was named"};
  if (request_.options.congestion == CongestionKind::fixed && !request_.options.rate)
    return Error{ErrorCode::USAGE, "--cc fixed needs a rate; add --rate, such as --rate 500M"};
  const auto congestion = congestion_named(to_string(request_.options.congestion), request_.options.rate.has_value());
  if (auto status = check_lanes(congestion, request_.options.lanes); !status) return status;
  if (!push()) return {};
  // A source that is not there is told before anybody is asked to connect.
  const auto roots = open_sources(request_.words);
  return roots ? Status{} : Status{roots.error()};
}

asio::awaitable<Result<TransferSummary>> TransferCommand::async_run() {
  if (auto status = check_words(); !status) co_return status.error();
  Duration backoff = backoff_first;
  BusyPatience patience{SteadyClock::now(), machinery_.config.connect_timeout, Rng{crypto::random_u64()}};
  bool let_in = false;  // and then lost without a word: from then on the daemon counts as one that comes back
  for (unsigned attempt = 1;; ++attempt) {
    ClientConfig config = machinery_.config;
    if ((connected_before_ || let_in) && config.timeout)
      config.connect_timeout = std::min(config.connect_timeout, std::max(time_left(), attempt_min));
    else if (!connected_before_ && !let_in) {
      config.connect_timeout = patience.left(SteadyClock::now());
      durable_ = StallWatch{SteadyClock::now()};  // the time spent on a busy daemon is --connect-timeout's
    }
    SessionRequest first_request = [this](const KnownDaemon& daemon, const TlsChannel& channel,
                                          const Agreement& agreement) {
      return async_first_request(daemon, channel, agreement);
    };
    auto opened = co_await async_open_session(config, machinery_.home, machinery_.tls, request_.options.lanes,
                                              std::move(first_request), may_go_ahead());
    std::optional<Error> error;
    if (!opened) {
      error = opened.error();
      co_await drop_prepared();
    } else {
      daemon_proven_ = false;
      const auto before = SteadyClock::now();
      auto summary = co_await run_session(std::move(*opened));
      if (summary) co_return summary;
      error = summary.error();
      // The time is up, and says so; a daemon that did not answer the proof in time is one that can not be reached.
      if (error->code == ErrorCode::TIMED_OUT && daemon_proven_) co_return *error;
      if (error->code == ErrorCode::PEER_LOST && daemon_proven_) let_in = true;
      // A session that lasted was a good one: the next trouble starts from the beginning.
      if (SteadyClock::now() - before > std::chrono::seconds{10}) {
        backoff = backoff_first;
        attempt = 1;
      }
    }
    if (machinery_.stop_requested) co_return *error;
    if (!connected_before_ && !let_in) {
      const auto busy_pause = patience.on_failed(*error, SteadyClock::now());
      if (!busy_pause) co_return patience.last_word(std::move(*error));
      machinery_.observer.on_reconnecting(*error, attempt);
      co_await async_pause(*busy_pause);
      if (machinery_.stop_requested) co_return interrupted();
      continue;
    }
    if (!is_lost_connection(*error)) co_return *error;
    if (machinery_.config.timeout && time_left() == Duration::zero())
      co_return Error{ErrorCode::TIMED_OUT, "no byte became durable for the allowed time, and " +
                                                shown_address(machinery_.config) + " can not be reached (" +
                                                std::string{reason_of(*error)} +
                                                "); run the same command again to resume"};
    machinery_.observer.on_reconnecting(*error, attempt);
    // The last attempt is made when the time is up, not a whole pause before.
    const auto pause = machinery_.config.timeout ? std::min(backoff, time_left()) : backoff;
    co_await async_pause(pause);
    if (machinery_.stop_requested) co_return interrupted();
    backoff = std::min(backoff * 2, backoff_last);
  }
}

asio::awaitable<void> TransferCommand::async_pause(Duration pause) const {
  const auto over_at = SteadyClock::now() + pause;
  while (SteadyClock::now() < over_at && !machinery_.stop_requested)
    co_await machinery_.nudge.async_wait(std::chrono::duration_cast<Duration>(over_at - SteadyClock::now()));
}

Duration TransferCommand::time_left() const {
  return std::max(*machinery_.config.timeout - durable_.stalled(SteadyClock::now()), Duration::zero());
}

DataPolicy TransferCommand::wanted_data() const {
  switch (request_.options.data) {
    case DataKind::udp:
      return DataPolicy::udp;
    case DataKind::tcp:
      return DataPolicy::tcp;
    case DataKind::automatic:
      break;
  }
  return by_tcp_before_ ? DataPolicy::automatic_from_tcp : DataPolicy::automatic;
}

proto::Envelope TransferCommand::opening(const Pin& daemon, const TlsChannel& channel, const Agreement& agreement) {
  recall_path(daemon, channel);
  auto message = open_message_of(request_, daemon, named_id(), resume_wanted());
  message.set_begins_anew(!transfer_id_ && proposed_id_);
  const auto peer = endpoint_of(channel.remote(), agreement.udp_port);
  if (const auto payload = io::udp_payload_towards(peer, request_.options.mtu))
    message.set_udp_payload_max(udp_payload_asked_ = static_cast<std::uint32_t>(*payload));
  message.set_data(encode_data_policy(wanted_data()));
  if (remembered_rate_) message.set_remembered_rate_bps(remembered_rate_->bits_per_second());
  proto::Envelope open;
  *open.mutable_open_transfer() = std::move(message);
  return open;
}

}  // namespace penstock::control
