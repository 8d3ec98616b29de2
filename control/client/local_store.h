#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "control/client/client_machinery.h"
#include "control/client/transfer_request.h"
#include "control/session/transfer_run.h"
#include "dataplane/storage/posix_sink.h"
#include "dataplane/storage/posix_source.h"

namespace penstock::control {

/// The client's own disk as one end of a transfer, for one session: what it opens before it asks the daemon, and what
/// the run then reads from or writes to. Order: open, begin, equip, each once.
/// Threads: one at a time; `open` blocks and may run on a storage thread.
class LocalStore {
 public:
  /// Both are borrowed for the life of the store.
  LocalStore(ClientMachinery& machinery, const TransferRequest& request) : machinery_(machinery), request_(request) {}

  /// Push: the sources. Pull: where it lands, and what an earlier run of `key` left there; without `resume` that is
  /// discarded. Errors name the path.
  [[nodiscard]] Status open(const storage::OwnerId& owner, const storage::ResumeKey& key, bool resume);

  /// Pull: the transfer whose remains `open` has found; nullopt when it begins anew.
  [[nodiscard]] std::optional<storage::TransferId> resumed() const;

  /// Pull: gives a transfer that begins anew its journal. Else nothing to do.
  [[nodiscard]] Status begin(const storage::TransferId& transfer, const storage::OwnerId& owner,
                             const storage::ResumeKey& key);

  /// Gives the run its reader or its sink. INTERNAL when there is no memory.
  [[nodiscard]] Status equip(RunConfig& config);

 private:
  void equip_reader(RunConfig& config, std::shared_ptr<storage::SlabAccount> account);
  void equip_sink(RunConfig& config, std::shared_ptr<storage::SlabAccount> account);

  ClientMachinery& machinery_;
  const TransferRequest& request_;
  std::vector<storage::SourceRoot> roots_;           // push
  std::optional<storage::Destination> destination_;  // pull
  std::unique_ptr<storage::Journal> journal_;        // pull
  bool found_ = false;                               // the journal is an earlier run's
};

}  // namespace penstock::control
