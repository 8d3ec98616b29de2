#include <algorithm>
#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "control/client/daemon_receipt.h"
#include "control/client/transfer_session.h"
#include "control/receipt/receipt_store.h"

namespace penstock::control {

namespace {

using SteadyClock = std::chrono::steady_clock;

}  // namespace

Error stores_nothing(const std::string& daemon) {
  return {ErrorCode::PARTIAL,
          daemon + " runs as a benchmark (--discard): it throws away what is pushed, nothing is stored"};
}

bool TransferCommand::is_discarded(const Session& session) const {
  // Said of a pull it is nonsense: what lands is our own sink's.
  return push() && session.transfer->discarded();
}

asio::awaitable<Result<TransferSummary>> TransferCommand::finish(Session& session, RunOutcome outcome) {
  const std::string landed_as = push()             ? outcome.commit.landed_as()
                                : outcome.receipts ? outcome.receipts->landed_as()
                                                   : std::string{};
  auto listed = outcome.receipts ? outcome.receipts->lines(landed_as, outcome.left_out)
                                 : Result<std::vector<ReceiptLine>>{std::vector<ReceiptLine>{}};
  if (!listed) co_return listed.error();
  const auto& lines = *listed;
  if (!push()) {
    auto& commit = outcome.commit;
    commit.set_files(outcome.sink.files);
    commit.set_bytes(outcome.sink.bytes);
    commit.set_bytes_received(outcome.sink.bytes_received);
    commit.set_bytes_resumed(outcome.sink.bytes_resumed);
    commit.set_bytes_skipped(outcome.sink.bytes_skipped);
    commit.set_files_skipped(outcome.sink.files_skipped);
    commit.set_files_failed(outcome.entries_failed);
    commit.set_list_digest(std::string{bytes::as_text(receipt_list_sha256(lines))});
    commit.set_landed_as(landed_as);
    proto::Envelope message;
    *message.mutable_commit() = commit;
    session.run->send(std::move(message));
  }
  std::filesystem::path kept_at;
  const bool discarded = is_discarded(session);
  if (discarded) {
    // Nothing is durable anywhere, so there is nothing to sign.
  } else if (!request_.options.dry_run) {
    const auto deadline = SteadyClock::now() + std::chrono::seconds{30};
    while (!session.run->receipt() && !session.failure && !session.link_over && SteadyClock::now() < deadline &&
           !machinery_.stop_requested)
      co_await session.run->changed().async_wait(std::chrono::milliseconds{250});
    if (!session.run->receipt()) {
      if (session.failure) co_return *session.failure;
      if (machinery_.stop_requested)
        co_return Error{ErrorCode::INTERRUPTED, "interrupted; the same command again resumes"};
      co_return Error{ErrorCode::PEER_LOST,
                      "everything is transferred and durable, but the daemon's receipt did not arrive",
                      {},
                      ErrorSide::remote};
    }
    const auto& header = *session.run->receipt();
    // The daemon's last numbers: its progress messages, which go by TCP alone, may be half a second behind.
    if (header.has_source()) session.source_progress = header.source();
    auto receipt = receipt_of(header, lines, session.opened.daemon_spki, session.opened.session.receipt_certification);
    if (!receipt) co_return receipt.error();
    auto kept = keep(session, *receipt);
    if (!kept) {
      Error error = kept.error();
      if (error.side == ErrorSide::local)
        error.message =
            "everything is transferred and durable, but the receipt can not be kept here: " + error.message +
            "; mend that, then run the same command again to get it";
      co_return error;
    }
    kept_at = std::move(*kept);
  } else if (!push()) {
    // Nothing answers a dry run's Commit; it only has to leave.
    co_await session.news.async_wait(std::chrono::milliseconds{50});
  }
  // What could not be made right is tried again by the same command, so the transfer is not over.
  if (outcome.lasting_error) co_return *outcome.lasting_error;
  if (const auto& error = tally_.integrity_error()) co_return *error;
  // The sink knows best: of a push, the last ACKs may not have told.
  auto summary = tally_.summary(
      SteadyClock::now(), outcome.commit, session.sender(push()),
      std::max<std::uint64_t>(session.run->stats().lane.symbols_recovered, outcome.commit.symbols_recovered()));
  summary.transfer = bytes::to_hex(*transfer_id_);
  summary.limited_by = limits_.mostly();
  summary.data = tally_.data(session.run->stats(), to_string(session.run->data_way()));
  summary.digest = shown_digest(lines, request_.options.digest);
  summary.receipt = std::move(kept_at);
  summary.discarded = discarded;
  if (discarded) summary.digest.clear();
  // Exit 10, not 0: `push && rm` must not lose a file to somebody's benchmark.
  if (discarded) summary.partial = stores_nothing(shown_address(machinery_.config));
  co_return std::move(summary);
}

Result<std::filesystem::path> TransferCommand::keep(const Session& session, const Receipt& receipt) {
  const ReceiptSubject subject{*transfer_id_, request_.operation, session.opened.link->channel().peer_pin()};
  if (auto judged = judge_receipt(receipt, subject); !judged) return judged.error();
  return ReceiptStore::of_home(machinery_.home.directory()).store(receipt);
}

asio::awaitable<void> TransferCommand::async_farewell() {
  const auto session = std::exchange(receipted_, nullptr);
  if (!session) co_return;
  if (push()) {
    proto::Envelope kept;
    kept.mutable_receipt_kept();
    session->opened.link->send(std::move(kept));
  } else {
    // A journal that can not be removed costs its room until it expires, and nothing else.
    (void)co_await session->store->async_finish();
  }
  remember_path(*session);
  // The receipt is here. If our word that it was kept is lost, the same command resumes a push once more (control/
  // transfer/README), which is not worth a round trip of each; of a pull the daemon waits for no such word.
  co_await leave(*session, TlsChannel::PeerEnd::unawaited);
}

}  // namespace penstock::control
