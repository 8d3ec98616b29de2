#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "control/client/client.h"
#include "control/proto/transfer.pb.h"
#include "control/receipt/receipt.h"
#include "control/session/transfer_run.h"

namespace penstock::control {

/// What the sending end of a lane has counted, whichever end that is.
struct SenderNumbers {
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_lost = 0;
  std::uint64_t bytes_retransmitted = 0;
  double rtt_ms = 0;
  std::optional<double> tail_ms = std::nullopt;
};
[[nodiscard]] SenderNumbers sender_numbers(const engine::LaneStats& lane);
[[nodiscard]] SenderNumbers sender_numbers(const proto::SourceProgress& progress);

/// Adds up the sessions of one run and makes its last numbers, those of `done`. Time: passed in. Threads: one owner.
class TransferTally {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  explicit TransferTally(TimePoint begun) : begun_(begun) {}

  /// A session begins: it will tell again of whatever it has to leave out. `resuming`: the sink has something of an
  /// earlier session, of this run or another.
  void on_session_begun(bool resuming);
  /// How the session stands, whenever that is known.
  void on_progress(const RunStats& stats);
  /// A session ends, the last one included, after its summary was made.
  void on_session_over(const RunStats& stats);
  /// An entry was left out, with this warning.
  void on_left_out(const Error& warning);

  /// udp, tcp or mixed: how bytes travelled in all sessions, the last of which stands at `stats`. Where there were
  /// none: `way`, as they would have.
  [[nodiscard]] std::string data(const RunStats& stats, std::string_view way) const;
  /// The first file whose bytes could not be made right: it decides how the command ends.
  [[nodiscard]] const std::optional<Error>& integrity_error() const { return integrity_error_; }

  /// Of a run whose sink has committed. `receipt`, `limited_by` and `digest` are the caller's to fill in.
  /// `symbols_recovered`: by FEC, in this last session.
  [[nodiscard]] TransferSummary summary(TimePoint now, const proto::Commit& commit, const SenderNumbers& sender,
                                        std::uint64_t symbols_recovered = 0) const;

 private:
  [[nodiscard]] double seconds_at(TimePoint now) const { return std::chrono::duration<double>(now - begun_).count(); }

  TimePoint begun_;
  // Durable from an earlier run: what the first session found. What later ones find besides is this run's own.
  std::optional<std::uint64_t> resumed_;
  std::uint64_t sent_before_ = 0;  // bytes of the sessions that are over, as the four below
  std::uint64_t packets_sent_before_ = 0;
  std::uint64_t packets_lost_before_ = 0;
  std::uint64_t retransmitted_before_ = 0;
  std::uint64_t by_udp_before_ = 0;
  std::uint64_t by_tcp_before_ = 0;
  std::uint64_t recovered_before_ = 0;
  std::uint64_t left_out_ = 0;
  std::optional<Error> integrity_error_;
};

/// "alg:hex": of the file; of several, the list's.
[[nodiscard]] std::string shown_digest(std::span<const ReceiptLine> lines, DigestKind kind);

}  // namespace penstock::control
