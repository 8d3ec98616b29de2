#include "control/client/transfer_command.h"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/crypto/random.h"
#include "common/escape.h"
#include "common/path/beneath.h"
#include "control/session/async_blocking.h"
#include "control/transfer/receipt_list.h"
#include "control/transfer/resume_key.h"
#include "dataplane/io/path_mtu.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/posix_source.h"

namespace penstock::control {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Specification: no datagram at all for so long, while the control channel lives (CLI.md section 5, UDP_BLOCKED).
constexpr Duration udp_patience = std::chrono::seconds{10};
// Tuning: between attempts to come back; doubling up to the last.
constexpr Duration backoff_first = std::chrono::milliseconds{250};
constexpr Duration backoff_last = std::chrono::seconds{8};
constexpr Duration progress_interval = std::chrono::milliseconds{500};
constexpr Duration rate_window = std::chrono::seconds{3};
// Tuning: some million files; a daemon that says more is mad.
constexpr std::size_t finished_receipt_max = 512 * MiB;

proto::Overwrite encode(OverwriteMode mode) {
  switch (mode) {
    case OverwriteMode::never:
      return proto::NEVER;
    case OverwriteMode::skip:
      return proto::SKIP;
    case OverwriteMode::changed:
      return proto::CHANGED;
    case OverwriteMode::always:
      return proto::ALWAYS;
  }
  return proto::NEVER;
}
storage::Overwrite to_storage(OverwriteMode mode) {
  switch (mode) {
    case OverwriteMode::never:
      return storage::Overwrite::never;
    case OverwriteMode::skip:
      return storage::Overwrite::skip;
    case OverwriteMode::changed:
      return storage::Overwrite::changed;
    case OverwriteMode::always:
      return storage::Overwrite::always;
  }
  return storage::Overwrite::never;
}
std::string_view word_of(OverwriteMode mode) {
  switch (mode) {
    case OverwriteMode::never:
      return "never";
    case OverwriteMode::skip:
      return "skip";
    case OverwriteMode::changed:
      return "changed";
    case OverwriteMode::always:
      return "always";
  }
  return "never";
}
proto::Links encode(LinkMode mode) {
  switch (mode) {
    case LinkMode::keep:
      return proto::KEEP;
    case LinkMode::follow:
      return proto::FOLLOW;
    case LinkMode::skip:
      return proto::LINKS_SKIP;
  }
  return proto::KEEP;
}
storage::Links to_storage(LinkMode mode) {
  switch (mode) {
    case LinkMode::keep:
      return storage::Links::keep;
    case LinkMode::follow:
      return storage::Links::follow;
    case LinkMode::skip:
      return storage::Links::skip;
  }
  return storage::Links::keep;
}
std::string_view word_of(LinkMode mode) {
  switch (mode) {
    case LinkMode::keep:
      return "keep";
    case LinkMode::follow:
      return "follow";
    case LinkMode::skip:
      return "skip";
  }
  return "keep";
}

std::string absolute_local(const std::string& path, bool contents) {
  std::error_code failed;
  auto absolute = std::filesystem::absolute(path, failed).lexically_normal().string();
  if (failed) absolute = path;
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  return contents ? absolute + "/." : absolute;
}

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

double milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

}  // namespace

struct TransferCommand::Session {
  explicit Session(OpenedSession session) : opened(std::move(session)), news(opened.link->channel().executor()) {}

  OpenedSession opened;
  AsyncEvent news;
  std::optional<Status> link_over;
  std::optional<Error> failure;  // the daemon's word
  std::optional<proto::TransferOpened> transfer;
  std::shared_ptr<TransferRun> run;
  proto::SinkProgress sink_progress;                // push: the daemon's
  proto::SourceProgress source_progress;            // pull: the daemon's
  std::unique_ptr<storage::Journal> journal;        // pull
  std::optional<storage::Destination> destination;  // pull
  std::vector<storage::SourceRoot> roots;           // push
  bool resuming = false;
  std::string finished_receipt;
};

TransferCommand::TransferCommand(ClientMachinery& machinery, ReceiptOperation operation, const TransferWords& words,
                                 const TransferOptions& options)
    : machinery_(machinery),
      operation_(operation),
      words_(words),
      options_(options),
      notes_(PushNotes::of_home(machinery.home.directory())) {}

