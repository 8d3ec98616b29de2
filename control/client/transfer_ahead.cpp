// A session from its connection to TransferOpened, and what of the transfer begins before that (README, "Ahead of the
// answer").

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "common/bytes/view.h"
#include "common/crypto/random.h"
#include "control/client/transfer_session.h"
#include "control/gate/failure.h"

namespace penstock::control {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Tuning: for our own journal and target, while the daemon awaits our proof, for 10 s at the most. Nothing is gained by
// proving sooner, since the request waits for them in any case. Longer: a slow disk of ours looks like a daemon that
// does not answer, and takes a place there of those who are unproven; shorter: on a machine that is merely busy the
// request leaves a round trip later.
constexpr Duration opening_max = std::chrono::seconds{5};
constexpr int opening_share = 4;  // of --connect-timeout, if that is less

}  // namespace

bool TransferCommand::may_go_ahead() const {
  // One lane that begins by UDP is what is worth a round trip. Whoever pushes and comes back by transfer id has bytes
  // at the daemon, and awaits its verdicts.
  const auto data = wanted_data();
  return !(push() && transfer_id_) && !request_.options.dry_run && request_.options.lanes == 1 &&
         (data == DataPolicy::udp || data == DataPolicy::automatic);
}

asio::awaitable<std::optional<proto::Envelope>> TransferCommand::async_first_request(const KnownDaemon& daemon,
                                                                                     const TlsChannel& channel,
                                                                                     const Agreement& agreement) {
  proposed_id_.reset();
  if (!push()) {
    // Our own journal is asked first: it names the transfer.
    prepared_ = prepare(channel.executor(), daemon);
    const auto enough = SteadyClock::now() + std::min(opening_max, machinery_.config.connect_timeout / opening_share);
    while (!prepared_->opened && SteadyClock::now() < enough)
      co_await prepared_->news.async_wait(enough - SteadyClock::now());
    if (!prepared_->opened || !*prepared_->opened) co_return std::nullopt;
    if (!transfer_id_ && may_go_ahead() && control::may_go_ahead(agreement))
      proposed_id_ = crypto::random_array<std::tuple_size_v<storage::TransferId>>();
  }
  co_return opening(daemon.pin, channel, agreement);
}

asio::awaitable<void> TransferCommand::drop_prepared() {
  const auto prepared = std::exchange(prepared_, nullptr);
  if (!prepared) co_return;
  // Closed however it opened.
  static_cast<void>(co_await prepared->async_opened());
  co_await prepared->store->async_close();
}

void TransferCommand::hear_proof(Session& session, const proto::Envelope& envelope) {
  // Of what comes behind a refusal, or when we have turned to go, nothing counts.
  if (session.failure || session.opened.link->ended()) return;
  if (auto accepted = accept_daemon(machinery_.config, machinery_.home, session.opened, envelope); !accepted)
    session.failure = accepted.error();
  session.proven = !session.failure;
  session.news.notify();
}

void TransferCommand::greet(Session& session) {
  if (!session.proven || std::exchange(session.greeted, true)) return;
  daemon_proven_ = true;
  Connected connected;
  connected.peer = shown_address(machinery_.config);
  const auto& remote = session.opened.link->channel().remote();
  connected.address = endpoint_of(remote, remote.port()).to_string();
  connected.software = session.opened.session.agreement.peer_software;
  connected.user = session.opened.session.user;
  connected.fingerprint = to_string(session.opened.daemon.pin);
  connected.again = connected_before_;
  machinery_.observer.on_connected(connected);
  if (session.opened.registered_now) machinery_.observer.on_registered(to_string(session.opened.daemon.uuid));
}

asio::awaitable<Status> TransferCommand::async_start_ahead(std::shared_ptr<Session> session) {
  if (!push()) {
    auto begun = co_await async_begin_store(session, *named_id());
    if (!begun) co_return begun;
  }
  if (session->failure || session->link_over) co_return Status{};
  proto::TransferOpened presumed;
  presumed.set_udp_payload_max(udp_payload_asked_);
  // Where the target is not to be replaced it is new, but for what an earlier run of this command has left. Then
  // verdicts come all the same, right behind the answer, and take back what is not needed.
  presumed.set_await_verdicts(request_.options.overwrite != OverwriteMode::never);
  presumed.set_data(encode_data_policy(wanted_data()));
  co_return start_run(session, presumed, true);
}

Result<storage::TransferId> TransferCommand::judge_answer(const Session& session) const {
  const auto& opened = *session.transfer;
  storage::TransferId id{};
  if (opened.transfer_id().size() != id.size())
    return Error{ErrorCode::INTERNAL, "the daemon named no transfer", {}, ErrorSide::remote};
  std::ranges::copy(bytes::as_bytes(opened.transfer_id()), id.begin());
  // A pull's journal is found, or made, under the name that was asked for.
  if (!push() && named_id() && *named_id() != id)
    return Error{ErrorCode::INTERNAL, "the daemon opens another transfer than was asked for", {}, ErrorSide::remote};
  if (!session.run) return id;
  const auto data = agreed_data(opened);
  if (!data) return data.error();
  // Whoever has a cap does not let us go ahead.
  if (*data != wanted_data() || opened.rate_cap_bps() != 0)
    return Error{ErrorCode::INTERNAL,
                 "the daemon opens the transfer by other terms than it let us begin by",
                 {},
                 ErrorSide::remote};
  return id;
}

asio::awaitable<Status> TransferCommand::async_await_proof(std::shared_ptr<Session> session) {
  while (!session->proven && !session->failure && !session->link_over && !machinery_.stop_requested)
    co_await session->news.async_wait(std::chrono::milliseconds{250});
  greet(*session);
  if (session->proven) co_return Status{};
  co_return no_answer(*session);
}

asio::awaitable<Status> TransferCommand::async_await_opened(std::shared_ptr<Session> session) {
  const auto out_of_time = [this] { return machinery_.config.timeout && time_left() == Duration::zero(); };
  for (;;) {
    greet(*session);
    if (session->transfer) co_return Status{};
    if (session->failure || session->link_over || machinery_.stop_requested || out_of_time()) break;
    co_await session->news.async_wait(std::chrono::milliseconds{250});
  }
  co_return no_answer(*session);
}

Error TransferCommand::no_answer(const Session& session) const {
  if (session.failure) return *session.failure;
  if (machinery_.stop_requested) return {ErrorCode::INTERRUPTED, "interrupted; the same command again resumes"};
  if (!session.link_over) return stalled(session);
  Error error =
      *session.link_over ? Error{ErrorCode::PEER_LOST, "the daemon closed the connection"} : session.link_over->error();
  return session.proven ? error : named(machinery_.config, std::move(error), session.opened.way);
}

}  // namespace penstock::control
