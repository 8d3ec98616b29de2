#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "control/client/client_machinery.h"
#include "control/client/transfer_request.h"
#include "control/session/journal_hold.h"
#include "control/session/transfer_run.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/posix_source.h"

namespace penstock::control {

/// The sources of a push. NOT_FOUND when one is missing; else an error when there is none that can be opened
/// (storage::open_local_roots). Blocks.
[[nodiscard]] Result<std::vector<storage::SourceRoot>> open_sources(const TransferWords& words);

/// The client's own disk as one end of a transfer, for one session: what it opens before it asks the daemon, and what
/// the run then reads from or writes to. Order: open, begin, equip, each once; then async_finish if all went well; in
/// any case async_close. Threads: one at a time; what blocks may run on a storage thread.
class LocalStore {
 public:
  /// Both are borrowed for the life of the store. `executor`: of the thread that calls the coroutines.
  LocalStore(ClientMachinery& machinery, const TransferRequest& request, asio::any_io_executor executor)
      : machinery_(machinery), request_(request), executor_(std::move(executor)) {}

  /// Push: the sources. Pull: where it lands, and what an earlier run of `key` left there; without `resume` that
  /// counts for nothing, and stays until this run has something better. Errors name the path. Blocks.
  [[nodiscard]] Status open(const storage::OwnerId& owner, const storage::ResumeKey& key, bool resume);

  /// Pull: the transfer whose remains `open` has found; nullopt when it begins anew.
  [[nodiscard]] const std::optional<storage::TransferId>& resumed() const { return resumed_; }
  /// Pull: those remains count.
  [[nodiscard]] bool resuming() const { return resumed_ && !anew_; }

  /// Pull: gives a transfer that begins anew its journal. Else nothing to do. It may be ahead of the daemon's word that
  /// there is such a transfer: without on_begun async_close leaves no trace of it. Blocks.
  [[nodiscard]] Status begin(const storage::TransferId& transfer, const storage::OwnerId& owner,
                             const storage::ResumeKey& key);
  void on_begun() { tentative_ = false; }

  /// Gives the run its reader or its sink. INTERNAL when there is no memory.
  [[nodiscard]] Status equip(RunConfig& config);

  /// The receipt is kept: nobody will ask for this transfer again, and what exists is "existing" from now on. Requires:
  /// the sink has committed. Push: nothing to do; the daemon has the journal.
  asio::awaitable<Status> async_finish();
  /// Lets go of the transfer, so that the next session, or the same command, finds it. Requires: the run is closed.
  asio::awaitable<void> async_close();

 private:
  void equip_reader(RunConfig& config, std::shared_ptr<storage::SlabAccount> account);
  void equip_sink(RunConfig& config, std::shared_ptr<storage::SlabAccount> account);

  ClientMachinery& machinery_;
  const TransferRequest& request_;
  std::vector<storage::SourceRoot> roots_;           // push
  std::optional<storage::Destination> destination_;  // pull
  std::unique_ptr<JournalHold> journal_;             // pull
  std::optional<storage::TransferId> resumed_;
  bool anew_ = false;
  bool tentative_ = false;  // the journal
  asio::any_io_executor executor_;
};

}  // namespace penstock::control
