#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <memory>

#include "common/result.h"
#include "control/session/async_event.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/journal.h"

namespace penstock::control {

/// The journal of a transfer, as the session that runs it holds it: shared with the sink, which writes it, and ended by
/// the session, which knows when nobody will ask for the transfer again.
///   held --sink committed, receipt kept: async_finish--> gone for good
///   held --anything else: async_release--> closed, found again by the same command
/// Threads: one, that of `executor`; what blocks runs elsewhere. Lifetime: `executor` outlives every share.
class JournalHold {
 public:
  JournalHold(std::unique_ptr<storage::Journal> journal, const asio::any_io_executor& executor);
  JournalHold(const JournalHold&) = delete;
  JournalHold& operator=(const JournalHold&) = delete;

  /// For the sink. Requires: not finished or released.
  [[nodiscard]] std::shared_ptr<storage::Journal> share() const;

  /// Ends the journal on a thread of `threads`. Requires: the sink has committed, or has never heard of an entry. An
  /// error is for the log: the journal then stays, and the same command finds all done.
  asio::awaitable<Status> async_finish(storage::StorageExecutor& threads);
  /// Lets go, and returns when the sink has done so, too: from then on another may open it. Requires: the sink is
  /// closed. Harmless when repeated.
  asio::awaitable<void> async_release();

 private:
  struct Gone {
    explicit Gone(const asio::any_io_executor& executor) : event(executor) {}
    bool happened = false;
    AsyncEvent event;
  };
  std::shared_ptr<Gone> gone_;
  std::shared_ptr<storage::Journal> journal_;
};

}  // namespace penstock::control
