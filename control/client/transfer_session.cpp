#include "control/client/transfer_session.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <utility>

#include "common/bytes/hex.h"
#include "control/gate/fec_words.h"
#include "control/session/async_blocking.h"
#include "control/session/data_message.h"
#include "control/session/lane_setup.h"
#include "dataplane/io/path_mtu.h"

namespace penstock::control {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Specification: no datagram at all for so long, while the control channel lives (CLI.md section 5, UDP_BLOCKED).
constexpr Duration udp_patience = std::chrono::seconds{10};
constexpr Duration progress_interval = std::chrono::milliseconds{500};
// Tuning: the same command, started again, waits so long for the older one to make durable what it has.
constexpr Duration takeover_patience = std::chrono::seconds{15};
// Tuning: for what it makes durable. Less asks the daemon in vain, more leaves one that came late running for so long.
constexpr Duration takeover_pause = std::chrono::seconds{1};

FileAction action_of(EntryOutcome outcome) {
  switch (outcome) {
    case EntryOutcome::finished:
      return FileAction::send;
    case EntryOutcome::replaced:
      return FileAction::replace;
    case EntryOutcome::skipped:
      return FileAction::skip;
    case EntryOutcome::refused:
      return FileAction::refuse;
  }
  return FileAction::send;
}

}  // namespace

Error TransferCommand::stalled(const Session& session) const {
  std::string message = "no byte became durable for the allowed time";
  if (session.started && !request_.options.dry_run && !session.run->peer_heard() &&
      session.run->data_way() == DataWay::udp)
    message += ", and no UDP datagram has come from port " + std::to_string(session.opened.session.agreement.udp_port) +
               " of " + shown_address(machinery_.config) + ", though TCP works; let UDP through the firewall, then";
  else
    message += ';';
  return {ErrorCode::TIMED_OUT, message + " run the same command again to resume"};
}

Result<DataPolicy> TransferCommand::agreed_data(const proto::TransferOpened& opened) const {
  const auto agreed = decode_data_policy(opened.data());
  if (!agreed && request_.options.data == DataKind::tcp)
    return Error{ErrorCode::VERSION_MISMATCH,
                 "the daemon is too old to take or give file bytes by TCP; leave --data tcp out"};
  return agreed.value_or(DataPolicy::udp);
}

std::shared_ptr<TransferCommand::Preparation> TransferCommand::prepare(const asio::any_io_executor& executor,
                                                                       const KnownDaemon& daemon) {
  auto prepared = std::make_shared<Preparation>(executor, std::make_shared<LocalStore>(machinery_, request_, executor));
  asio::co_spawn(
      executor,
      [this, prepared, daemon]() -> asio::awaitable<void> {
        prepared->opened = co_await async_open_store(prepared->store, daemon);
        prepared->news.notify();
      },
      asio::detached);
  return prepared;
}

asio::awaitable<Status> TransferCommand::async_open_store(std::shared_ptr<LocalStore> store,
                                                          const KnownDaemon& daemon) {
  const auto open = [store, owner = daemon.uuid.bytes, key = resume_key_of(request_, daemon.pin),
                     resume = resume_wanted()] { return store->open(owner, key, resume); };
  auto opened = co_await async_blocking(machinery_.threads, open);
  if (opened && store->resumed()) transfer_id_ = store->resumed();
  co_return opened;
}

asio::awaitable<Status> TransferCommand::async_begin_store(std::shared_ptr<Session> session,
                                                           const storage::TransferId& transfer) {
  const auto& daemon = session->opened.daemon;
  const auto begin = [store = session->store, transfer, owner = daemon.uuid.bytes,
                      key = resume_key_of(request_, daemon.pin)] { return store->begin(transfer, owner, key); };
  co_return co_await async_blocking(machinery_.threads, begin);
}