LandingNames TransferCommand::landing() const {
  LandingNames names;
  names.container = words_.container;
  for (const auto& source : words_.sources) names.roots.push_back({source.last_name, source.contents});
  return names;
}

Status TransferCommand::check_words() {
  if (words_.sources.empty()) return Error{ErrorCode::USAGE, "nothing to transfer was named"};
  if (options_.congestion == CongestionKind::fixed && !options_.rate)
    return Error{ErrorCode::USAGE, "--cc fixed needs a rate; add --rate, such as --rate 500M"};
  if (!push()) return {};
  // A source that is not there is told before anybody is asked to connect.
  for (const auto& source : words_.sources) {
    const auto root = storage::open_local_root(source.path + (source.contents ? "/." : ""));
    if (!root) return root.error();
  }
  return {};
}

asio::awaitable<Result<TransferSummary>> TransferCommand::async_run() {
  begun_ = SteadyClock::now();
  last_durable_ = begun_;
  if (auto status = check_words(); !status) co_return status.error();
  Duration backoff = backoff_first;
  for (unsigned attempt = 1;; ++attempt) {
    auto opened = co_await async_open_session(machinery_.config, machinery_.home, machinery_.tls);
    std::optional<Error> error;
    if (!opened) {
      if (!connected_before_) co_return opened.error();
      error = opened.error();
    } else {
      Connected connected;
      connected.peer = shown_address(machinery_.config);
      const auto& remote = opened->link->channel().remote();
      connected.address = endpoint_of(remote, remote.port()).to_string();
      connected.software = opened->session.agreement.peer_software;
      connected.user = opened->session.user;
      connected.fingerprint = to_string(opened->daemon.pin);
      connected.again = connected_before_;
      machinery_.observer.on_connected(connected);
      if (opened->registered_now) machinery_.observer.on_registered(to_string(opened->daemon.uuid));
      const auto before = SteadyClock::now();
      auto summary = co_await run_session(std::move(*opened));
      if (summary) {
        summary->until_told = note_until_told();
        co_return summary;
      }
      error = summary.error();
      // A conflict is no lost end.
      if (error_traits(error->code).exit == 6) forget_note();
      // A session that lasted was a good one: the next trouble starts from the beginning.
      if (SteadyClock::now() - before > std::chrono::seconds{10}) {
        backoff = backoff_first;
        attempt = 1;
      }
    }
    if (!is_lost_connection(*error) || !transfer_id_ || machinery_.stop_requested) co_return *error;
    const auto waited = SteadyClock::now() - last_durable_;
    if (machinery_.config.timeout && waited >= *machinery_.config.timeout)
      co_return Error{ErrorCode::TIMED_OUT,
                      "no byte became durable for the allowed time, and the daemon can not be reached (" +
                          error->message + "); run the same command again to resume"};
    machinery_.observer.on_reconnecting(*error, attempt);
    // The last attempt is made when the time is up, not a whole pause before.
    const auto pause =
        machinery_.config.timeout ? std::min<Duration>(backoff, *machinery_.config.timeout - waited) : backoff;
    const auto resume_at = SteadyClock::now() + pause;
    while (SteadyClock::now() < resume_at && !machinery_.stop_requested)
      co_await machinery_.nudge.async_wait(std::chrono::duration_cast<Duration>(resume_at - SteadyClock::now()));
    if (machinery_.stop_requested)
      co_return Error{ErrorCode::INTERRUPTED, "interrupted; the same command again resumes"};
    backoff = std::min(backoff * 2, backoff_last);
  }
}

