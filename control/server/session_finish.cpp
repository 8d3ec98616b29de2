// A ServerSession's transfer from its first progress to its receipt.

#include <utility>

#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/escape.h"
#include "control/server/server_session.h"
#include "control/server/transfer_conclusion.h"
#include "control/session/async_blocking.h"
#include "control/session/wall_clock.h"

namespace penstock::control {

void ServerSession::note_stats() {
  const bool push = open_.direction() == proto::PUSH;
  fec_done_.follow(run_->stats().lane, state_.fec);
  if (push) {
    proto::Envelope progress;
    progress.mutable_sink_progress()->set_bytes_durable(run_->stats().sink.bytes_durable);
    progress.mutable_sink_progress()->set_files(run_->stats().files);
    const auto limit = sink_limit_of(run_->stats().lane, run_->stats().sink.slabs_waiting);
    progress.mutable_sink_progress()->set_limited_by(std::string{limit});
    link_->send(std::move(progress));
    return;
  }
  const auto& lane = run_->stats().lane;
  const bool by_server =
      state_.config.rate_cap && (open_.rate_bps() == 0 || open_.rate_bps() > state_.config.rate_cap->bits_per_second());
  limits_.add(limit_of(lane, by_server, sink_limit_));
  proto::Envelope progress;
  *progress.mutable_source_progress() = source_progress();
  link_->send(std::move(progress));
}

proto::SourceProgress ServerSession::source_progress() const {
  const auto& lane = run_->stats().lane;
  proto::SourceProgress progress;
  progress.set_packets_sent(lane.packets_sent);
  progress.set_packets_lost(lane.packets_lost);
  progress.set_bytes_retransmitted(lane.payload_bytes_retransmitted);
  progress.set_limited_by(std::string{limits_.now()});
  progress.set_rtt_us(
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(lane.rtt_smoothed).count()));
  if (const auto tail = engine::tail_of(lane))
    progress.set_tail_us(
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(*tail).count()));
  if (lane.estimate) {
    progress.set_path_rate_bps(lane.estimate->rate.bits_per_second());
    progress.set_path_filled(lane.estimate->filled);
  }
  return progress;
}

/// The client has gone, or gives up. What has arrived is made durable; what is committed in spite of that gets its
/// receipt, for the operator's record. The client has not: its journal stays, and the same command again gets another.
asio::awaitable<Status> ServerSession::wind_up(ErrorCode reason) {
  if (run_) co_await run_->async_close();
  if (!run_ || transfer_over_) co_return Status{};
  transfer_over_ = true;
  if (run_->outcome() && !run_->outcome()->failed) {
    if (auto status = co_await conclude(run_->take_outcome()); !status)
      finish_log(error_traits(status.error().code).name, 0, 0);
  } else {
    finish_log(error_traits(reason).name, 0, 0);
  }
  co_return Status{};
}

/// Nobody works at the transfer any more, and the operator has been told how it ended.
asio::awaitable<Status> ServerSession::settle() {
  if (!run_) co_return Status{};
  while (!watched_.expired()) co_await run_->changed().async_wait(std::chrono::milliseconds{100});
  if (!end_logged_) finish_log(error_traits(ErrorCode::INTERNAL).name, 0, 0);
  co_return Status{};
}

asio::awaitable<Status> ServerSession::release_journal() {
  if (journal_) co_await journal_->async_release();
  co_return Status{};
}

/// From the first byte to the word that the receipt is kept. `place` is the transfer's, and goes with this frame.
asio::awaitable<Status> ServerSession::watch_transfer(TransferPlace place) {
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
    } else if (auto status = co_await conclude(std::move(outcome)); !status) {
      link_->send(failure_envelope(status.error()));
      finish_log(error_traits(status.error().code).name, 0, 0);
    } else {
      concluded_ = true;
    }
    // The receipt has been handed to the link and the lane; the client closes when it has it.
    while (!link_->ended() && !(concluded_ && receipt_kept_))
      co_await run->changed().async_wait(std::chrono::milliseconds{100});
    co_await run->async_close();
    if (concluded_ && receipt_kept_) co_await forget_transfer();
  }
  place.reset();
  co_return Status{};
}