Result<RunConfig> TransferCommand::make_run(Session& session, const proto::TransferOpened& opened) {
  RunConfig config;
  config.role = push() ? TransferRole::source : TransferRole::sink;
  config.report_entries = request_.options.report_files || request_.options.dry_run;
  config.own = session.opened.session.agreement.client_ids.front();
  const auto& agreement = session.opened.session.agreement;
  const auto where = udp_endpoint_of(session.opened.link->channel().remote(), agreement);
  if (!where) return where.error();
  const io::Endpoint peer = *where;
  config.peer = peer;
  LanePath path;
  path.ip_overhead = io::ip_overhead(peer);
  path.rtt = session.opened.link->channel().smoothed_rtt().value_or(path.rtt);
  path.udp_payload = std::max<std::size_t>(opened.udp_payload_max(), engine::udp_payload_min);
  path.udp_payload = std::min(path.udp_payload, engine::udp_payload_limit);
  apply_path(path, config);
  if (push()) config.sender.remembered_rate = remembered_rate_;
  config.sender.rate = request_.options.rate;
  if (opened.rate_cap_bps() != 0) {
    const auto cap = DataRate::bits_per_second(opened.rate_cap_bps());
    if (!config.sender.rate || *config.sender.rate > cap) config.sender.rate = cap;
  }
  config.sender.congestion = congestion_named(to_string(request_.options.congestion), config.sender.rate.has_value());
  // A pull's daemon judges for itself, and we know here whether it can.
  const auto fec = fec_for(request_.options.fec, agreement);
  if (!fec) return fec.error();
  config.sender.fec = *fec;
  if (request_.options.shuffle_chunks) config.sender.order = engine::ChunkOrder::shuffled;
  const auto data = agreed_data(opened);
  if (!data) return data.error();
  config.data = *data;
  if (*data == DataPolicy::tcp) config.peer.reset();  // no datagram ever leaves
  if (!push()) config.receiver.hello_until_heard = *data != DataPolicy::tcp;
  if (!request_.options.dry_run) {
    auto& secrets = session.opened.session.secrets;
    config.keys = take_lane_keys(secrets, agreement, End::client);
    for (std::size_t lane = 1; lane < agreement.lanes(); ++lane) {
      const auto& [worker, door] = machinery_.more_workers.at(lane - 1);
      config.more_lanes.push_back({.keys = take_lane_keys(secrets, agreement, End::client, lane),
                                   .worker = worker.get(),
                                   .post = WorkerDoor::poster(door)});
    }
  }

  if (push()) {
    config.source_side.await_verdicts = opened.await_verdicts();
    config.source_side.dry_run = request_.options.dry_run;
    config.source_side.report_entries = config.report_entries;
  } else {
    config.sink_side.dry_run = request_.options.dry_run;
    config.sink_side.report_entries = config.report_entries;
  }
  if (auto equipped = session.store->equip(config); !equipped) return equipped.error();
  return config;
}

asio::awaitable<Status> TransferCommand::async_take_over(std::shared_ptr<Session> session) {
  const auto deadline = SteadyClock::now() + takeover_patience;
  const auto give_up = [&] { return machinery_.stop_requested || session->failure || session->link_over; };
  for (;;) {
    // The other process may be ahead of its request, so that the daemon knows of no session to end: it is asked again.
    session->done = false;
    proto::Envelope request;
    *request.mutable_open_transfer() =
        open_message_of(request_, session->opened.daemon.pin, std::nullopt, resume_wanted());
    request.mutable_open_transfer()->set_only_take_over(true);
    session->opened.link->send(std::move(request));
    while (!session->done && !give_up() && SteadyClock::now() < deadline)
      co_await session->news.async_wait(std::chrono::milliseconds{250});
    const auto ask_again = SteadyClock::now() + takeover_pause;
    do {
      // The other process makes durable what it has, then lets go.
      auto opened = co_await async_open_store(session->store, session->opened.daemon);
      if (opened || opened.error().code != ErrorCode::TRANSFER_ACTIVE || give_up() || SteadyClock::now() >= deadline)
        co_return opened;
      co_await session->news.async_wait(std::chrono::milliseconds{100});
    } while (SteadyClock::now() < ask_again);
  }
}