proto::OpenTransfer TransferCommand::open_message(const OpenedSession& opened) const {
  proto::OpenTransfer open;
  open.set_direction(push() ? proto::PUSH : proto::PULL);
  TransferIdentity identity;
  identity.operation = to_string(operation_);
  identity.daemon = opened.daemon.pin;
  for (const auto& source : words_.sources) {
    identity.sources.push_back(push() ? absolute_local(source.path, source.contents)
                                      : source.path + (source.contents ? "/." : ""));
    auto* root = open.add_roots();
    if (!push()) root->set_path(source.path);
    root->set_name(source.last_name);
    root->set_contents(source.contents);
  }
  identity.destination = push() ? words_.destination : absolute_local(words_.destination, false);
  identity.container = words_.container;
  identity.overwrite = word_of(options_.overwrite);
  identity.digest = options_.digest == DigestKind::sha256 ? "sha256" : "xxh3";
  identity.links = word_of(options_.links);
  const auto key = resume_key_of(identity);
  open.set_resume_key(std::string{bytes::as_text(key)});
  if (const auto& id = transfer_id_ ? transfer_id_ : noted_id_) open.set_transfer_id(std::string{bytes::as_text(*id)});
  // Once a run has begun, coming back always means going on.
  open.set_resume(options_.resume || transfer_id_.has_value());
  if (push()) open.set_destination(words_.destination);
  open.set_destination_is_container(words_.container);
  open.set_overwrite(encode(options_.overwrite));
  open.set_digest(options_.digest == DigestKind::sha256 ? proto::SHA256 : proto::XXH3);
  open.set_links(encode(options_.links));
  open.set_congestion(options_.congestion == CongestionKind::fixed ? "fixed" : "cubic");
  if (options_.rate) open.set_rate_bps(options_.rate->bits_per_second());
  open.set_dry_run(options_.dry_run);
  return open;
}

storage::ResumeKey TransferCommand::resume_key(const OpenedSession& opened) const {
  storage::ResumeKey key{};
  const auto message = open_message(opened);
  std::ranges::copy(bytes::as_bytes(message.resume_key()), key.begin());
  return key;
}

/// Push: the roots. Pull: where it lands, and what an earlier run left there. Blocks.
Status TransferCommand::open_local_side(Session& session) {
  if (push()) {
    for (const auto& source : words_.sources) {
      auto root = storage::open_local_root(source.path + (source.contents ? "/." : ""));
      if (!root) return root.error();
      session.roots.push_back(std::move(*root));
    }
    look_for_note(session.opened);
    return {};
  }
  auto destination = storage::open_local_destination(words_.destination);
  if (!destination) return destination.error();
  destination->is_container = words_.container;
  session.destination.emplace(std::move(*destination));
  if (options_.dry_run) return {};
  const auto key = resume_key(session.opened);
  auto found = machinery_.journals.find(session.opened.daemon.uuid.bytes, key);
  if (!found) return found.error();
  if (*found && !open_message(session.opened).resume()) {
    const auto id = (*found)->state().identity.transfer;
    found->reset();
    auto gone = machinery_.journals.discard(
        id, [](const storage::TransferIdentity& identity) { return path::open_trusted_directory(identity.base); });
    if (!gone) return gone.error();
  }
  if (*found) {
    session.journal = std::move(*found);
    session.resuming = true;
    transfer_id_ = session.journal->state().identity.transfer;
  }
  return {};
}

