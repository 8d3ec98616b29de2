#include "control/server/server_session.h"

#include <fcntl.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/crypto/random.h"
#include "common/escape.h"
#include "control/server/access.h"
#include "control/server/file_requests.h"
#include "control/server/registry_watch.h"
#include "control/session/async_blocking.h"
#include "control/session/udp_probe.h"
#include "control/session/wall_clock.h"
#include "control/transfer/receipt_list.h"
#include "dataplane/io/path_mtu.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/posix_source.h"

namespace penstock::control {
namespace {

constexpr std::size_t log_name_max = 128;
constexpr std::size_t receipt_piece_max = 900 * KiB;  // fits one message; about ten thousand files

UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)}; }

Error usage(std::string_view what) { return {ErrorCode::USAGE, "the request makes no sense: " + std::string{what}}; }

std::optional<storage::Overwrite> decode_overwrite(proto::Overwrite overwrite) {
  switch (overwrite) {
    case proto::NEVER:
      return storage::Overwrite::never;
    case proto::SKIP:
      return storage::Overwrite::skip;
    case proto::CHANGED:
      return storage::Overwrite::changed;
    case proto::ALWAYS:
      return storage::Overwrite::always;
    default:
      return std::nullopt;
  }
}

std::optional<storage::Links> decode_links(proto::Links links) {
  switch (links) {
    case proto::KEEP:
      return storage::Links::keep;
    case proto::FOLLOW:
      return storage::Links::follow;
    case proto::LINKS_SKIP:
      return storage::Links::skip;
    default:
      return std::nullopt;
  }
}

digest::Algorithm decode_algorithm(proto::DigestAlgorithm algorithm) {
  return algorithm == proto::SHA256 ? digest::Algorithm::sha256 : digest::Algorithm::xxh3;
}

bool copy_id(const std::string& from, std::span<std::byte> to) {
  if (from.size() != to.size()) return false;
  std::ranges::copy(bytes::as_bytes(from), to.begin());
  return true;
}

/// What a transfer needs of storage before it starts; made on a storage thread, since it blocks.
struct OpenedJournal {
  std::unique_ptr<storage::Journal> journal;
  bool resuming = false;
};

