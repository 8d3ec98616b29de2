#pragma once

#include <asio/awaitable.hpp>
#include <filesystem>
#include <memory>
#include <optional>

#include "control/client/client_machinery.h"
#include "control/client/connection.h"
#include "control/client/local_store.h"
#include "control/client/progress_meter.h"
#include "control/client/transfer_request.h"
#include "control/client/transfer_tally.h"
#include "control/session/lane_setup.h"
#include "control/session/transfer_run.h"

namespace penstock::control {

/// A push or pull from its words to its receipt, over as many sessions as it takes:
///   connecting --> opened --> running --> receipted
///       ^------ connection lost, waited ----'
/// Until its user has been told of the receipt, a transfer stays in a journal (push: the daemon's, pull: ours), and
/// whoever comes back, this process or the same command again, goes on from there.
/// One use. Threads: the thread that runs the client's event loop.
class TransferCommand {
 public:
  TransferCommand(ClientMachinery& machinery, ReceiptOperation operation, const TransferWords& words,
                  const TransferOptions& options);
  /// After success one session is left open: async_farewell is still to come.
  asio::awaitable<Result<TransferSummary>> async_run();
  /// The user has been told: the transfer is forgotten, here and at the daemon, and the last session ends.
  asio::awaitable<void> async_farewell();

 private:
  struct Session;      // what lives as long as one connection
  struct Preparation;  // and what of it may begin before that
  [[nodiscard]] bool push() const { return request_.push(); }
  Status check_words();
  [[nodiscard]] bool is_discarded(const Session& session) const;
  asio::awaitable<Result<TransferSummary>> run_session(OpenedSession opened);
  void listen(const std::shared_ptr<Session>& session);
  /// The first message of a session that is unproven.
  void hear_proof(Session& session, const proto::Envelope& envelope);
  /// The observer hears of the connection, once both ends are proven.
  void greet(Session& session);
  /// Whether the next session may begin before the daemon has answered (README, "Ahead of the answer").
  [[nodiscard]] bool may_go_ahead() const;
  /// What leaves with our proof. Pull: nothing where our own side does not open at once, or not at all, which is told
  /// once the daemon is proven.
  asio::awaitable<std::optional<proto::Envelope>> async_first_request(const KnownDaemon& daemon,
                                                                      const TlsChannel& channel,
                                                                      const Agreement& agreement);
  /// What was opened for a session that did not come about.
  asio::awaitable<void> drop_prepared();
  /// Begins the run by what the answer will presumably be.
  asio::awaitable<Status> async_start_ahead(std::shared_ptr<Session> session);
  /// Begins it by the answer.
  asio::awaitable<Status> async_start_answered(std::shared_ptr<Session> session);
  Status start_run(const std::shared_ptr<Session>& session, const proto::TransferOpened& opened, bool ahead);
  /// The daemon is proven; an error where it is not, or where anything ends the wait for that.
  asio::awaitable<Status> async_await_proof(std::shared_ptr<Session> session);
  /// Which transfer the daemon has opened; an error where that, or its terms, are not what was begun.
  [[nodiscard]] Result<storage::TransferId> judge_answer(const Session& session) const;
  /// Why the daemon's answer is not to come.
  [[nodiscard]] Error no_answer(const Session& session) const;
  /// Until the transfer is opened; an error where something keeps it from that.
  asio::awaitable<Status> async_await_opened(std::shared_ptr<Session> session);
  void tell_observer(const std::shared_ptr<Session>& session);
  asio::awaitable<void> leave(Session& session, TlsChannel::PeerEnd peer_end = TlsChannel::PeerEnd::awaited);
  /// What the request calls the transfer; nullopt: that is left to the daemon.
  [[nodiscard]] const std::optional<storage::TransferId>& named_id() const {
    return transfer_id_ ? transfer_id_ : proposed_id_;
  }
  /// Once a run has begun, coming back always means going on.
  [[nodiscard]] bool resume_wanted() const { return request_.options.resume || connected_before_; }
  /// The message that opens the transfer, at an end with this key and address.
  [[nodiscard]] proto::Envelope opening(const Pin& daemon, const TlsChannel& channel, const Agreement& agreement);
  /// What is known of the path before there is data on it: its RTT now, and at what rate a transfer may begin.
  void recall_path(const Pin& daemon, const TlsChannel& channel);
  /// For the next one. Blocks for moments.
  void remember_path(const Session& session) const;
  /// By the daemon's answer, or what it will presumably be.
  Result<RunConfig> make_run(Session& session, const proto::TransferOpened& opened);
  /// Of --timeout, which must be set; never below zero.
  [[nodiscard]] Duration time_left() const;
  /// Waits so long, or until a stop is requested.
  asio::awaitable<void> async_pause(Duration pause) const;
  /// TIMED_OUT, with what is known of the reason.
  [[nodiscard]] Error stalled(const Session& session) const;
  /// Our side of the next session, which opens meanwhile.
  std::shared_ptr<Preparation> prepare(const asio::any_io_executor& executor, const KnownDaemon& daemon);
  asio::awaitable<Status> async_open_store(std::shared_ptr<LocalStore> store, const KnownDaemon& daemon);
  asio::awaitable<Status> async_begin_store(std::shared_ptr<Session> session, const storage::TransferId& transfer);
  /// Pull: the same command is running here, and holds the journal. The daemon ends it, and what it held is awaited.
  asio::awaitable<Status> async_take_over(std::shared_ptr<Session> session);
  asio::awaitable<Result<TransferSummary>> finish(Session& session, RunOutcome outcome);
  /// Judged, then stored; where.
  Result<std::filesystem::path> keep(const Session& session, const Receipt& receipt);
  /// By which way this session's bytes may go; nullopt: the daemon knows of UDP alone, and --data tcp is refused.
  [[nodiscard]] Result<DataPolicy> agreed_data(const proto::TransferOpened& opened) const;
  [[nodiscard]] DataPolicy wanted_data() const;
  void note_progress(Session& session);
  void emit_progress(const Session& session);

  ClientMachinery& machinery_;
  const TransferRequest request_;
  TransferTally tally_;
  StallWatch durable_;
  ProgressMeter meter_;
  LimitTally limits_;
  std::optional<storage::TransferId> transfer_id_;
  std::optional<storage::TransferId> proposed_id_;  // pull: of a transfer that begins anew, in this session's request
  std::shared_ptr<Preparation> prepared_;           // pull: for the session that is being entered
  bool connected_before_ = false;
  bool daemon_proven_ = false;           // in the last session
  std::uint32_t udp_payload_asked_ = 0;  // what our side of its path takes; 0: unknown
  bool by_tcp_before_ = false;           // the last session ended with its bytes going by TCP, though not by request
  std::optional<Duration> path_rtt_;     // as of this session's beginning
  std::optional<DataRate> remembered_rate_;  // what an earlier transfer found the path to carry; believed
  std::shared_ptr<Session> receipted_;       // between async_run and async_farewell
};

}  // namespace penstock::control