Result<RunConfig> TransferCommand::make_run(Session& session) {
  const auto& opened = *session.transfer;
  RunConfig config;
  config.role = push() ? TransferRole::source : TransferRole::sink;
  config.report_entries = options_.report_files || options_.dry_run;
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
  config.sender.rate = options_.rate;
  if (opened.rate_cap_bps() != 0) {
    const auto cap = DataRate::bits_per_second(opened.rate_cap_bps());
    if (!config.sender.rate || *config.sender.rate > cap) config.sender.rate = cap;
  }
  if (options_.congestion == CongestionKind::fixed) config.sender.congestion = engine::Congestion::fixed;
  if (options_.shuffle_chunks) config.sender.order = engine::ChunkOrder::shuffled;
  if (!push()) config.receiver.hello_until_heard = true;
  if (!options_.dry_run) config.keys = take_lane_keys(session.opened.session.secrets, agreement, End::client);

  auto account = machinery_.slabs.open_account();
  if (!account) return Error{ErrorCode::INTERNAL, "no memory for the transfer"};
  auto shared_account = std::make_shared<storage::SlabAccount>(std::move(*account));
  const auto algorithm = options_.digest == DigestKind::sha256 ? digest::Algorithm::sha256 : digest::Algorithm::xxh3;
  const auto post = WorkerDoor::poster(machinery_.door);
  auto& machinery = machinery_;
  if (push()) {
    config.source_side.await_verdicts = opened.await_verdicts();
    config.source_side.dry_run = options_.dry_run;
    config.source_side.report_entries = config.report_entries;
    auto roots = std::make_shared<std::vector<storage::SourceRoot>>(std::move(session.roots));
    config.make_reader = [&machinery, roots, shared_account, post, algorithm,
                          links = to_storage(options_.links)](storage::SourceObserver& observer) {
      auto source =
          std::make_unique<storage::PosixSource>(std::move(*roots), storage::PosixSourceConfig{.links = links});
      storage::SourceReaderConfig reader;
      reader.algorithm = algorithm;
      reader.spill_directory = machinery.journals.directory();
      return storage::SourceReader::create(reader, std::move(source), std::move(*shared_account), machinery.threads,
                                           post, observer);
    };
  } else {
    config.sink_side.dry_run = options_.dry_run;
    config.sink_side.report_entries = config.report_entries;
    auto destination = std::make_shared<storage::Destination>(std::move(*session.destination));
    auto journal = std::make_shared<std::unique_ptr<storage::Journal>>(std::move(session.journal));
    std::vector<storage::LandingRoot> roots;
    for (const auto& source : words_.sources) roots.push_back({source.last_name, source.contents});
    config.make_sink = [&machinery, destination, journal, roots, shared_account, post, algorithm,
                        overwrite = to_storage(options_.overwrite),
                        dry_run = options_.dry_run](storage::SinkObserver& observer) {
      storage::PosixSinkConfig sink;
      sink.destination = std::move(*destination);
      sink.roots = roots;
      sink.overwrite = overwrite;
      sink.algorithm = algorithm;
      sink.dry_run = dry_run;
      sink.spill_directory = machinery.journals.directory();
      return storage::make_posix_sink(std::move(sink), std::move(*journal), std::move(*shared_account),
                                      machinery.threads, machinery.claims, post, observer);
    };
  }
  return config;
}