asio::awaitable<void> TransferCommand::leave(Session& session, TlsChannel::PeerEnd peer_end) {
  if (session.run) {
    by_tcp_before_ = session.run->data_way() == DataWay::tcp;
    tally_.on_session_over(session.run->stats());
    co_await session.run->async_close();
  }
  const auto link = session.opened.link;
  link->end(Status{}, orderly_end_max, peer_end);
  while (!session.link_over) co_await session.news.async_wait(std::chrono::milliseconds{100});
  session.run.reset();
  co_await session.store->async_close();
}

/// Hears what the daemon says, until the link is over.
void TransferCommand::listen(const std::shared_ptr<Session>& session) {
  const auto link = session->opened.link;
  const auto handler = [this, session](proto::Envelope envelope) -> asio::awaitable<Status> {
    if (!session->proven) {
      hear_proof(*session, envelope);
      co_return Status{};
    }
    const bool data = is_about_data(envelope);
    if (envelope.id() != 0 || data) {
      // A run that is ahead must not take for the transfer's what was said before there is one.
      if (!session->transfer)
        co_return Error{ErrorCode::INTERNAL, "a transfer's message before the transfer", {}, ErrorSide::remote};
      // The daemon's first segments may overtake our own preparations, and our judgement of its answer.
      while (!session->under_way && !session->opened.link->ended())
        co_await session->news.async_wait(std::chrono::milliseconds{50});
      if (!session->under_way) co_return Status{};
      if (data) co_return co_await session->run->async_deliver_data(std::move(envelope));
      co_return co_await session->run->async_deliver(std::move(envelope));
    }
    switch (envelope.body_case()) {
      case proto::Envelope::kFailure:
        session->failure = error_of_failure(envelope.failure());
        break;
      case proto::Envelope::kTransferOpened:
        session->transfer = envelope.transfer_opened();
        break;
      case proto::Envelope::kDone:
        session->done = true;
        break;
      case proto::Envelope::kSinkProgress:
        session->sink_progress = envelope.sink_progress();
        if (session->run) session->run->on_sink_limit(session->sink_progress.limited_by());
        break;
      case proto::Envelope::kSourceProgress:
        session->source_progress = envelope.source_progress();
        break;
      default:
        break;
    }
    session->news.notify();
    if (session->run) session->run->changed().notify();
    co_return Status{};
  };
  asio::co_spawn(
      link->channel().executor(),
      [session, link, handler]() -> asio::awaitable<void> {
        SessionLink::Handler handle = handler;
        auto over = co_await link->async_run(std::move(handle));
        session->link_over = over;
        session->news.notify();
        if (session->run) session->run->changed().notify();
      },
      asio::detached);
}

void TransferCommand::tell_observer(const std::shared_ptr<Session>& session) {
  const auto run = session->run;
  const std::weak_ptr weak = session;
  run->on_warning = [this, weak](const Error& warning) {
    const auto here = weak.lock();
    if (!here) return;
    here->tell([this, warning] {  // a session counts from where it is told of
      tally_.on_left_out(warning);
      machinery_.observer.on_warning({warning});
    });
  };
  run->on_data_turn = [this, weak](const WayOrder::Switch& turn) {
    if (const auto here = weak.lock()) here->turned = true;
    DataTurn news;
    news.data = to_string(turn.way);
    news.message = words_of(turn);
    news.away_from_udp = turn.way == DataWay::tcp;
    machinery_.observer.on_data_turn(news);
  };
  run->on_mark_news = [this, weak](const std::string& text) {
    const auto here = weak.lock();
    if (here) here->tell([this, text] { machinery_.observer.on_mark_news(text); });
  };
  run->on_entry = [this, weak](const storage::FileReport& report, storage::FileType type, EntryOutcome outcome) {
    FileNews news;
    news.kind = type == storage::FileType::symlink ? EntryKind::symlink : EntryKind::regular;
    // Below DEST, as in the receipt. How a single file is called there, the daemon says only at the end.
    news.path = landed_path(report, landing_of(request_.words));
    if (news.path.empty() && report.root < request_.words.sources.size())
      news.path = request_.words.sources[report.root].last_name;
    news.bytes = report.size;
    const bool moved = outcome == EntryOutcome::finished || outcome == EntryOutcome::replaced;
    if (moved && news.kind == EntryKind::regular && !request_.options.dry_run) news.digest = report.digest.to_string();
    news.action = action_of(outcome);
    const auto here = weak.lock();
    if (here) here->tell([this, news] { machinery_.observer.on_file(news); });
  };
}

