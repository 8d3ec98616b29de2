#include "control/server/server_session.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <exception>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/escape.h"
#include "common/units.h"
#include "control/gate/capabilities.h"
#include "control/gate/fec_words.h"
#include "control/server/file_requests.h"
#include "control/server/registry_watch.h"
#include "control/server/transfer_preparation.h"
#include "control/session/async_blocking.h"
#include "control/session/contained.h"
#include "control/session/data_message.h"
#include "control/session/lane_setup.h"
#include "control/session/wall_clock.h"
#include "dataplane/io/early_datagrams.h"
#include "dataplane/io/path_mtu.h"
#include "dataplane/storage/file_operations.h"

namespace penstock::control {
namespace {

constexpr std::size_t log_name_max = 128;
// Tuning: what a client may have on the way by its initial credit (engine/lane_config.h), headers included.
constexpr std::size_t early_bytes_max = std::size_t{5} * 1024 * 1024 / 4;
static_assert(early_bytes_max > io::EarlyDatagrams::small_max, "else it would share the room of the unproven");
// Tuning: what a client that went ahead may have under way when it is refused: its queue, and what the kernels hold of
// a connection. Whoever says more streams to a daemon that has given him no place.
constexpr std::size_t passed_over_max = 4 * MiB;
// Tuning: a client that has its receipt leaves within a round trip or two; whoever repeats the command waits so long.
constexpr Duration farewell_max = std::chrono::seconds{1};

Error usage(std::string_view what) { return {ErrorCode::USAGE, "the request makes no sense: " + std::string{what}}; }

bool copy_id(const std::string& from, std::span<std::byte> to) {
  if (from.size() != to.size()) return false;
  std::ranges::copy(bytes::as_bytes(from), to.begin());
  return true;
}

std::optional<storage::TransferId> named_id(const proto::OpenTransfer& open) {
  storage::TransferId id{};
  if (!copy_id(open.transfer_id(), id)) return std::nullopt;
  return id;
}

}  // namespace

ServerSession::ServerSession(DaemonState& state, Admitted admitted)
    : state_(state),
      client_(std::move(admitted.session.client)),
      agreement_(std::move(admitted.session.agreement)),
      secrets_(std::move(admitted.session.secrets)),
      link_(SessionLink::make(std::move(admitted.channel))) {
  const auto& remote = link_->channel().remote();
  name_ = escape_for_display(client_.user, log_name_max) + "@" + remote.address().to_string();
}

void ServerSession::end(Error reason, Duration last_word_max) {
  link_->send(failure_envelope(reason));
  // An orderly end, so that the Failure reaches the client.
  link_->end(Status{}, last_word_max);
}

void ServerSession::refresh(const ClientRecord& record) {
  if (record.revoked) {
    // At once, not when the link has ended: that waits for what the client reads, and for a request that is under way.
    if (run_) run_->cut_off();
    if (probe_) probe_->end();
    return end({ErrorCode::REVOKED, "the operator has revoked this client; ask for a new token"},
               RegistryWatch::last_word_max);
  }
  client_.grants = record.grants;
}

void ServerSession::note_seen() {
  // Tuning: the operator's list needs no better, and each note costs a sync.
  constexpr std::int64_t seen_resolution_s = 60;
  const UnixSeconds now{unix_now()};
  if (client_.last_seen && now.value - client_.last_seen->value < seen_resolution_s) return;
  if (const auto noted = state_.registry->mark_seen(client_.uuid, now); !noted)
    state_.log(LogLevel::warning, "registry", "cannot note when a client was seen: " + noted.error().message);
}

asio::awaitable<Status> ServerSession::serve() {
  const auto self = shared_from_this();
  state_.log(LogLevel::info, "session_opened", name_ + " is in",
             {{"client", to_string(client_.uuid)}, {"software", escape_for_display(agreement_.peer_software, 64)}});
  // Proven: a whole first flight may be ahead of what opens its lane.
  if (has_capability(agreement_, capability_ahead))
    state_.worker_of(agreement_.daemon_ids.front()).await_lane(agreement_.daemon_ids.front(), early_bytes_max);
  note_seen();
  // Named, here and below: g++ 12 destroys a temporary's captures twice when it is converted inside a co_await
  // expression.
  SessionLink::Handler handler = [self](proto::Envelope envelope) { return self->handle(std::move(envelope)); };
  co_return co_await link_->async_run(std::move(handler));
}

asio::awaitable<void> ServerSession::async_serve() {
  const auto self = shared_from_this();
  const auto reason = co_await async_contained(serve());
  if (!reason) link_->end(reason.error());  // where an exception has kept the link from beginning
  // Each by itself: what one of them fails at is not the next one's loss.
  auto left = co_await async_contained(wind_up(reason ? ErrorCode::CANCELLED : reason.error().code));
  if (auto settled = co_await async_contained(settle()); left) left = std::move(settled);
  run_.reset();
  if (auto released = co_await async_contained(release_journal()); left) left = std::move(released);
  holding_ = false;
  if (probe_) probe_->end();
  probe_.reset();
  if (!left)
    state_.log(LogLevel::error, "session_failed", name_ + ": " + escape_for_display(left.error().message, 256));
  const bool expected = reason || link_->channel().ended_cleanly();
  state_.log(LogLevel::info, "session_closed",
             name_ + (expected ? " has left" : ": " + escape_for_display(reason.error().message, 256)));
}

asio::awaitable<Status> ServerSession::handle(proto::Envelope envelope) {
  if (is_about_data(envelope)) {
    if (run_ && !transfer_over_) co_return co_await run_->async_deliver_data(std::move(envelope));
    co_return pass_over(envelope, "a transfer's data without a transfer");
  }
  if (envelope.id() != 0) {
    if (run_ && !transfer_over_) co_return co_await run_->async_deliver(std::move(envelope));
    co_return pass_over(envelope, "a transfer's message without a transfer");
  }
  const bool asks = is_file_request(envelope) || envelope.has_open_transfer() || envelope.has_open_probe();
  if (asks) co_await link_->async_room();  // who does not read the answers is asked for no more questions
  if (link_->ended()) co_return Status{};
  if (is_file_request(envelope)) {
    const auto answer = [request = std::move(envelope), grants = client_.grants, root = state_.root.get()] {
      return answer_file_request(request, grants, root);
    };
    auto reply = co_await async_blocking(*state_.requests, answer);
    link_->send(std::move(reply));
    co_return Status{};
  }
  switch (envelope.body_case()) {
    case proto::Envelope::kOpenTransfer:
      co_return co_await open_transfer(envelope.open_transfer());
    case proto::Envelope::kOpenProbe:
      open_probe(envelope.open_probe());
      co_return Status{};
    case proto::Envelope::kSinkProgress:
      sink_limit_ = envelope.sink_progress().limited_by();
      if (run_) run_->on_sink_limit(sink_limit_);
      co_return Status{};
    case proto::Envelope::kSourceProgress:
      if (is_limit(envelope.source_progress().limited_by())) source_limit_ = envelope.source_progress().limited_by();
      co_return Status{};
    case proto::Envelope::kReceiptKept:
      receipt_kept_ = true;
      if (run_) run_->changed().notify();
      co_return Status{};
    case proto::Envelope::kCancel:
    case proto::Envelope::kFailure:
      // The client gives up; what has arrived is kept for a resume. It closes the connection itself.
      if (run_ && !transfer_over_) {
        const auto code = envelope.has_failure() ? envelope.failure().code() : envelope.cancel().code();
        (void)co_await wind_up(error_code_from_number(code).value_or(ErrorCode::CANCELLED));
      }
      co_return Status{};
    default:
      co_return Error{ErrorCode::INTERNAL, "a message that no client sends", {}, ErrorSide::remote};
  }
}

Status ServerSession::pass_over(const proto::Envelope& envelope, std::string_view what) {
  // What was under way when a transfer ended, or was refused, is not worth an answer.
  if (transfer_opened_) return {};
  passed_over_ += envelope.ByteSizeLong();
  if (transfer_refused_ && passed_over_ <= passed_over_max) return {};
  return Error{ErrorCode::INTERNAL, std::string{what}, {}, ErrorSide::remote};
}

asio::awaitable<Status> ServerSession::open_transfer(proto::OpenTransfer open) {
  const auto refuse = [&](const Error& error) {
    link_->send(failure_envelope(error));
    transfer_refused_ = true;
    state_.log(LogLevel::info, "transfer_refused", name_ + ": " + escape_for_display(error.message, 256),
               {{"error", std::string{error_traits(error.code).name}}});
    return Status{};
  };
  if (transfer_opened_) co_return refuse(usage("a session carries one transfer"));
  if (state_.draining) co_return refuse({ErrorCode::DRAINING, "the daemon is shutting down; try again later"});
  if (state_.places.full())
    co_return refuse({ErrorCode::SERVER_BUSY, "the daemon runs as many transfers as it may; try again later"});
  if (!copy_id(open.resume_key(), resume_key_)) co_return refuse(usage("its resume key is malformed"));
  if (open.direction() == proto::PULL) {
    // By what the name comes to here: one that this version does not know is the default.
    const bool has_rate = open.rate_bps() != 0 || state_.config.rate_cap.has_value();
    const auto congestion = congestion_named(open.congestion(), has_rate);
    if (auto status = check_lanes(congestion, agreement_.lanes()); !status) co_return refuse(status.error());
    const auto fec = fec_named(open.fec().empty() ? "off" : open.fec());
    if (!fec) co_return refuse(usage("its --fec is malformed"));
    const auto possible = fec_for(*fec, agreement_);
    if (!possible) co_return refuse(possible.error());
    fec_ = *possible;
  }
  if (open.only_take_over()) {
    co_await end_older_sessions();
    proto::Envelope reply;
    reply.mutable_done();
    link_->send(std::move(reply));
    co_return Status{};
  }
  transfer_opened_ = true;
  transfer_refused_ = false;
  open_ = open;
  auto place = state_.places.take();
  if (!open_.dry_run()) {  // which is in nobody's way
    co_await find_targets();
    co_await end_older_sessions();
    holding_ = true;
  }
  const ConnectionId own = agreement_.daemon_ids.front();
  const std::size_t lanes = open_.dry_run() ? 1 : agreement_.lanes();
  auto prepared = co_await async_prepare_transfer(state_, client_, open_, resume_key_, state_.door_of(own), lanes);
  // In one go with what follows: whoever is after the same id finds this transfer in the registry.
  if (prepared && open_.direction() == proto::PULL && named_id(open_))
    if (auto allowed = check_id(prepared->id); !allowed) prepared = allowed.error();
  if (prepared) journal_ = std::move(prepared->journal);
  if (!prepared || link_->ended()) {
    if (link_->ended()) co_return Status{};
    transfer_opened_ = false;
    holding_ = false;
    co_return refuse(prepared.error());
  }
  transfer_id_ = prepared->id;
  RunConfig config = std::move(prepared->config);
  proto::TransferOpened opened;
  opened.set_resuming(prepared->resuming);
  opened.set_await_verdicts(prepared->await_verdicts);
  discarded_ = prepared->discarded;
  opened.set_discarded(discarded_);

  // The path: what both ends' interfaces take, and the control channel's own round trip.
  const LanePath path = path_to_client(open.udp_payload_max());
  apply_path(path, config);
  if (open.remembered_rate_bps() != 0)
    config.sender.remembered_rate = DataRate::bits_per_second(open.remembered_rate_bps());
  if (open.rate_bps() != 0) config.sender.rate = DataRate::bits_per_second(open.rate_bps());
  if (state_.config.rate_cap && (!config.sender.rate || *config.sender.rate > *state_.config.rate_cap))
    config.sender.rate = state_.config.rate_cap;
  config.sender.fec = fec_;
  config.sender.congestion = congestion_named(open.congestion(), config.sender.rate.has_value());
  if (state_.config.shuffle_chunks) config.sender.order = engine::ChunkOrder::shuffled;

  if (const auto policy = decode_data_policy(open.data())) {
    config.data = *policy;
    opened.set_data(open.data());
  }
  opened.set_transfer_id(std::string{bytes::as_text(transfer_id_)});
  opened.set_udp_payload_max(static_cast<std::uint32_t>(path.udp_payload));
  if (state_.config.rate_cap) opened.set_rate_cap_bps(state_.config.rate_cap->bits_per_second());
  config.own = own;
  if (!open.dry_run()) {
    config.keys = take_lane_keys(secrets_, agreement_, End::daemon);
    for (std::size_t lane = 1; lane < lanes; ++lane) {
      const ConnectionId id = agreement_.daemon_ids.at(lane);
      config.more_lanes.push_back({.keys = take_lane_keys(secrets_, agreement_, End::daemon, lane),
                                   .worker = &state_.worker_of(id),
                                   .post = WorkerDoor::poster(state_.door_of(id))});
    }
  }

  started_ = unix_now();
  const bool push = open.direction() == proto::PUSH;
  const std::string shown = push ? open.destination() : (open.roots_size() > 0 ? open.roots(0).path() : std::string{});
  TransferRecord row = log_row();
  row.path = shown;
  (void)state_.registry->log_transfer_started(row);
  state_.log(LogLevel::info, "transfer_started",
             name_ + (push ? " pushes to " : " pulls ") + escape_for_display(shown, 512),
             {{"transfer", bytes::to_hex(transfer_id_)},
              {"resuming", opened.resuming() ? "yes" : "no"},
              {"discarded", discarded_ ? "yes" : "no"},
              {"lanes", std::to_string(lanes)},
              {"remembered_bps", std::to_string(open.remembered_rate_bps())}});

  proto::Envelope reply;
  *reply.mutable_transfer_opened() = opened;
  link_->send(std::move(reply));
  for (std::size_t lane = 0; config.keys && lane < lanes; ++lane) state_.lanes->on_lane(agreement_.daemon_ids.at(lane));
  run_ = TransferRun::start(std::move(config), state_.worker_of(own), link_);
  run_->on_warning = [this](const Error& warning) {
    state_.log(LogLevel::warning, "entry_left_out",
               escape_for_display(warning.path, 512) + ": " + escape_for_display(warning.message, 256),
               {{"transfer", bytes::to_hex(transfer_id_)}, {"error", std::string{error_traits(warning.code).name}}});
  };
  run_->on_data_turn = [this](const WayOrder::Switch& turn) {
    state_.log(LogLevel::info, "data_way", name_ + ": " + std::string{words_of(turn)},
               {{"transfer", bytes::to_hex(transfer_id_)}, {"data", std::string{to_string(turn.way)}}});
  };
  run_->on_mark_news = [this](const std::string& news) {
    state_.log(LogLevel::debug, "ecn", name_ + ": " + news, {{"transfer", bytes::to_hex(transfer_id_)}});
  };
  watched_ = place;
  asio::co_spawn(state_.io, async_contained(watch_transfer(std::move(place))),
                 [self = shared_from_this()](std::exception_ptr failed, Status watched) {
                   if (failed) watched = Error{ErrorCode::INTERNAL, {}};
                   if (!watched) self->link_->end(watched.error());
                 });
  co_return Status{};
}

/// The client says which transfer it means, and may know the id of one that is another's.
Status ServerSession::check_id(const storage::TransferId& id) const {
  const auto whose = state_.registry->find_transfer_client(id);
  if (!whose) return whose.error();
  if (*whose && **whose != client_.uuid) return usage("its transfer id can not be used");  // nor is more told
  return {};
}

LanePath ServerSession::path_to_client(std::uint32_t client_payload_max) const {
  LanePath path;
  const auto peer = endpoint_of(link_->channel().remote(), 0);
  path.ip_overhead = io::ip_overhead(peer);
  if (const auto payload = io::udp_payload_towards(peer, io::mtu_of_no_wire)) path.udp_payload = *payload;
  if (client_payload_max != 0) path.udp_payload = std::min<std::size_t>(path.udp_payload, client_payload_max);
  path.udp_payload = std::max(path.udp_payload, engine::udp_payload_min);
  path.rtt = link_->channel().smoothed_rtt().value_or(path.rtt);
  return path;
}

void ServerSession::open_probe(const proto::OpenProbe& open) {
  if (transfer_opened_) return link_->send(failure_envelope(usage("the lane of this session is in use")));
  transfer_opened_ = true;
  state_.lanes->on_lane(agreement_.daemon_ids.front());
  probe_ = std::make_shared<ProbeGuest>(state_, agreement_.daemon_ids.front());
  link_->send(
      probe_->open(open, take_lane_keys(secrets_, agreement_, End::daemon), path_to_client(open.udp_payload_max())));
}

/// What this push is going to write, as far as that can be known before it begins.
asio::awaitable<void> ServerSession::find_targets() {
  if (open_.direction() != proto::PUSH) co_return;
  const auto look = [open = open_, root = state_.root.get()] {
    const auto destination = path::SafePath::parse_absolute(open.destination());
    if (!destination) return PushTargets{};  // refused a moment later
    if (destination->is_root()) return push_targets(open, true);
    const auto info = storage::stat_file(root, *destination);
    return push_targets(open, info && info->type == storage::FileType::directory);
  };
  targets_ = co_await async_blocking(*state_.requests, look);
}

/// The newer session of the same client takes over: the older one's writer, keys and ids are gone before the first
/// byte.
asio::awaitable<void> ServerSession::end_older_sessions() {
  const auto named = named_id(open_);
  const auto older = [&]() -> std::shared_ptr<ServerSession> {
    for (const auto& session : state_.sessions)
      if (session.get() != this && session->client() == client_.uuid &&
          (session->holds(resume_key_) || session->writes(targets_) || (named && session->carries(*named))))
        return session;
    return nullptr;
  };
  const auto patience = std::chrono::steady_clock::now() + farewell_max;
  while (const auto session = older()) {
    if (session->concluded() && std::chrono::steady_clock::now() < patience) {
      // Its client may be on its way out, with the word that it has the receipt still on the wire.
      co_await state_.changed.async_wait(std::chrono::milliseconds{20});
      if (link_->ended()) co_return;
      continue;
    }
    // Said to it as well: where the same command runs twice, the older one must not come back and take over in turn.
    session->end({ErrorCode::TRANSFER_ACTIVE,
                  session->holds(resume_key_) || (named && session->carries(*named))
                      ? "the same command was started again and has taken over; it goes on where this one was"
                      : "a newer command of this client writes to the same target and has taken over; wait until it "
                        "ends before you repeat this one"});
    co_await state_.changed.async_wait(std::chrono::milliseconds{100});
    if (link_->ended()) co_return;
  }
}

}  // namespace penstock::control