asio::awaitable<Result<TransferSummary>> TransferCommand::run_session(OpenedSession opened_session) {
  const auto session = std::make_shared<Session>(std::move(opened_session));
  const auto link = session->opened.link;
  const auto handler = [session](proto::Envelope envelope) -> asio::awaitable<Status> {
    if (envelope.id() != 0) {
      // The daemon's first segments may overtake our own preparations.
      while (!session->run && !session->opened.link->ended())
        co_await session->news.async_wait(std::chrono::milliseconds{50});
      if (!session->run) co_return Status{};
      co_return co_await session->run->async_deliver(std::move(envelope));
    }
    switch (envelope.body_case()) {
      case proto::Envelope::kFailure:
        session->failure = error_of_failure(envelope.failure());
        break;
      case proto::Envelope::kTransferOpened:
        // A long receipt comes in pieces.
        session->finished_receipt += envelope.transfer_opened().finished_receipt();
        if (session->finished_receipt.size() > finished_receipt_max)
          co_return Status{Error{ErrorCode::INTERNAL, "the daemon's receipt is too long", {}, ErrorSide::remote}};
        if (envelope.transfer_opened().receipt_continues()) co_return Status{};
        session->transfer = envelope.transfer_opened();
        break;
      case proto::Envelope::kSinkProgress:
        session->sink_progress = envelope.sink_progress();
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

  const auto leave = [&]() -> asio::awaitable<void> {
    if (session->run) {
      const auto& lane = session->run->stats().lane;
      packets_sent_before_ += lane.packets_sent;
      packets_lost_before_ += lane.packets_lost;
      retransmitted_before_ += lane.payload_bytes_retransmitted;
      sent_in_earlier_sessions_ += session->run->stats().bytes - session->run->stats().bytes_withheld;
      co_await session->run->async_close();
    }
    link->end(Status{});
    while (!session->link_over) co_await session->news.async_wait(std::chrono::milliseconds{100});
    session->run.reset();
  };

  const auto prepare = [this, session] { return open_local_side(*session); };
  auto local = co_await async_blocking(machinery_.threads, prepare);
  if (!local) {
    co_await leave();
    co_return local.error();
  }
  auto message = open_message(session->opened);
  const auto peer = endpoint_of(link->channel().remote(), session->opened.session.agreement.udp_port);
  if (const auto payload = io::udp_payload_towards(peer, options_.mtu.value_or(io::mtu_believed)))
    message.set_udp_payload_max(static_cast<std::uint32_t>(*payload));
  proto::Envelope open;
  *open.mutable_open_transfer() = std::move(message);
  link->send(std::move(open));
  while (!session->transfer && !session->failure && !session->link_over && !machinery_.stop_requested)
    co_await session->news.async_wait(std::chrono::milliseconds{250});
  if (!session->transfer) {
    Error error = session->failure ? *session->failure
                  : machinery_.stop_requested
                      ? Error{ErrorCode::INTERRUPTED, "interrupted; the same command again resumes"}
                      : (*session->link_over ? Error{ErrorCode::PEER_LOST, "the daemon closed the connection"}
                                             : session->link_over->error());
    co_await leave();
    co_return std::move(error);
  }
  storage::TransferId id{};
  if (session->transfer->transfer_id().size() != id.size()) {
    co_await leave();
    co_return Error{ErrorCode::INTERNAL, "the daemon named no transfer", {}, ErrorSide::remote};
  }
  std::ranges::copy(bytes::as_bytes(session->transfer->transfer_id()), id.begin());
  if (!session->finished_receipt.empty()) {
    auto summary = finish_by_receipt(*session);
    co_await leave();
    co_return summary;
  }
  if (awaits_receipt_) {
    co_await leave();
    co_return Error{ErrorCode::INTERNAL,
                    "everything is transferred and durable, but the daemon has no receipt for it",
                    {},
                    ErrorSide::remote};
  }
  transfer_id_ = id;
  if (keeps_note()) {
    const auto write = [this, session] { return write_note(*session); };
    // Without the note all goes well but for one thing: being killed in the very last moment.
    if (auto written = co_await async_blocking(machinery_.threads, write); !written)
      machinery_.observer.on_warning({written.error()});
  }
  if (!push() && !options_.dry_run && !session->journal) {
    storage::TransferIdentity identity;
    identity.transfer = id;
    identity.resume_key = resume_key(session->opened);
    identity.owner = session->opened.daemon.uuid.bytes;
    identity.destination = words_.destination;
    identity.base = "/";
    auto created = machinery_.journals.create(identity);
    if (!created) {
      co_await leave();
      co_return created.error();
    }
    session->journal = std::move(*created);
  }
  if (!connected_before_)
    machinery_.observer.on_started({bytes::to_hex(id), push() ? session->transfer->resuming() : session->resuming});
  connected_before_ = true;
  auto config = make_run(*session);
  if (!config) {
    co_await leave();
    co_return config.error();
  }
  session->run = TransferRun::start(std::move(*config), machinery_.worker, link);
  const auto run = session->run;
  run->on_warning = [this](const Error& warning) {
    ++left_out_;
    // A receipt does not tell what was left out, so it must not speak for a run that leaves something out.
    forget_note();
    if (warning.code == ErrorCode::DIGEST_MISMATCH && !integrity_error_) integrity_error_ = warning;
    machinery_.observer.on_warning({warning});
  };
  run->on_entry = [this](const storage::FileReport& report, EntryOutcome outcome) {
    FileNews news;
    // Below DEST, as in the receipt. How a single file is called there, the daemon says only at the end.
    news.path = landed_path(report, landing());
    if (news.path.empty() && report.root < words_.sources.size()) news.path = words_.sources[report.root].last_name;
    news.bytes = report.size;
    const bool moved = outcome == EntryOutcome::finished || outcome == EntryOutcome::replaced;
    if (moved && !options_.dry_run) news.digest = report.digest.to_string();
    news.action = action_of(outcome);
    machinery_.observer.on_file(news);
  };
  session->news.notify();
  durable_ = 0;

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
    } else if (!options_.dry_run && !run->peer_heard() && SteadyClock::now() - started >= udp_patience) {
      error = Error{ErrorCode::UDP_BLOCKED, "no UDP datagram gets through between here and port " +
                                                std::to_string(session->opened.session.agreement.udp_port) + " of " +
                                                shown_address(machinery_.config) +
                                                ", though TCP does; let UDP through the firewall"};
    } else if (machinery_.config.timeout && SteadyClock::now() - last_durable_ >= *machinery_.config.timeout) {
      error = Error{ErrorCode::TIMED_OUT,
                    "no byte became durable for the allowed time; run the same command again to resume"};
    }
    if (error) break;
    const bool asked = std::exchange(machinery_.progress_requested, false);
    if (asked || SteadyClock::now() >= next_progress) {
      next_progress = SteadyClock::now() + progress_interval;
      note_progress(*session);
      emit_progress(*session);
    }
    co_await run->changed().async_wait(std::chrono::milliseconds{100});
  }
  if (error) {
    if (!machinery_.stop_requested && !session->failure && !session->link_over) link->send(failure_envelope(*error));
    co_await leave();
    co_return std::move(*error);
  }
  note_progress(*session);
  auto outcome = run->take_outcome();
  if (outcome.failed) {
    link->send(failure_envelope(*outcome.failed));
    co_await leave();
    co_return std::move(*outcome.failed);
  }
  auto summary = co_await finish(*session, std::move(outcome));
  co_await leave();
  co_return std::move(summary);
}

