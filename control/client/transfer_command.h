#pragma once

#include <asio/awaitable.hpp>
#include <filesystem>
#include <memory>
#include <optional>

#include "control/client/client_machinery.h"
#include "control/client/connection.h"
#include "control/client/progress_meter.h"
#include "control/client/push_notes.h"
#include "control/client/transfer_request.h"
#include "control/client/transfer_tally.h"
#include "control/session/lane_setup.h"
#include "control/session/transfer_run.h"

namespace penstock::control {

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
  [[nodiscard]] bool push() const { return request_.push(); }
  Status check_words();
  asio::awaitable<Result<TransferSummary>> run_session(OpenedSession opened);
  /// Once a run has begun, coming back always means going on.
  [[nodiscard]] bool resume_wanted() const { return request_.options.resume || transfer_id_.has_value(); }
  [[nodiscard]] storage::ResumeKey resume_key(const OpenedSession& opened) const;
  Result<RunConfig> make_run(Session& session);
  Status open_local_side(Session& session);
  asio::awaitable<Result<TransferSummary>> finish(Session& session, RunOutcome outcome);
  /// Judged, then stored; where.
  Result<std::filesystem::path> keep(const Session& session, const Receipt& receipt);
  Result<TransferSummary> finish_by_receipt(Session& session);
  void look_for_note(const OpenedSession& opened);
  Status write_note(const Session& session);
  void forget_note();
  std::shared_ptr<const void> note_until_told();
  [[nodiscard]] bool keeps_note() const {
    return push() && !request_.options.dry_run && request_.options.overwrite == OverwriteMode::never;
  }
  void note_progress(Session& session);
  void emit_progress(const Session& session);

  ClientMachinery& machinery_;
  const TransferRequest request_;
  TransferTally tally_;
  StallWatch durable_;
  ProgressMeter meter_;
  LimitTally limits_;
  std::optional<storage::TransferId> transfer_id_;
  const PushNotes notes_;
  std::optional<storage::TransferId> noted_id_;  // of a push that an earlier process began by the same words
  std::optional<storage::ResumeKey> note_;       // what was written and not yet removed
  bool connected_before_ = false;
  std::optional<TransferSummary> awaits_receipt_;  // all is durable at both ends; the daemon's receipt is missing
};

}  // namespace penstock::control