Result<OpenedJournal> open_journal(DaemonState& state, const storage::TransferIdentity& fresh,
                                   const std::optional<storage::TransferId>& wanted, bool resume) {
  auto& store = *state.journals;
  auto found = wanted ? store.find(fresh.owner, *wanted) : store.find(fresh.owner, fresh.resume_key);
  if (!found) return found.error();
  if (!*found && wanted) {
    found = store.find(fresh.owner, fresh.resume_key);
    if (!found) return found.error();
  }
  if (*found && !resume) {
    const auto id = (*found)->identity().transfer;
    found->reset();
    if (auto gone = store.discard(
            id, [&](const storage::TransferIdentity&) -> Result<UniqueFd> { return duplicate(state.root); });
        !gone)
      return gone.error();
  }
  if (*found) return OpenedJournal{std::move(*found), true};
  auto created = store.create(fresh);
  if (!created) return created.error();
  return OpenedJournal{std::move(*created), false};
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

asio::awaitable<void> ServerSession::async_serve() {
  const auto self = shared_from_this();
  state_.log(LogLevel::info, "session_opened", name_ + " is in",
             {{"client", to_string(client_.uuid)}, {"software", escape_for_display(agreement_.peer_software, 64)}});
  note_seen();
  // Named, here and below: g++ 12 destroys a temporary's captures twice when it is converted inside a co_await
  // expression.
  SessionLink::Handler handler = [self](proto::Envelope envelope) { return self->handle(std::move(envelope)); };
  const auto reason = co_await link_->async_run(std::move(handler));
  if (run_) {
    co_await wind_up(reason ? ErrorCode::CANCELLED : reason.error().code);
    while (watching_) co_await run_->changed().async_wait(std::chrono::milliseconds{100});
    run_.reset();
  }
  if (probing_) state_.worker->remove(agreement_.daemon_ids.front());
  for (const auto id : agreement_.daemon_ids) state_.connection_ids.erase(id.value);
  const bool expected = reason || link_->channel().ended_cleanly();
  state_.log(LogLevel::info, "session_closed",
             name_ + (expected ? " has left" : ": " + escape_for_display(reason.error().message, 256)));
  state_.changed.notify();
}

asio::awaitable<Status> ServerSession::handle(proto::Envelope envelope) {
  if (envelope.id() != 0) {
    if (run_ && !transfer_over_) co_return co_await run_->async_deliver(std::move(envelope));
    // What was under way when a transfer ended is not worth an answer.
    if (transfer_opened_) co_return Status{};
    co_return Error{ErrorCode::INTERNAL, "a transfer's message without a transfer", {}, ErrorSide::remote};
  }
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
      co_return open_probe(envelope.open_probe());
    case proto::Envelope::kSinkProgress:
      sink_is_slow_ = envelope.sink_progress().limited_by() == "target_disk";
      co_return Status{};
    case proto::Envelope::kSourceProgress:
      if (is_limit(envelope.source_progress().limited_by())) source_limit_ = envelope.source_progress().limited_by();
      co_return Status{};
    case proto::Envelope::kCancel:
    case proto::Envelope::kFailure:
      // The client gives up; what has arrived is kept for a resume. It closes the connection itself.
      if (run_ && !transfer_over_) {
        const auto code = envelope.has_failure() ? envelope.failure().code() : envelope.cancel().code();
        co_await wind_up(error_code_from_number(code).value_or(ErrorCode::CANCELLED));
      }
      co_return Status{};
    default:
      co_return Error{ErrorCode::INTERNAL, "a message that no client sends", {}, ErrorSide::remote};
  }
}