void TransferCommand::note_progress(Session& session) {
  const auto& stats = session.run->stats();
  const std::uint64_t durable = push() ? session.sink_progress.bytes_durable() : stats.sink.bytes_durable;
  const std::uint64_t moved = durable + stats.files;
  if (moved > durable_) {
    durable_ = moved;
    last_durable_ = SteadyClock::now();
  }
  if (push()) {
    const auto cap = session.transfer->rate_cap_bps();
    const bool by_server = cap != 0 && (!options_.rate || options_.rate->bits_per_second() > cap);
    limits_.add(limit_of(stats.lane, options_.rate.has_value() || cap != 0, by_server,
                         session.sink_progress.limited_by() == "target_disk"));
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
    if (stats.sink.slabs_waiting > 1) progress.mutable_sink_progress()->set_limited_by("target_disk");
    session.opened.link->send(std::move(progress));
  }
}

void TransferCommand::emit_progress(const Session& session) {
  const auto& stats = session.run->stats();
  Progress progress;
  progress.bytes = stats.bytes;
  progress.bytes_total = stats.bytes_total;
  progress.files = stats.files;
  progress.files_total = stats.files_total;
  const auto now = SteadyClock::now();
  rate_samples_.emplace_back(now, stats.bytes - std::min(stats.bytes, stats.bytes_withheld));
  while (rate_samples_.size() > 2 && now - rate_samples_.front().first > rate_window) rate_samples_.pop_front();
  const auto elapsed = now - rate_samples_.front().first;
  const std::uint64_t first = rate_samples_.front().second;
  const std::uint64_t last = rate_samples_.back().second;
  if (last >= first && elapsed > std::chrono::milliseconds{100})
    progress.rate_bps = static_cast<std::uint64_t>(static_cast<double>(last - first) * 8 /
                                                   std::chrono::duration<double>(elapsed).count());
  if (last < first) rate_samples_.clear();  // a new session counts from the beginning
  if (progress.bytes_total && progress.rate_bps > 0)
    progress.eta_s = (*progress.bytes_total - std::min(*progress.bytes_total, progress.bytes)) * 8 / progress.rate_bps;
  const std::uint64_t sent = push() ? stats.lane.packets_sent : session.source_progress.packets_sent();
  const std::uint64_t lost = push() ? stats.lane.packets_lost : session.source_progress.packets_lost();
  if (sent > 0) progress.loss = static_cast<double>(lost) / static_cast<double>(sent);
  progress.rtt_ms =
      push() ? milliseconds(stats.lane.rtt_smoothed) : static_cast<double>(session.source_progress.rtt_us()) / 1000.0;
  progress.limited_by = limits_.now();
  machinery_.observer.on_progress(progress);
}

