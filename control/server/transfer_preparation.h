#pragma once

#include <asio/awaitable.hpp>
#include <memory>

#include "common/result.h"
#include "control/server/daemon_state.h"
#include "control/session/journal_hold.h"
#include "control/session/transfer_run.h"

namespace penstock::control {

/// A transfer that the grants allow, with the daemon's storage opened for it.
struct PreparedTransfer {
  RunConfig config;  // role, side and store; keys, path and rates are the session's to add
  storage::TransferId id{};
  std::unique_ptr<JournalHold> journal;  // push, unless it is a dry run
  bool resuming = false;                 // what an earlier run of it left counts
  bool await_verdicts = false;           // TransferOpened says so
  bool discarded = false;                // TransferOpened says so: nothing of this push is stored, and no receipt made
};

/// Judges the words of OpenTransfer against the client's grants, and opens what storage needs: the journal on a request
/// thread, since it blocks, and a slab account. USAGE, PATH_REFUSED and PERMISSION_DENIED name what is wrong with the
/// words; SERVER_BUSY when there is no memory left; TRANSFER_ACTIVE when another session writes this journal.
/// `door` is the way to lane 0's worker, `lanes` how many the session has. `state`, `client` and `open` are borrowed
/// until it returns; the configuration borrows `state` alone.
asio::awaitable<Result<PreparedTransfer>> async_prepare_transfer(DaemonState& state, const ClientRecord& client,
                                                                 const proto::OpenTransfer& open,
                                                                 const storage::ResumeKey& key,
                                                                 std::shared_ptr<WorkerDoor> door, std::size_t lanes);

}  // namespace penstock::control