asio::awaitable<Status> ServerSession::open_transfer(proto::OpenTransfer open) {
  const auto refuse = [&](const Error& error) {
    link_->send(failure_envelope(error));
    state_.log(LogLevel::info, "transfer_refused", name_ + ": " + escape_for_display(error.message, 256),
               {{"error", std::string{error_traits(error.code).name}}});
    return Status{};
  };
  if (transfer_opened_) co_return refuse(usage("a session carries one transfer"));
  if (state_.draining) co_return refuse({ErrorCode::DRAINING, "the daemon is shutting down; try again later"});
  if (state_.transfers_running >= state_.config.transfers_max)
    co_return refuse({ErrorCode::SERVER_BUSY, "the daemon runs as many transfers as it may; try again later"});
  if (!copy_id(open.resume_key(), resume_key_)) co_return refuse(usage("its resume key is malformed"));
  transfer_opened_ = true;
  open_ = open;
  ++state_.transfers_running;
  const auto give_back = [&] {
    --state_.transfers_running;
    state_.changed.notify();
  };
  co_await end_older_sessions();
  if (co_await answer_finished(open)) {
    give_back();
    co_return Status{};
  }

  proto::TransferOpened opened;
  std::optional<Result<RunConfig>> prepared;
  if (open.direction() == proto::PUSH) {
    prepared.emplace(co_await prepare_push(open, opened));
  } else if (open.direction() == proto::PULL) {
    prepared.emplace(co_await prepare_pull(open, opened));
  } else {
    prepared.emplace(usage("neither push nor pull"));
  }
  if (!*prepared || link_->ended()) {
    give_back();
    if (link_->ended()) co_return Status{};
    transfer_opened_ = false;
    co_return refuse(prepared->error());
  }
  RunConfig config = std::move(**prepared);

  // The path: what both ends' interfaces take, and the control channel's own round trip.
  const LanePath path = path_to_client(open.udp_payload_max());
  apply_path(path, config);
  if (open.rate_bps() != 0) config.sender.rate = DataRate::bits_per_second(open.rate_bps());
  if (state_.config.rate_cap && (!config.sender.rate || *config.sender.rate > *state_.config.rate_cap))
    config.sender.rate = state_.config.rate_cap;
  if (open.congestion() == "fixed" && config.sender.rate) config.sender.congestion = engine::Congestion::fixed;
  if (state_.config.shuffle_chunks) config.sender.order = engine::ChunkOrder::shuffled;

  opened.set_transfer_id(std::string{bytes::as_text(transfer_id_)});
  opened.set_udp_payload_max(static_cast<std::uint32_t>(path.udp_payload));
  if (state_.config.rate_cap) opened.set_rate_cap_bps(state_.config.rate_cap->bits_per_second());
  config.own = agreement_.daemon_ids.front();
  if (!open.dry_run()) config.keys = take_lane_keys(secrets_, agreement_, End::daemon);

  started_ = unix_now();
  const bool push = open.direction() == proto::PUSH;
  const std::string shown = push ? open.destination() : (open.roots_size() > 0 ? open.roots(0).path() : std::string{});
  TransferRecord row = log_row();
  row.path = shown;
  (void)state_.registry->log_transfer_started(row);
  state_.log(LogLevel::info, "transfer_started",
             name_ + (push ? " pushes to " : " pulls ") + escape_for_display(shown, 512),
             {{"transfer", bytes::to_hex(transfer_id_)}, {"resuming", opened.resuming() ? "yes" : "no"}});

  proto::Envelope reply;
  *reply.mutable_transfer_opened() = opened;
  link_->send(std::move(reply));
  run_ = TransferRun::start(std::move(config), *state_.worker, link_);
  run_->on_warning = [this](const Error& warning) {
    state_.log(LogLevel::warning, "entry_left_out",
               escape_for_display(warning.path, 512) + ": " + escape_for_display(warning.message, 256),
               {{"transfer", bytes::to_hex(transfer_id_)}, {"error", std::string{error_traits(warning.code).name}}});
  };
  watching_ = true;
  asio::co_spawn(
      state_.io, [self = shared_from_this()] { return self->watch_transfer(); }, asio::detached);
  co_return Status{};
}

LanePath ServerSession::path_to_client(std::uint32_t client_payload_max) const {
  LanePath path;
  const auto peer = endpoint_of(link_->channel().remote(), 0);
  path.ip_overhead = io::ip_overhead(peer);
  if (const auto payload = io::udp_payload_towards(peer, std::size_t{65535})) path.udp_payload = *payload;
  if (client_payload_max != 0) path.udp_payload = std::min<std::size_t>(path.udp_payload, client_payload_max);
  path.udp_payload = std::max(path.udp_payload, engine::udp_payload_min);
  path.rtt = link_->channel().smoothed_rtt().value_or(path.rtt);
  return path;
}

Status ServerSession::open_probe(const proto::OpenProbe& open) {
  if (transfer_opened_) {
    link_->send(failure_envelope(usage("the lane of this session is in use")));
    return {};
  }
  transfer_opened_ = true;
  probing_ = true;
  start_probe_echo(*state_.worker, take_lane_keys(secrets_, agreement_, End::daemon),
                   path_to_client(open.udp_payload_max()));
  proto::Envelope reply;
  reply.mutable_done();
  link_->send(std::move(reply));
  return {};
}