/// Makes the receipt and says that all is done. The order is what a death in between is judged by
/// (control/server/README): files durable, receipt stored, said; the journal outlives all of it.
asio::awaitable<Status> ServerSession::conclude(RunOutcome outcome) {
  const bool push = open_.direction() == proto::PUSH;
  const TransferFacts facts{.open = open_,
                            .id = transfer_id_,
                            .user = client_.user,
                            .client = client_.uuid,
                            .started = started_,
                            .finished = unix_now(),
                            .limited_by = !push                   ? std::string{limits_.mostly()}
                                          : source_limit_.empty() ? "source_disk"
                                                                  : source_limit_};
  // A long list takes its time, which is not the other sessions' to wait.
  const auto list_it = [receipts = outcome.receipts, landed = landed_as(open_, outcome),
                        left_out = std::move(outcome.left_out)]() -> Result<std::shared_ptr<const ReceiptList>> {
    if (!receipts) return std::make_shared<const ReceiptList>(-1);
    auto list = receipts->list(landed, left_out);
    if (!list) return std::move(list).error();
    return std::make_shared<const ReceiptList>(std::move(*list));
  };
  const auto list = co_await async_blocking(*state_.requests, list_it);
  if (!list) co_return list.error();
  auto made = conclude_transfer(*state_.identity, *state_.receipt_key, facts, outcome, **list);
  if (!made) co_return made.error();
  const auto end = std::make_shared<Conclusion>(std::move(*made));
  const std::string transfer = bytes::to_hex(transfer_id_);
  const bool receipted = !open_.dry_run() && !discarded_;
  if (receipted) {
    const auto store = [receipts = *state_.receipts, end, list = *list] { return receipts.store(end->receipt, *list); };
    if (const auto stored = co_await async_blocking(*state_.requests, store); !stored) {
      state_.log(LogLevel::error, "receipt_not_stored", escape_for_display(stored.error().message, 256),
                 {{"transfer", transfer}});
      co_return Error{stored.error().code,
                      "everything is transferred and durable, but the daemon can not store its receipt; once its "
                      "operator has seen to that, the same command again gets it"};
    }
  }
  if (push && outcome.lasting_error) {
    // Said before the Commit, so that the client's exit tells of it; the files that are good stay.
    state_.log(LogLevel::error, "files_left_out", escape_for_display(outcome.lasting_error->message, 256),
               {{"transfer", transfer}});
  }
  if (push) {
    proto::Envelope message;
    *message.mutable_commit() = end->commit;
    message.mutable_commit()->set_symbols_recovered(run_->stats().lane.symbols_recovered);
    run_->send(std::move(message));
  }
  if (receipted) {
    proto::Envelope message;
    message.mutable_receipt()->set_text(end->header);
    message.mutable_receipt()->set_signature(std::string{bytes::as_text(end->receipt.signature)});
    if (!push) *message.mutable_receipt()->mutable_source() = source_progress();
    run_->send(std::move(message));
  }
  finish_log(discarded_ ? "discarded" : "done", end->commit.files(), end->commit.bytes());
  co_return Status{};
}

/// Both ends have the receipt: nobody will ask for this transfer again.
asio::awaitable<void> ServerSession::forget_transfer() {
  if (!journal_) co_return;
  if (const auto gone = co_await journal_->async_finish(*state_.requests); !gone)
    state_.log(LogLevel::warning, "journal_not_removed", escape_for_display(gone.error().message, 256),
               {{"transfer", bytes::to_hex(transfer_id_)}});
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
  end_logged_ = true;
  TransferRecord row = log_row();
  row.bytes = bytes;
  row.files = files;
  row.ended = UnixSeconds{unix_now()};
  row.outcome = outcome;
  (void)state_.registry->log_transfer_ended(row);
  const auto lane = run_ ? run_->stats().lane : engine::LaneStats{};
  fec_done_.follow(lane, state_.fec);
  // The first window is our own, of a pull.
  state_.log(outcome == "done" || discarded_ ? LogLevel::info : LogLevel::warning, "transfer_ended",
             name_ + ": " + std::string{outcome},
             {{"transfer", bytes::to_hex(transfer_id_)},
              {"files", std::to_string(files)},
              {"bytes", std::to_string(bytes)},
              {"window_first_bytes", std::to_string(lane.cwnd_first)},
              {"repairs_sent", std::to_string(lane.repairs_sent)},
              {"repairs_received", std::to_string(lane.repairs_received)},
              {"symbols_recovered", std::to_string(lane.symbols_recovered)},
              {"generations_failed", std::to_string(lane.generations_failed)},
              {"ecn", ecn_word(lane.ecn, lane.ecn_fault)},
              {"ecn_ce", std::to_string(lane.marks_told.ce + lane.marks_received.ce)},
              {"datagrams_repeated", std::to_string(lane.packets_duplicate)},
              {"datagrams_forged", std::to_string(lane.packets_unauthentic + lane.packets_malformed)}});
}

}  // namespace penstock::control