asio::awaitable<Result<TransferSummary>> TransferCommand::finish(Session& session, RunOutcome outcome) {
  auto names = landing();
  if (push()) {
    names.landed_as = outcome.commit.landed_as();
  } else {
    for (const auto& report : outcome.reports)
      if (report.path.empty()) names.landed_as = last_component(report.target_path);
  }
  auto lines = receipt_lines(outcome.reports, names);
  const auto list = receipt_list_sha256(lines);
  if (!push()) {
    proto::Envelope message;
    auto* commit = message.mutable_commit();
    commit->set_files(outcome.sink.files);
    commit->set_bytes(outcome.sink.bytes);
    commit->set_bytes_received(outcome.sink.bytes_received);
    commit->set_bytes_resumed(outcome.sink.bytes_resumed);
    commit->set_bytes_skipped(outcome.sink.bytes_skipped);
    commit->set_files_skipped(outcome.sink.files_skipped);
    commit->set_files_failed(outcome.entries_failed);
    commit->set_list_digest(std::string{bytes::as_text(list)});
    commit->set_landed_as(names.landed_as);
    session.run->send(std::move(message));
  }
  auto summary = summary_of(session, outcome, lines);
  if (!options_.dry_run) {
    const auto deadline = SteadyClock::now() + std::chrono::seconds{30};
    while (!session.run->receipt() && !session.failure && !session.link_over && SteadyClock::now() < deadline &&
           !machinery_.stop_requested)
      co_await session.run->changed().async_wait(std::chrono::milliseconds{250});
    if (!session.run->receipt()) {
      if (session.failure) co_return *session.failure;
      awaits_receipt_ = std::move(summary);
      co_return Error{ErrorCode::PEER_LOST,
                      "everything is transferred and durable, but the daemon's receipt did not arrive",
                      {},
                      ErrorSide::remote};
    }
    auto kept = keep_receipt(session, *session.run->receipt(), std::move(lines));
    if (!kept) co_return kept.error();
    summary.receipt = std::move(*kept);
  } else if (!push()) {
    // Nothing answers a dry run's Commit; it only has to leave.
    co_await session.news.async_wait(std::chrono::milliseconds{50});
  }
  if (outcome.lasting_error) co_return *outcome.lasting_error;
  if (integrity_error_) co_return *integrity_error_;
  co_return std::move(summary);
}

Result<std::filesystem::path> TransferCommand::keep_receipt(Session& session, const proto::ReceiptHeader& header,
                                                            std::vector<ReceiptLine> lines) {
  auto fields = decode_receipt_header(header.text());
  if (!fields) return fields.error();
  Receipt receipt;
  receipt.header = std::move(*fields);
  receipt.lines = std::move(lines);
  if (header.signature().size() != receipt.signature.size())
    return Error{ErrorCode::SIGNATURE_INVALID, "the daemon's receipt is not signed", {}, ErrorSide::remote};
  std::ranges::copy(bytes::as_bytes(header.signature()), receipt.signature.begin());
  receipt.daemon_spki = session.opened.daemon_spki;
  receipt.key_certification = session.opened.session.receipt_certification;
  return keep_verified(session, receipt);
}

Result<std::filesystem::path> TransferCommand::keep_verified(Session& session, const Receipt& receipt) {
  if (receipt.header.transfer != bytes::to_hex(*transfer_id_) || receipt.header.operation != operation_)
    return Error{ErrorCode::SIGNATURE_INVALID, "the daemon's receipt is for another transfer", {}, ErrorSide::remote};
  const Pin pin = session.opened.link->channel().peer_pin();
  if (auto verified = verify_receipt(receipt, std::span{&pin, 1}); !verified) {
    Error error = verified.error();
    error.side = ErrorSide::remote;
    return error;
  }
  return ReceiptStore::of_home(machinery_.home.directory()).store(receipt);
}

/// Blocks. Only where what exists already would be a conflict does it matter who made it; and only while the sources
/// are what that run has sent does its receipt speak for them.
void TransferCommand::look_for_note(const OpenedSession& opened) {
  if (!keeps_note() || !options_.resume || transfer_id_) return;
  const auto key = resume_key(opened);
  const auto note = notes_.find(key);
  if (!note) return;
  std::vector<std::string> sources;
  for (const auto& source : words_.sources) sources.push_back(absolute_local(source.path, false));
  if (!unchanged_since(sources, note->written_ns)) return;
  noted_id_ = note->transfer;
  note_ = key;
}

Status TransferCommand::write_note(const Session& session) {
  note_ = resume_key(session.opened);
  return notes_.write(*note_, *transfer_id_);
}

void TransferCommand::forget_note() {
  if (note_) notes_.remove(*note_);
  note_.reset();
}

std::shared_ptr<const void> TransferCommand::note_until_told() {
  if (!note_) return nullptr;
  const auto key = *std::exchange(note_, std::nullopt);
  return {static_cast<const void*>(this), [notes = notes_, key](const void*) { notes.remove(key); }};
}