/// A client that comes back may have missed nothing but the end: then the receipt says all.
asio::awaitable<bool> ServerSession::answer_finished(const proto::OpenTransfer& open) {
  storage::TransferId id{};
  if (!copy_id(open.transfer_id(), id)) co_return false;
  const auto look = [&state = state_, name = bytes::to_hex(id)]() -> Result<Receipt> {
    const auto file = state.receipts->find(name);
    if (!file) return file.error();
    return read_receipt(*file);
  };
  const auto receipt = co_await async_blocking(*state_.requests, look);
  // Somebody else's transfer id is no key to anything.
  if (!receipt || receipt->header.uuid != to_string(client_.uuid)) co_return false;
  const std::string text = encode_receipt(*receipt);
  transfer_over_ = true;
  for (std::size_t at = 0; at < text.size(); at += receipt_piece_max) {
    while (!link_->has_room() && !link_->ended()) co_await link_->room().async_wait(std::chrono::seconds{1});
    proto::Envelope reply;
    auto* opened = reply.mutable_transfer_opened();
    opened->set_transfer_id(std::string{bytes::as_text(id)});
    opened->set_finished_receipt(text.substr(at, receipt_piece_max));
    opened->set_receipt_continues(text.size() - at > receipt_piece_max);
    link_->send(std::move(reply));
  }
  co_return true;
}

/// The newer session of the same client takes over: the older one's writer, keys and ids are gone before the first
/// byte.
asio::awaitable<void> ServerSession::end_older_sessions() {
  const auto older = [&]() -> std::shared_ptr<ServerSession> {
    for (const auto& session : state_.sessions)
      if (session.get() != this && session->client() == client_.uuid && session->runs(resume_key_)) return session;
    return nullptr;
  };
  while (const auto session = older()) {
    // Said to it as well: where the same command runs twice, the older one must not come back and take over in turn.
    session->end({ErrorCode::TRANSFER_ACTIVE,
                  "the same command was started again and has taken over; it goes on where this one was"});
    co_await state_.changed.async_wait(std::chrono::milliseconds{100});
    if (link_->ended()) co_return;
  }
}

asio::awaitable<Result<RunConfig>> ServerSession::prepare_push(const proto::OpenTransfer& open,
                                                               proto::TransferOpened& opened) {
  const auto overwrite = decode_overwrite(open.overwrite());
  if (!overwrite || open.roots_size() == 0) co_return usage("no source, or no rule for what exists");
  if (open.roots_size() > 1 && !open.destination_is_container()) co_return usage("several sources need a directory");
  auto destination = path::SafePath::parse_absolute(open.destination());
  if (!destination) co_return destination.error();

  std::vector<storage::LandingRoot> roots;
  for (const auto& root : open.roots()) {
    roots.push_back({root.name(), root.contents()});
    path::SafePath lands = *destination;
    if (open.destination_is_container() && !root.contents()) {
      const auto name = path::Component::parse(root.name());
      if (!name) co_return name.error();
      lands = destination->child(*name);
    }
    if (auto allowed = check_allowed(client_.grants, lands, Operation::create, Extent::tree); !allowed)
      co_return allowed.error();
    if (*overwrite == storage::Overwrite::never) continue;
    if (auto allowed = check_allowed(client_.grants, lands, Operation::modify, Extent::tree); !allowed)
      co_return allowed.error();
  }

  storage::TransferIdentity identity;
  identity.transfer = crypto::random_array<16>();
  identity.resume_key = resume_key_;
  identity.owner = client_.uuid.bytes;
  identity.destination = open.destination();
  identity.base = "/";  // the root that is served
  std::optional<storage::TransferId> wanted;
  if (storage::TransferId id{}; copy_id(open.transfer_id(), id)) wanted = id;
  std::shared_ptr<OpenedJournal> journal = std::make_shared<OpenedJournal>();
  transfer_id_ = identity.transfer;
  if (!open.dry_run()) {
    const auto open_it = [&state = state_, identity, wanted, resume = open.resume()] {
      return open_journal(state, identity, wanted, resume);
    };
    auto opened_journal = co_await async_blocking(*state_.requests, open_it);
    if (!opened_journal) co_return opened_journal.error();
    *journal = std::move(*opened_journal);
    transfer_id_ = journal->journal->identity().transfer;
  }
  auto account = state_.slabs->open_account();
  if (!account)
    co_return Error{ErrorCode::SERVER_BUSY, "the daemon has no memory for another transfer; try again later"};

  opened.set_resuming(journal->resuming);
  opened.set_await_verdicts(journal->resuming || *overwrite != storage::Overwrite::never);

  RunConfig config;
  config.role = TransferRole::sink;
  config.sink_side.dry_run = open.dry_run();
  auto shared_account = std::make_shared<storage::SlabAccount>(std::move(*account));
  config.make_sink = [&state = state_, journal, shared_account, destination = *destination, roots,
                      container = open.destination_is_container(), overwrite = *overwrite,
                      algorithm = decode_algorithm(open.digest()),
                      dry_run = open.dry_run()](storage::SinkObserver& observer) {
    storage::PosixSinkConfig sink;
    sink.destination.base = duplicate(state.root);
    sink.destination.path = destination;
    sink.destination.is_container = container;
    sink.roots = roots;
    sink.overwrite = overwrite;
    sink.algorithm = algorithm;
    sink.dry_run = dry_run;
    sink.spill_directory = state.journals->directory();
    return storage::make_posix_sink(std::move(sink), std::move(journal->journal), std::move(*shared_account),
                                    *state.transfers, state.claims, WorkerDoor::poster(state.door), observer);
  };
  co_return std::move(config);
}