Status TransferCommand::start_run(const std::shared_ptr<Session>& session, const proto::TransferOpened& opened,
                                  bool ahead) {
  auto config = make_run(*session, opened);
  if (!config) return config.error();
  config->ahead = ahead;
  session->run = TransferRun::start(std::move(*config), machinery_.worker, session->opened.link);
  tell_observer(session);
  session->news.notify();
  return {};
}

asio::awaitable<Status> TransferCommand::async_start_answered(std::shared_ptr<Session> session) {
  auto begun = co_await async_begin_store(session, *transfer_id_);
  if (begun) begun = start_run(session, *session->transfer, false);
  co_return begun;
}

asio::awaitable<Result<TransferSummary>> TransferCommand::run_session(OpenedSession opened_session) {
  auto prepared = std::exchange(prepared_, nullptr);
  if (!prepared) prepared = prepare(opened_session.link->channel().executor(), opened_session.daemon);
  const auto session = std::make_shared<Session>(std::move(opened_session), prepared->store);
  const auto link = session->opened.link;
  const bool ahead = !session->proven;  // even if the proof comes sooner than we get there
  greet(*session);
  listen(session);
  Status local = co_await prepared->async_opened();
  if (!local && local.error().code == ErrorCode::TRANSFER_ACTIVE && !push()) local = co_await async_take_over(session);
  if (!local) {
    co_await leave(*session);
    co_return local.error();
  }
  if (!session->opened.first_request_sent)
    link->send(opening(session->opened.daemon.pin, link->channel(), session->opened.session.agreement));
  Status answered{};
  if (ahead && !session->transfer) {
    answered = co_await async_start_ahead(session);
    // What is wrong at our own end is told once the daemon is proven, and its own word comes first.
    if (!answered) {
      const auto proven = co_await async_await_proof(session);
      if (!proven) answered = proven;
    }
  }
  if (answered) answered = co_await async_await_opened(session);
  if (!answered) {
    co_await leave(*session);
    co_return answered.error();
  }
  const auto id = judge_answer(*session);
  if (!id) {
    link->send(failure_envelope(id.error()));
    co_await leave(*session);
    co_return id.error();
  }
  transfer_id_ = *id;
  if (!connected_before_)
    machinery_.observer.on_started(
        {bytes::to_hex(*id), push() ? session->transfer->resuming() : session->store->resuming()});
  if (is_discarded(*session) && !connected_before_)
    machinery_.observer.on_warning({stores_nothing(shown_address(machinery_.config))});
  connected_before_ = true;
  tally_.on_session_begun(push() ? session->transfer->resuming() : session->store->resuming());
  Status going{};
  if (session->run)
    session->run->confirm(session->transfer->await_verdicts());
  else
    going = co_await async_start_answered(session);
  if (!going) {
    link->send(failure_envelope(going.error()));
    co_await leave(*session);
    co_return going.error();
  }
  session->store->on_begun();
  session->under_way = true;
  session->news.notify();
  session->tell_started();
  const auto run = session->run;
  const bool udp_alone = !request_.options.dry_run && *agreed_data(*session->transfer) == DataPolicy::udp;
  durable_.on_session_begun();

  const auto out_of_time = [this] { return machinery_.config.timeout && time_left() == Duration::zero(); };
  const auto started = SteadyClock::now();
  auto next_progress = started;
  std::optional<Error> error;
  while (!run->outcome() && !error) {
    if (session->failure) {
      error = *session->failure;
    } else if (session->link_over) {
      error = *session->link_over ? Error{ErrorCode::PEER_LOST, "the daemon closed the connection"}
                                  : session->link_over->error();
    } else if (machinery_.stop_requested) {
      error = Error{ErrorCode::INTERRUPTED, "interrupted; the same command again resumes"};
      proto::Envelope cancel;
      cancel.mutable_cancel()->set_code(static_cast<std::uint32_t>(ErrorCode::INTERRUPTED));
      link->send(std::move(cancel));
    } else if (udp_alone && !run->peer_heard() && SteadyClock::now() - started >= udp_patience) {
      error = Error{ErrorCode::UDP_BLOCKED, "no UDP datagram gets through between here and port " +
                                                std::to_string(session->opened.session.agreement.udp_port) + " of " +
                                                shown_address(machinery_.config) +
                                                ", though TCP does; let UDP through the firewall"};
    } else if (out_of_time()) {
      error = stalled(*session);
    }
    if (error) break;
    bool asked = std::exchange(machinery_.progress_requested, false);
    if (std::exchange(session->turned, false)) asked = true;  // however soon it is over, it says by which way
    if (asked || SteadyClock::now() >= next_progress) {
      next_progress = SteadyClock::now() + progress_interval;
      note_progress(*session);
      emit_progress(*session);
    }
    co_await run->changed().async_wait(std::chrono::milliseconds{100});
  }
  if (error) {
    if (!machinery_.stop_requested && !session->failure && !session->link_over) link->send(failure_envelope(*error));
    co_await leave(*session);
    co_return std::move(*error);
  }
  note_progress(*session);
  auto outcome = run->take_outcome();
  if (outcome.failed) {
    link->send(failure_envelope(*outcome.failed));
    co_await leave(*session);
    co_return std::move(*outcome.failed);
  }
  auto summary = co_await finish(*session, std::move(outcome));
  if (summary && !summary->receipt.empty()) {
    receipted_ = session;
  } else {
    co_await leave(*session);
  }
  co_return std::move(summary);
}

