#include "control/client/transfer_tally.h"

#include <algorithm>

#include "common/bytes/hex.h"
#include "control/client/transfer_request.h"

namespace penstock::control {

namespace {

std::optional<double> milliseconds_of(std::optional<Duration> duration) {
  if (!duration) return std::nullopt;
  return std::chrono::duration<double, std::milli>(*duration).count();
}

}  // namespace

SenderNumbers sender_numbers(const engine::LaneStats& lane) {
  return {.packets_sent = lane.packets_sent,
          .packets_lost = lane.packets_lost,
          .bytes_retransmitted = lane.payload_bytes_retransmitted,
          .rtt_ms = std::chrono::duration<double, std::milli>(lane.rtt_smoothed).count(),
          .tail_ms = milliseconds_of(engine::tail_of(lane))};
}

SenderNumbers sender_numbers(const proto::SourceProgress& progress) {
  return {.packets_sent = progress.packets_sent(),
          .packets_lost = progress.packets_lost(),
          .bytes_retransmitted = progress.bytes_retransmitted(),
          .rtt_ms = static_cast<double>(progress.rtt_us()) / 1000.0,
          .tail_ms =
              progress.has_tail_us() ? std::optional{static_cast<double>(progress.tail_us()) / 1000.0} : std::nullopt};
}

void TransferTally::on_session_begun(bool resuming) {
  if (!resuming && !resumed_) resumed_ = 0;
  left_out_ = 0;
  integrity_error_.reset();
}

void TransferTally::on_progress(const RunStats& stats) {
  // A session that was lost before all was decided does not know; the next one finds what that one has sent, too.
  if (!resumed_ && stats.all_decided) resumed_ = stats.bytes_held - std::min(stats.bytes_held, sent_before_);
}

void TransferTally::on_session_over(const RunStats& stats) {
  on_progress(stats);
  packets_sent_before_ += stats.lane.packets_sent;
  packets_lost_before_ += stats.lane.packets_lost;
  retransmitted_before_ += stats.lane.payload_bytes_retransmitted;
  by_udp_before_ += stats.bytes_by_udp;
  by_tcp_before_ += stats.bytes_by_tcp;
  recovered_before_ += stats.lane.symbols_recovered;
  sent_before_ += stats.bytes - std::min(stats.bytes, stats.bytes_withheld);
}

std::string TransferTally::data(const RunStats& stats, std::string_view way) const {
  const bool by_udp = by_udp_before_ + stats.bytes_by_udp > 0;
  const bool by_tcp = by_tcp_before_ + stats.bytes_by_tcp > 0;
  if (by_udp && by_tcp) return "mixed";
  if (by_udp) return "udp";
  if (by_tcp) return "tcp";
  return std::string{way};
}

void TransferTally::on_left_out(const Error& warning) {
  ++left_out_;
  if (warning.code == ErrorCode::DIGEST_MISMATCH && !integrity_error_) integrity_error_ = warning;
}

TransferSummary TransferTally::summary(TimePoint now, const proto::Commit& commit, const SenderNumbers& sender,
                                       std::uint64_t symbols_recovered) const {
  TransferSummary summary;
  summary.files = commit.files();
  summary.bytes = commit.bytes();
  // What an earlier session of this very run has sent is no older run's.
  summary.bytes_resumed = std::min<std::uint64_t>(commit.bytes_resumed(), resumed_.value_or(commit.bytes_resumed()));
  summary.bytes_skipped = commit.bytes_skipped();
  summary.files_skipped = commit.files_skipped();
  summary.bytes_sent = summary.bytes - std::min(summary.bytes, summary.bytes_resumed + summary.bytes_skipped);
  summary.files_failed = left_out_;
  summary.seconds = seconds_at(now);
  if (summary.seconds > 0)
    summary.goodput_bps = static_cast<std::uint64_t>(static_cast<double>(summary.bytes_sent) * 8 / summary.seconds);
  summary.packets_sent = packets_sent_before_ + sender.packets_sent;
  summary.packets_lost = packets_lost_before_ + sender.packets_lost;
  summary.bytes_retransmitted = retransmitted_before_ + sender.bytes_retransmitted;
  summary.fec_recovered = recovered_before_ + symbols_recovered;
  summary.rtt_ms = sender.rtt_ms;
  summary.tail_ms = sender.tail_ms;
  if (left_out_ > 0)
    summary.partial =
        Error{ErrorCode::PARTIAL, std::to_string(left_out_) + (left_out_ == 1 ? " entry was" : " entries were") +
                                      " left out, all others are complete; the warnings name them"};
  return summary;
}

std::string shown_digest(std::span<const ReceiptLine> lines, DigestKind kind) {
  if (lines.size() != 1) return "sha256:" + bytes::to_hex(receipt_list_sha256(lines));
  const auto digest = digest::Digest::from_bytes(algorithm_of(kind), lines.front().digest);
  return digest ? digest->to_string() : std::string{};
}

}  // namespace penstock::control