asio::awaitable<Result<RunConfig>> ServerSession::prepare_pull(const proto::OpenTransfer& open,
                                                               proto::TransferOpened& opened) {
  const auto links = decode_links(open.links());
  if (!links || open.roots_size() == 0) co_return usage("no source, or no rule for links");
  auto roots = std::make_shared<std::vector<storage::SourceRoot>>();
  for (const auto& root : open.roots()) {
    auto where = allowed_path(client_.grants, root.path(), Operation::read, Extent::tree);
    if (!where) co_return where.error();
    storage::SourceRoot source;
    source.base = duplicate(state_.root);
    source.path = std::move(*where);
    source.contents = root.contents();
    source.display = root.path();
    roots->push_back(std::move(source));
  }
  transfer_id_ = crypto::random_array<16>();
  if (storage::TransferId id{}; copy_id(open.transfer_id(), id)) transfer_id_ = id;
  auto account = state_.slabs->open_account();
  if (!account)
    co_return Error{ErrorCode::SERVER_BUSY, "the daemon has no memory for another transfer; try again later"};

  const bool await_verdicts = open.overwrite() != proto::NEVER || !open.transfer_id().empty();
  opened.set_await_verdicts(await_verdicts);
  RunConfig config;
  config.role = TransferRole::source;
  config.source_side.await_verdicts = await_verdicts;
  config.source_side.dry_run = open.dry_run();
  auto shared_account = std::make_shared<storage::SlabAccount>(std::move(*account));
  config.make_reader = [&state = state_, roots, shared_account, links = *links,
                        algorithm = decode_algorithm(open.digest())](storage::SourceObserver& observer) {
    auto source = std::make_unique<storage::PosixSource>(std::move(*roots), storage::PosixSourceConfig{.links = links});
    storage::SourceReaderConfig reader;
    reader.algorithm = algorithm;
    reader.spill_directory = state.journals->directory();
    return storage::SourceReader::create(reader, std::move(source), std::move(*shared_account), *state.transfers,
                                         WorkerDoor::poster(state.door), observer);
  };
  co_return std::move(config);
}

