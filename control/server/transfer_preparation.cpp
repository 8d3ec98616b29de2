#include "control/server/transfer_preparation.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "common/crypto/random.h"
#include "control/server/access.h"
#include "control/session/async_blocking.h"
#include "dataplane/storage/discarding_sink.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/posix_source.h"

namespace penstock::control {
namespace {

// A pull's DEST is the client's business; here it is a word of the receipt, and no path is longer.
constexpr std::size_t pull_destination_max = 4096;

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

std::optional<storage::TransferId> wanted_id(const proto::OpenTransfer& open) {
  storage::TransferId id{};
  if (open.transfer_id().size() != id.size()) return std::nullopt;
  std::ranges::copy(bytes::as_bytes(open.transfer_id()), id.begin());
  return id;
}

struct OpenedJournal {
  std::unique_ptr<storage::Journal> journal;
  bool earlier = false;  // of a run before this one
};

/// Blocks.
Result<OpenedJournal> open_journal(DaemonState& state, const storage::TransferIdentity& fresh,
                                   const std::optional<storage::TransferId>& wanted) {
  auto& store = *state.journals;
  auto found = wanted ? store.find(fresh.owner, *wanted) : store.find(fresh.owner, fresh.resume_key);
  if (!found) return found.error();
  if (!*found && wanted) {
    found = store.find(fresh.owner, fresh.resume_key);
    if (!found) return found.error();
  }
  if (*found) return OpenedJournal{std::move(*found), true};
  auto created = store.create(fresh);
  if (!created) return created.error();
  return OpenedJournal{std::move(*created), false};
}

Result<std::shared_ptr<storage::SlabAccount>> open_account(DaemonState& state, std::size_t lanes) {
  auto account = state.slabs->open_account(lanes);
  if (!account) return Error{ErrorCode::SERVER_BUSY, "the daemon has no memory for another transfer; try again later"};
  return std::make_shared<storage::SlabAccount>(std::move(*account));
}

/// To the worker of each lane, home's first.
std::vector<storage::PostToWorker> ways_of(const std::shared_ptr<WorkerDoor>& door,
                                           const std::vector<storage::PostToWorker>& more) {
  std::vector<storage::PostToWorker> ways{WorkerDoor::poster(door)};
  ways.insert(ways.end(), more.begin(), more.end());
  return ways;
}

/// Where what finishes is kept for the receipt.
std::shared_ptr<ReceiptSpool> receipts_of(const DaemonState& state, const proto::OpenTransfer& open) {
  if (open.dry_run()) return nullptr;
  LandingNames landing;
  landing.container = open.destination_is_container();
  for (const auto& root : open.roots()) landing.roots.push_back({root.name(), root.contents()});
  return std::make_shared<ReceiptSpool>(state.journals->directory(), std::move(landing));
}

/// Where a push lands, as far as the words say it.
struct PushLanding {
  storage::Overwrite overwrite = storage::Overwrite::never;
  path::SafePath destination;
  std::vector<storage::LandingRoot> roots;
};

Result<PushLanding> judge_push(const ClientRecord& client, const proto::OpenTransfer& open) {
  const auto overwrite = decode_overwrite(open.overwrite());
  if (!overwrite || open.roots_size() == 0) return usage("no source, or no rule for what exists");
  if (open.roots_size() > 1 && !open.destination_is_container()) return usage("several sources need a directory");
  auto destination = path::SafePath::parse_absolute(open.destination());
  if (!destination) return destination.error();
  PushLanding landing;
  landing.overwrite = *overwrite;
  landing.destination = std::move(*destination);
  for (const auto& root : open.roots()) {
    landing.roots.push_back({root.name(), root.contents()});
    path::SafePath lands = landing.destination;
    if (open.destination_is_container() && !root.contents()) {
      const auto name = path::Component::parse(root.name());
      if (!name) return name.error();
      lands = lands.child(*name);
    }
    if (auto allowed = check_allowed(client.grants, lands, Operation::create, Extent::tree); !allowed)
      return allowed.error();
    // To skip what exists changes nothing: a drop box may be filled up.
    if (*overwrite == storage::Overwrite::never || *overwrite == storage::Overwrite::skip) continue;
    if (auto allowed = check_allowed(client.grants, lands, Operation::modify, Extent::tree); !allowed)
      return allowed.error();
  }
  return landing;
}

/// A push whose bytes are thrown away: allowed where a real one would be, and nothing is opened for it.
Result<PreparedTransfer> prepare_discarded_push(DaemonState& state, const ClientRecord& client,
                                                const proto::OpenTransfer& open, std::shared_ptr<WorkerDoor> door,
                                                std::size_t lanes) {
  if (!open.heeds_discarded())
    return Error{ErrorCode::VERSION_MISMATCH,
                 "this daemon runs as a benchmark and stores nothing, which this version of penstock would not tell; "
                 "use a newer one, or have the daemon started without --discard"};
  if (auto landing = judge_push(client, open); !landing) return landing.error();
  auto account = open_account(state, lanes);
  if (!account) return account.error();
  PreparedTransfer prepared;
  prepared.id = crypto::random_array<16>();
  prepared.discarded = true;
  prepared.config.role = TransferRole::sink;
  prepared.config.make_sink = [account = std::move(*account), door = std::move(door),
                               roots = static_cast<std::uint32_t>(open.roots_size())](
                                  storage::SinkObserver& observer, const std::vector<storage::PostToWorker>& more) {
    return storage::make_discarding_sink(roots, std::move(*account), ways_of(door, more), observer);
  };
  return prepared;
}

asio::awaitable<Result<PreparedTransfer>> async_prepare_push(DaemonState& state, const ClientRecord& client,
                                                             const proto::OpenTransfer& open,
                                                             const storage::ResumeKey& key,
                                                             std::shared_ptr<WorkerDoor> door, std::size_t lanes) {
  auto landing = judge_push(client, open);
  if (!landing) co_return landing.error();
  PreparedTransfer prepared;
  storage::TransferIdentity identity;
  identity.transfer = crypto::random_array<16>();
  identity.resume_key = key;
  identity.owner = client.uuid.bytes;
  identity.destination = open.destination();
  identity.base = "/";  // the root that is served
  prepared.id = identity.transfer;
  std::shared_ptr<storage::Journal> journal;
  bool earlier = false;
  if (!open.dry_run()) {
    const auto open_it = [&state, identity, wanted = wanted_id(open)] { return open_journal(state, identity, wanted); };
    auto opened = co_await async_blocking(*state.requests, open_it);
    if (!opened) co_return opened.error();
    prepared.id = opened->journal->identity().transfer;
    earlier = opened->earlier;
    prepared.resuming = earlier && open.resume();
    prepared.journal = std::make_unique<JournalHold>(std::move(opened->journal), state.io.get_executor());
    journal = prepared.journal->share();
  }
  auto account = open_account(state, lanes);
  if (!account) co_return account.error();
  prepared.await_verdicts = earlier || landing->overwrite != storage::Overwrite::never;
  prepared.config.role = TransferRole::sink;
  prepared.config.sink_side.dry_run = open.dry_run();
  prepared.config.receipts = receipts_of(state, open);
  prepared.config.make_sink =
      [&state, journal, receipts = prepared.config.receipts, account = std::move(*account),
       landing = std::move(*landing), door = std::move(door), container = open.destination_is_container(),
       algorithm = decode_algorithm(open.digest()), anew = !open.resume(), dry_run = open.dry_run()](
          storage::SinkObserver& observer, const std::vector<storage::PostToWorker>& more) mutable {
        storage::PosixSinkConfig sink;
        sink.anew = anew;
        sink.destination.base = duplicate(state.root);
        sink.destination.path = landing.destination;
        sink.destination.is_container = container;
        sink.roots = landing.roots;
        sink.overwrite = landing.overwrite;
        sink.algorithm = algorithm;
        sink.dry_run = dry_run;
        sink.spill_directory = state.journals->directory();
        sink.keep_report = keep_in(receipts);
        return storage::make_posix_sink(std::move(sink), std::move(journal), std::move(*account), *state.transfers,
                                        state.claims, ways_of(door, more), observer);
      };
  co_return std::move(prepared);
}

/// Links lead nowhere but beneath the grant that allows the source, and there to what is granted for reading.
path::FollowBounds follow_bounds(const std::vector<Grant>& grants, const path::SafePath& source) {
  const Grant* const grant = covering_grant(grants, source);
  PENSTOCK_CHECK(grant != nullptr);  // the source was judged
  return {.scope = grant->path,
          .covers = [grants](const path::SafePath& path) { return allows(grants, path, Operation::read); }};
}

Result<PreparedTransfer> prepare_pull(DaemonState& state, const ClientRecord& client, const proto::OpenTransfer& open,
                                      std::shared_ptr<WorkerDoor> door, std::size_t lanes) {
  const auto links = decode_links(open.links());
  if (!links || open.roots_size() == 0) return usage("no source, or no rule for links");
  if (open.destination().size() > pull_destination_max) return usage("a target longer than any path");
  auto roots = std::make_shared<std::vector<storage::SourceRoot>>();
  for (const auto& root : open.roots()) {
    auto where = allowed_path(client.grants, root.path(), Operation::read, Extent::tree);
    if (!where) return where.error();
    storage::SourceRoot source;
    source.base = duplicate(state.root);
    source.bounds = follow_bounds(client.grants, *where);
    source.path = std::move(*where);
    source.contents = root.contents();
    source.display = root.path();
    roots->push_back(std::move(source));
  }
  auto account = open_account(state, lanes);
  if (!account) return account.error();
  PreparedTransfer prepared;
  const auto wanted = wanted_id(open);
  prepared.id = wanted ? *wanted : crypto::random_array<16>();
  const bool has_some = !open.transfer_id().empty() && !open.begins_anew();
  prepared.await_verdicts = open.overwrite() != proto::NEVER || has_some;
  prepared.config.role = TransferRole::source;
  prepared.config.source_side.await_verdicts = prepared.await_verdicts;
  prepared.config.source_side.dry_run = open.dry_run();
  prepared.config.receipts = receipts_of(state, open);
  prepared.config.make_reader = [&state, roots, receipts = prepared.config.receipts, account = std::move(*account),
                                 links = *links, door = std::move(door), algorithm = decode_algorithm(open.digest())](
                                    storage::SourceObserver& observer,
                                    std::vector<storage::SourceReader::LaneWay> more) {
    auto source = std::make_unique<storage::PosixSource>(std::move(*roots), storage::PosixSourceConfig{.links = links});
    storage::SourceReaderConfig reader;
    reader.algorithm = algorithm;
    reader.spill_directory = state.journals->directory();
    reader.keep_report = keep_in(receipts);
    return storage::SourceReader::create(reader, std::move(source), std::move(*account), *state.transfers,
                                         WorkerDoor::poster(door), observer, std::move(more));
  };
  return prepared;
}

}  // namespace

asio::awaitable<Result<PreparedTransfer>> async_prepare_transfer(DaemonState& state, const ClientRecord& client,
                                                                 const proto::OpenTransfer& open,
                                                                 const storage::ResumeKey& key,
                                                                 std::shared_ptr<WorkerDoor> door, std::size_t lanes) {
  // A dry run stores nothing either way, and is answered from what there is.
  if (open.direction() == proto::PUSH && state.config.discard && !open.dry_run())
    co_return prepare_discarded_push(state, client, open, std::move(door), lanes);
  if (open.direction() == proto::PUSH)
    co_return co_await async_prepare_push(state, client, open, key, std::move(door), lanes);
  if (open.direction() == proto::PULL) co_return prepare_pull(state, client, open, std::move(door), lanes);
  co_return usage("neither push nor pull");
}

}  // namespace penstock::control
