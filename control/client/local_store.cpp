#include "control/client/local_store.h"

#include <utility>

namespace penstock::control {
namespace {

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

}  // namespace

Result<std::vector<storage::SourceRoot>> open_sources(const TransferWords& words) {
  std::vector<std::string> paths;
  for (const auto& source : words.sources) paths.push_back(path_of(source));
  return storage::open_local_roots(paths);
}

Status LocalStore::open(const storage::OwnerId& owner, const storage::ResumeKey& key, bool resume) {
  const auto& words = request_.words;
  if (request_.push()) {
    auto roots = open_sources(words);
    if (!roots) return roots.error();
    roots_ = std::move(*roots);
    return {};
  }
  auto destination = storage::open_local_destination(words.destination);
  if (!destination) return destination.error();
  destination->is_container = words.container;
  destination_.emplace(std::move(*destination));
  if (request_.options.dry_run) return {};
  auto found = machinery_.journals.find(owner, key);
  if (!found) return found.error();
  anew_ = !resume;
  if (!*found) return {};
  resumed_ = (*found)->identity().transfer;
  journal_ = std::make_unique<JournalHold>(std::move(*found), executor_);
  return {};
}

Status LocalStore::begin(const storage::TransferId& transfer, const storage::OwnerId& owner,
                         const storage::ResumeKey& key) {
  if (request_.push() || request_.options.dry_run || journal_) return {};
  storage::TransferIdentity identity;
  identity.transfer = transfer;
  identity.resume_key = key;
  identity.owner = owner;
  identity.destination = request_.words.destination;
  identity.base.assign(1, '/');
  auto created = machinery_.journals.create(identity);
  if (!created) return created.error();
  journal_ = std::make_unique<JournalHold>(std::move(*created), executor_);
  tentative_ = true;
  return {};
}

asio::awaitable<Status> LocalStore::async_finish() {
  if (!journal_) co_return Status{};
  co_return co_await journal_->async_finish(machinery_.threads);
}

asio::awaitable<void> LocalStore::async_close() {
  if (!journal_) co_return;
  // One that stays all the same holds nothing, and is taken up by the same command.
  if (tentative_) (void)co_await journal_->async_finish(machinery_.threads);
  co_await journal_->async_release();
}

Status LocalStore::equip(RunConfig& config) {
  auto account = machinery_.slabs.open_account(1 + config.more_lanes.size());
  if (!account) return Error{ErrorCode::INTERNAL, "no memory for the transfer"};
  auto shared = std::make_shared<storage::SlabAccount>(std::move(*account));
  if (!request_.options.dry_run)
    config.receipts = std::make_shared<ReceiptSpool>(machinery_.journals.directory(), landing_of(request_.words));
  if (request_.push())
    equip_reader(config, std::move(shared));
  else
    equip_sink(config, std::move(shared));
  return {};
}

void LocalStore::equip_reader(RunConfig& config, std::shared_ptr<storage::SlabAccount> account) {
  auto roots = std::make_shared<std::vector<storage::SourceRoot>>(std::move(roots_));
  config.make_reader = [&machinery = machinery_, roots, account, receipts = config.receipts,
                        post = WorkerDoor::poster(machinery_.door), algorithm = algorithm_of(request_.options.digest),
                        links = to_storage(request_.options.links)](storage::SourceObserver& observer,
                                                                    std::vector<storage::SourceReader::LaneWay> more) {
    auto source = std::make_unique<storage::PosixSource>(std::move(*roots), storage::PosixSourceConfig{.links = links});
    storage::SourceReaderConfig reader;
    reader.algorithm = algorithm;
    reader.spill_directory = machinery.journals.directory();
    reader.keep_report = keep_in(receipts);
    return storage::SourceReader::create(reader, std::move(source), std::move(*account), machinery.threads, post,
                                         observer, std::move(more));
  };
}

void LocalStore::equip_sink(RunConfig& config, std::shared_ptr<storage::SlabAccount> account) {
  auto destination = std::make_shared<storage::Destination>(std::move(*destination_));
  auto journal = journal_ ? journal_->share() : nullptr;  // none in a dry run
  std::vector<storage::LandingRoot> roots;
  for (const auto& source : request_.words.sources) roots.push_back({source.last_name, source.contents});
  config.make_sink = [&machinery = machinery_, destination, journal, roots, account, receipts = config.receipts,
                      post = WorkerDoor::poster(machinery_.door), algorithm = algorithm_of(request_.options.digest),
                      overwrite = to_storage(request_.options.overwrite), anew = anew_,
                      dry_run = request_.options.dry_run](storage::SinkObserver& observer,
                                                          const std::vector<storage::PostToWorker>& more) mutable {
    storage::PosixSinkConfig sink;
    sink.destination = std::move(*destination);
    sink.roots = roots;
    sink.overwrite = overwrite;
    sink.algorithm = algorithm;
    sink.dry_run = dry_run;
    sink.anew = anew;
    sink.spill_directory = machinery.journals.directory();
    sink.keep_report = keep_in(receipts);
    std::vector<storage::PostToWorker> workers{post};
    workers.insert(workers.end(), more.begin(), more.end());
    return storage::make_posix_sink(std::move(sink), std::move(journal), std::move(*account), machinery.threads,
                                    machinery.claims, std::move(workers), observer);
  };
}

}  // namespace penstock::control