void ServerSession::note_stats() {
  const bool push = open_.direction() == proto::PUSH;
  if (push) {
    proto::Envelope progress;
    progress.mutable_sink_progress()->set_bytes_durable(run_->stats().sink.bytes_durable);
    if (run_->stats().sink.slabs_waiting > 1) progress.mutable_sink_progress()->set_limited_by("target_disk");
    link_->send(std::move(progress));
    return;
  }
  const auto& lane = run_->stats().lane;
  const bool capped = open_.rate_bps() != 0 || state_.config.rate_cap.has_value();
  const bool by_server =
      state_.config.rate_cap && (open_.rate_bps() == 0 || open_.rate_bps() > state_.config.rate_cap->bits_per_second());
  limits_.add(limit_of(lane, capped, by_server, sink_is_slow_));
  proto::Envelope progress;
  auto* out = progress.mutable_source_progress();
  out->set_packets_sent(lane.packets_sent);
  out->set_packets_lost(lane.packets_lost);
  out->set_bytes_retransmitted(lane.payload_bytes_retransmitted);
  out->set_limited_by(std::string{limits_.now()});
  out->set_rtt_us(
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(lane.rtt_smoothed).count()));
  link_->send(std::move(progress));
}

/// The client has gone, or gives up. What has arrived is made durable; what is committed in spite of that gets its
/// receipt, which is what the same command will ask for. Until then the session counts as transferring, so that a newer
/// one waits for it.
asio::awaitable<void> ServerSession::wind_up(ErrorCode reason) {
  co_await run_->async_close();
  if (transfer_over_) co_return;
  transfer_over_ = true;
  if (run_->outcome() && !run_->outcome()->failed) {
    if (auto status = finish_committed(run_->take_outcome()); !status)
      finish_log(error_traits(status.error().code).name, 0, 0);
  } else {
    finish_log(error_traits(reason).name, 0, 0);
  }
}

asio::awaitable<void> ServerSession::watch_transfer() {
  const auto self = shared_from_this();
  const auto run = run_;
  auto next_note = std::chrono::steady_clock::now();
  while (!run->outcome() && !link_->ended() && !transfer_over_) {
    co_await run->changed().async_wait(std::chrono::milliseconds{500});
    const auto now = std::chrono::steady_clock::now();
    if (now < next_note) continue;
    next_note = now + std::chrono::milliseconds{500};
    note_stats();
  }
  if (run->outcome() && !transfer_over_ && !link_->ended()) {
    transfer_over_ = true;
    note_stats();
    RunOutcome outcome = run->take_outcome();
    if (outcome.failed) {
      link_->send(failure_envelope(*outcome.failed));
      finish_log(error_traits(outcome.failed->code).name, 0, 0);
    } else if (auto status = finish_committed(std::move(outcome)); !status) {
      link_->send(failure_envelope(status.error()));
      finish_log(error_traits(status.error().code).name, 0, 0);
    }
    // The receipt has been handed to the link and the lane; the client closes when it has it.
    while (!link_->ended()) co_await run->changed().async_wait(std::chrono::milliseconds{100});
    co_await run->async_close();
  }
  --state_.transfers_running;
  watching_ = false;
  state_.changed.notify();
}

