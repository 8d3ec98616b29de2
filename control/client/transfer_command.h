#pragma once

#include <asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/client/connection.h"
#include "control/client/push_notes.h"
#include "control/receipt/receipt_store.h"
#include "control/session/async_event.h"
#include "control/session/lane_setup.h"
#include "control/session/transfer_run.h"
#include "control/session/worker_door.h"
#include "control/transfer/receipt_list.h"
#include "dataplane/io/worker.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/target_claims.h"

namespace penstock::control {

/// What a command may use of the machine while it runs. Borrowed; outlives the command.
struct ClientMachinery {
  const ClientConfig& config;
  Observer& observer;
  ClientHome& home;
  const TlsContext& tls;
  io::Worker& worker;
  const std::shared_ptr<WorkerDoor>& door;  // storage's way to the worker
  storage::StorageExecutor& threads;
  storage::SlabPool& slabs;
  storage::TargetClaims& claims;
  storage::JournalStore& journals;
  AsyncEvent& nudge;  // notified with the two below
  const bool& stop_requested;
  bool& progress_requested;
};

/// A push or pull from its words to its receipt, over as many sessions as it takes:
///   connecting --> opened --> running --> receipted
///       ^------ connection lost, waited ----'
/// One use. Threads: the thread that runs the client's event loop.
class TransferCommand {
 public:
  TransferCommand(ClientMachinery& machinery, ReceiptOperation operation, const TransferWords& words,
                  const TransferOptions& options);
  asio::awaitable<Result<TransferSummary>> async_run();

 private:
  struct Session;  // what lives as long as one connection
  [[nodiscard]] bool push() const { return operation_ == ReceiptOperation::push; }
  Status check_words();
  asio::awaitable<Result<TransferSummary>> run_session(OpenedSession opened);
  proto::OpenTransfer open_message(const OpenedSession& opened) const;
  [[nodiscard]] storage::ResumeKey resume_key(const OpenedSession& opened) const;
  Result<RunConfig> make_run(Session& session);
  Status open_local_side(Session& session);
  asio::awaitable<Result<TransferSummary>> finish(Session& session, RunOutcome outcome);
  Result<std::filesystem::path> keep_receipt(Session& session, const proto::ReceiptHeader& header,
                                             std::vector<ReceiptLine> lines);
  Result<std::filesystem::path> keep_verified(Session& session, const Receipt& receipt);
  Result<TransferSummary> finish_by_receipt(Session& session);
  void look_for_note(const OpenedSession& opened);
  Status write_note(const Session& session);
  void forget_note();
  std::shared_ptr<const void> note_until_told();
  [[nodiscard]] bool keeps_note() const {
    return push() && !options_.dry_run && options_.overwrite == OverwriteMode::never;
  }
  [[nodiscard]] std::string digest_of(const std::vector<ReceiptLine>& lines) const;
  [[nodiscard]] LandingNames landing() const;
  void note_progress(Session& session);
  void emit_progress(const Session& session);
  TransferSummary summary_of(const Session& session, const RunOutcome& outcome, const std::vector<ReceiptLine>& lines);

  ClientMachinery& machinery_;
  const ReceiptOperation operation_;
  const TransferWords& words_;
  const TransferOptions& options_;
  std::chrono::steady_clock::time_point begun_;
  std::chrono::steady_clock::time_point last_durable_;
  std::uint64_t durable_ = 0;  // of the session that runs
  std::uint64_t sent_in_earlier_sessions_ = 0;
  std::uint64_t packets_sent_before_ = 0;
  std::uint64_t packets_lost_before_ = 0;
  std::uint64_t retransmitted_before_ = 0;
  std::optional<storage::TransferId> transfer_id_;
  const PushNotes notes_;
  std::optional<storage::TransferId> noted_id_;  // of a push that an earlier process began by the same words
  std::optional<storage::ResumeKey> note_;       // what was written and not yet removed
  bool connected_before_ = false;
  std::optional<TransferSummary> awaits_receipt_;  // all is durable at both ends; the daemon's receipt is missing
  std::uint64_t left_out_ = 0;
  std::optional<Error> integrity_error_;
  LimitTally limits_;
  std::deque<std::pair<std::chrono::steady_clock::time_point, std::uint64_t>> rate_samples_;
};

}  // namespace penstock::control
