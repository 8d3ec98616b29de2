#pragma once

#include <asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control/server/daemon_state.h"
#include "control/server/fec_counters.h"
#include "control/server/probe_guest.h"
#include "control/server/push_targets.h"
#include "control/session/journal_hold.h"
#include "control/session/lane_setup.h"
#include "control/session/session_link.h"
#include "control/session/transfer_run.h"

namespace penstock::control {

/// One proven client: answers its requests about files and runs its transfer, at most one in the session's life, since
/// the lane's keys are spent by it.
///   idle --OpenTransfer--> transferring --committed, failed or cancelled--> over (requests are still answered)
/// A push that is committed stays in its journal until the client says that it has the receipt, or the session ends.
/// Lifetime: shared; DaemonState::sessions holds it while it runs. Threads: the control thread.
class ServerSession : public std::enable_shared_from_this<ServerSession> {
 public:
  ServerSession(DaemonState& state, Admitted admitted);

  /// Serves until the client goes, is silent, or end() is called. What an exception ends is wound up as what a client
  /// ends; afterwards nothing is held but the connection ids, which are the caller's to release.
  asio::awaitable<void> async_serve();
  /// Tells the client why and ends; `last_word_max` is how long a client that does not read may hold that up.
  void end(Error reason, Duration last_word_max = orderly_end_max);

  [[nodiscard]] const Uuid& client() const { return client_.uuid; }
  [[nodiscard]] bool transferring() const { return run_ != nullptr && !transfer_over_; }
  /// Whether another session of the same command must wait: the journal, the writer or the lane is this one's.
  [[nodiscard]] bool holds(const storage::ResumeKey& key) const { return holding_ && resume_key_ == key; }
  /// Whether another session that is after these targets must wait.
  [[nodiscard]] bool writes(const PushTargets& newer) const { return holding_ && newer.collide_with(targets_); }
  /// Whether another session that goes on with this transfer must wait.
  [[nodiscard]] bool carries(const storage::TransferId& id) const {
    return holding_ && !watched_.expired() && transfer_id_ == id;
  }
  /// All is durable and said; only the client's word that it has the receipt, or its leaving, is to come.
  [[nodiscard]] bool concluded() const { return concluded_; }
  /// Grants changed, or the client was revoked: then no byte of its transfer is taken or sent any more, and it ends.
  void refresh(const ClientRecord& record);
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  asio::awaitable<Status> handle(proto::Envelope envelope);
  asio::awaitable<Status> open_transfer(proto::OpenTransfer open);
  [[nodiscard]] Status check_id(const storage::TransferId& id) const;
  /// A transfer's message where there is no transfer: an error, `what` says, or what was under way when one ended.
  Status pass_over(const proto::Envelope& envelope, std::string_view what);
  [[nodiscard]] LanePath path_to_client(std::uint32_t client_payload_max) const;
  void open_probe(const proto::OpenProbe& open);
  asio::awaitable<void> find_targets();
  asio::awaitable<void> end_older_sessions();
  asio::awaitable<Status> serve();
  asio::awaitable<Status> watch_transfer(TransferPlace place);
  asio::awaitable<Status> wind_up(ErrorCode reason);
  asio::awaitable<Status> settle();
  asio::awaitable<Status> release_journal();
  asio::awaitable<Status> conclude(RunOutcome outcome);
  asio::awaitable<void> forget_transfer();
  void note_stats();
  [[nodiscard]] proto::SourceProgress source_progress() const;
  [[nodiscard]] TransferRecord log_row() const;
  void note_seen();
  void finish_log(std::string_view outcome, std::uint64_t files, std::uint64_t bytes);

  DaemonState& state_;
  ClientRecord client_;
  Agreement agreement_;
  crypto::SessionSecrets secrets_;
  std::shared_ptr<SessionLink> link_;
  std::string name_;  // "user@address", escaped
  std::shared_ptr<TransferRun> run_;
  std::unique_ptr<JournalHold> journal_;  // push
  proto::OpenTransfer open_;
  storage::TransferId transfer_id_{};
  storage::ResumeKey resume_key_{};
  PushTargets targets_;
  std::int64_t started_ = 0;
  bool transfer_opened_ = false;
  bool transfer_refused_ = false;  // the last one; whoever was ahead of that may have begun
  std::size_t passed_over_ = 0;    // bytes of messages after refusals, in the session's whole life
  bool transfer_over_ = false;
  engine::Fec fec_;         // of a daemon that sends
  FecFollower fec_done_;    // what the run's FEC did goes to the daemon's counters
  bool discarded_ = false;  // a benchmark's push, of which nothing is kept
  bool end_logged_ = false;
  // The transfer's place, for as long as watch_transfer has it.
  std::weak_ptr<const TransferPlaces::Place> watched_;
  bool holding_ = false;
  bool concluded_ = false;
  bool receipt_kept_ = false;  // the client says so
  std::shared_ptr<ProbeGuest> probe_;
  LimitTally limits_;
  std::string source_limit_;  // push: as the client says
  std::string sink_limit_;    // pull: what the client says of its own end
};

}  // namespace penstock::control