Status ServerSession::finish_committed(RunOutcome outcome) {
  const bool push = open_.direction() == proto::PUSH;
  LandingNames landing;
  landing.container = open_.destination_is_container();
  for (const auto& root : open_.roots()) landing.roots.push_back({root.name(), root.contents()});
  if (push) {
    for (const auto& report : outcome.reports)
      if (report.path.empty()) landing.landed_as = last_component(report.target_path);
  } else {
    landing.landed_as = outcome.commit.landed_as();
  }
  Receipt receipt;
  if (!open_.dry_run()) receipt.lines = receipt_lines(outcome.reports, landing);
  auto& header = receipt.header;
  header.transfer = bytes::to_hex(transfer_id_);
  header.operation = push ? ReceiptOperation::push : ReceiptOperation::pull;
  header.daemon = state_.identity->pin();
  header.receipt_key = state_.receipt_key->public_key();
  header.user = client_.user;
  header.uuid = to_string(client_.uuid);
  for (const auto& root : open_.roots())
    header.sources.push_back(push ? (root.contents() ? "." : root.name())
                                  : root.path() + (root.contents() ? "/." : ""));
  header.destination = open_.destination();
  header.started = rfc3339_utc(started_);
  header.finished = rfc3339_utc(unix_now());
  header.files = receipt.lines.size();
  for (const auto& line : receipt.lines) header.bytes += line.size;
  header.digest = open_.digest() == proto::SHA256 ? ReceiptDigest::sha256 : ReceiptDigest::xxh3;
  header.list_sha256 = receipt_list_sha256(receipt.lines);
  header.limited_by = push ? (source_limit_.empty() ? "source_disk" : source_limit_) : limits_.mostly();
  const std::string list_digest{bytes::as_text(header.list_sha256)};

  proto::Commit commit = outcome.commit;
  if (push) {
    commit.set_files(outcome.sink.files);
    commit.set_bytes(outcome.sink.bytes);
    commit.set_bytes_received(outcome.sink.bytes_received);
    commit.set_bytes_resumed(outcome.sink.bytes_resumed);
    commit.set_bytes_skipped(outcome.sink.bytes_skipped);
    commit.set_files_skipped(outcome.sink.files_skipped);
    commit.set_files_failed(std::max(outcome.sink.files_failed, outcome.entries_failed));
    commit.set_list_digest(list_digest);
    commit.set_landed_as(landing.landed_as);
  } else if (!open_.dry_run() && commit.list_digest() != list_digest) {
    return Error{ErrorCode::DIGEST_MISMATCH,
                 "the two ends disagree about what was transferred, so there is no receipt; run the command again"};
  }
  const std::string text = encode_receipt_header(header);
  if (!open_.dry_run()) {
    receipt.signature = state_.receipt_key->key().sign(bytes::as_bytes(text));
    receipt.daemon_spki.assign(state_.identity->spki().begin(), state_.identity->spki().end());
    receipt.key_certification = state_.receipt_key->certification();
    if (auto stored = state_.receipts->store(receipt); !stored)
      state_.log(LogLevel::error, "receipt_not_stored", escape_for_display(stored.error().message, 256),
                 {{"transfer", header.transfer}});
  }
  if (push) {
    if (outcome.lasting_error) {
      // Said before the Commit, so that the client's exit tells of it; the files that are good stay.
      state_.log(LogLevel::error, "files_left_out", escape_for_display(outcome.lasting_error->message, 256),
                 {{"transfer", header.transfer}});
    }
    proto::Envelope message;
    *message.mutable_commit() = commit;
    run_->send(std::move(message));
  }
  if (!open_.dry_run()) {
    proto::Envelope message;
    message.mutable_receipt()->set_text(text);
    message.mutable_receipt()->set_signature(std::string{bytes::as_text(receipt.signature)});
    run_->send(std::move(message));
  }
  finish_log("done", commit.files(), commit.bytes());
  return {};
}

TransferRecord ServerSession::log_row() const {
  TransferRecord row;
  row.id = transfer_id_;
  row.client = client_.uuid;
  row.direction = open_.direction() == proto::PUSH ? TransferDirection::push : TransferDirection::pull;
  row.started = UnixSeconds{started_};
  return row;
}

void ServerSession::finish_log(std::string_view outcome, std::uint64_t files, std::uint64_t bytes) {
  TransferRecord row = log_row();
  row.bytes = bytes;
  row.files = files;
  row.ended = UnixSeconds{unix_now()};
  row.outcome = outcome;
  (void)state_.registry->log_transfer_ended(row);
  const auto lane = run_ ? run_->stats().lane : engine::LaneStats{};
  state_.log(outcome == "done" ? LogLevel::info : LogLevel::warning, "transfer_ended",
             name_ + ": " + std::string{outcome},
             {{"transfer", bytes::to_hex(transfer_id_)},
              {"files", std::to_string(files)},
              {"bytes", std::to_string(bytes)},
              {"datagrams_repeated", std::to_string(lane.packets_duplicate)},
              {"datagrams_forged", std::to_string(lane.packets_unauthentic + lane.packets_malformed)}});
}

}  // namespace penstock::control
