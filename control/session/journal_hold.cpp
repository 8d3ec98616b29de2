#include "control/session/journal_hold.h"

#include <asio/post.hpp>
#include <utility>

#include "common/check.h"
#include "control/session/async_blocking.h"

namespace penstock::control {

JournalHold::JournalHold(std::unique_ptr<storage::Journal> journal, const asio::any_io_executor& executor)
    : gone_(std::make_shared<Gone>(executor)) {
  PENSTOCK_CHECK(journal != nullptr);
  // The last share may go on a storage thread.
  journal_ = std::shared_ptr<storage::Journal>(journal.release(), [gone = gone_, executor](storage::Journal* last) {
    delete last;
    asio::post(executor, [gone] {
      gone->happened = true;
      gone->event.notify();
    });
  });
}

std::shared_ptr<storage::Journal> JournalHold::share() const {
  PENSTOCK_CHECK(journal_ != nullptr);
  return journal_;
}

asio::awaitable<Status> JournalHold::async_finish(storage::StorageExecutor& threads) {
  const auto finish = [journal = share()] { return journal->finish(); };
  co_return co_await async_blocking(threads, finish);
}

asio::awaitable<void> JournalHold::async_release() {
  const auto gone = gone_;
  journal_.reset();
  while (!gone->happened) co_await gone->event.async_wait();
}

}  // namespace penstock::control