void TransferCommand::note_progress(Session& session) {
  const auto& stats = session.run->stats();
  tally_.on_progress(stats);
  const std::uint64_t durable = push() ? session.sink_progress.bytes_durable() : stats.sink.bytes_durable;
  durable_.on_durable(SteadyClock::now(), durable + session.files(push()));
  if (push()) {
    const auto cap = session.transfer->rate_cap_bps();
    const bool by_server = cap != 0 && (!request_.options.rate || request_.options.rate->bits_per_second() > cap);
    limits_.add(limit_of(stats.lane, by_server, session.sink_progress.limited_by()));
    proto::Envelope progress;
    auto* out = progress.mutable_source_progress();
    out->set_packets_sent(stats.lane.packets_sent);
    out->set_packets_lost(stats.lane.packets_lost);
    out->set_bytes_retransmitted(stats.lane.payload_bytes_retransmitted);
    out->set_limited_by(limits_.mostly());
    session.opened.link->send(std::move(progress));
  } else {
    limits_.add(session.source_progress.limited_by());
    proto::Envelope progress;
    progress.mutable_sink_progress()->set_bytes_durable(stats.sink.bytes_durable);
    progress.mutable_sink_progress()->set_limited_by(std::string{sink_limit_of(stats.lane, stats.sink.slabs_waiting)});
    session.opened.link->send(std::move(progress));
  }
}

void TransferCommand::emit_progress(const Session& session) {
  RunStats stats = session.run->stats();
  stats.files = session.files(push());
  auto progress = meter_.sample(SteadyClock::now(), stats, session.sender(push()), limits_.now());
  progress.data = to_string(session.run->data_way());
  machinery_.observer.on_progress(progress);
}

}  // namespace penstock::control