/// The connection was lost between the sink's commit and the receipt: the daemon shows what it has signed.
Result<TransferSummary> TransferCommand::finish_by_receipt(Session& session) {
  const bool by_note = !transfer_id_ && noted_id_;
  if (by_note) transfer_id_ = noted_id_;
  if (!transfer_id_) return Error{ErrorCode::INTERNAL, "the daemon finished what was not begun", {}, ErrorSide::remote};
  auto receipt = decode_receipt(session.finished_receipt);
  if (!receipt) return receipt.error();
  auto kept = keep_verified(session, *receipt);
  if (!kept) return kept.error();
  if (by_note) machinery_.observer.on_started({receipt->header.transfer, true});
  TransferSummary summary;
  if (awaits_receipt_) {
    summary = std::move(*awaits_receipt_);
  } else {
    summary.transfer = receipt->header.transfer;
    summary.files = receipt->header.files;
    summary.bytes = receipt->header.bytes;
    // By a note: all of it was durable before this process began.
    (by_note ? summary.bytes_resumed : summary.bytes_sent) = summary.bytes;
    summary.seconds = std::chrono::duration<double>(SteadyClock::now() - begun_).count();
    summary.limited_by = limits_.mostly();
    summary.digest = digest_of(receipt->lines);
    summary.packets_sent = packets_sent_before_;
    summary.packets_lost = packets_lost_before_;
    summary.bytes_retransmitted = retransmitted_before_;
  }
  summary.receipt = std::move(*kept);
  if (integrity_error_) return *integrity_error_;
  return summary;
}

/// Of the file; of several, the list's.
std::string TransferCommand::digest_of(const std::vector<ReceiptLine>& lines) const {
  if (lines.size() != 1) return "sha256:" + bytes::to_hex(receipt_list_sha256(lines));
  const auto algorithm = options_.digest == DigestKind::sha256 ? digest::Algorithm::sha256 : digest::Algorithm::xxh3;
  const auto digest = digest::Digest::from_bytes(algorithm, lines.front().digest);
  return digest ? digest->to_string() : std::string{};
}

TransferSummary TransferCommand::summary_of(const Session& session, const RunOutcome& outcome,
                                            const std::vector<ReceiptLine>& lines) {
  TransferSummary summary;
  summary.transfer = bytes::to_hex(*transfer_id_);
  if (push()) {
    const auto& commit = outcome.commit;
    summary.files = commit.files();
    summary.bytes = commit.bytes();
    summary.bytes_resumed = commit.bytes_resumed();
    summary.bytes_skipped = commit.bytes_skipped();
    summary.files_skipped = commit.files_skipped();
  } else {
    summary.files = outcome.sink.files;
    summary.bytes = outcome.sink.bytes;
    summary.bytes_resumed = outcome.sink.bytes_resumed;
    summary.bytes_skipped = outcome.sink.bytes_skipped;
    summary.files_skipped = outcome.sink.files_skipped;
  }
  // What an earlier session of this very run has sent is no older run's.
  summary.bytes_resumed -= std::min(summary.bytes_resumed, sent_in_earlier_sessions_);
  summary.bytes_sent = summary.bytes - std::min(summary.bytes, summary.bytes_resumed + summary.bytes_skipped);
  summary.files_failed = left_out_;
  summary.seconds = std::chrono::duration<double>(SteadyClock::now() - begun_).count();
  if (summary.seconds > 0)
    summary.goodput_bps = static_cast<std::uint64_t>(static_cast<double>(summary.bytes_sent) * 8 / summary.seconds);
  const auto& lane = session.run->stats().lane;
  const auto& theirs = session.source_progress;
  summary.packets_sent = packets_sent_before_ + (push() ? lane.packets_sent : theirs.packets_sent());
  summary.packets_lost = packets_lost_before_ + (push() ? lane.packets_lost : theirs.packets_lost());
  summary.bytes_retransmitted =
      retransmitted_before_ + (push() ? lane.payload_bytes_retransmitted : theirs.bytes_retransmitted());
  summary.rtt_ms = push() ? milliseconds(lane.rtt_smoothed) : static_cast<double>(theirs.rtt_us()) / 1000.0;
  summary.limited_by = limits_.mostly();
  summary.digest = digest_of(lines);
  if (left_out_ > 0)
    summary.partial =
        Error{ErrorCode::PARTIAL, std::to_string(left_out_) + (left_out_ == 1 ? " entry was" : " entries were") +
                                      " left out, all others are complete; the warnings name them"};
  return summary;
}

}  // namespace penstock::control
