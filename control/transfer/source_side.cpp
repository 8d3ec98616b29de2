#include "control/transfer/source_side.h"

#include <algorithm>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "control/gate/admission.h"
#include "control/transfer/message_codec.h"

namespace penstock::control {

SourceSide::SourceSide(SourceSideConfig config, SideHost& host, SenderLane& lane)
    : config_(config),
      host_(host),
      lane_(lane),
      entry_news_(config.dry_run          ? EntryNewsWanted::decisions
                  : config.report_entries ? EntryNewsWanted::as_done
                                          : EntryNewsWanted::nothing,
                  host) {}

void SourceSide::start(std::shared_ptr<storage::SourceReader> reader) {
  PENSTOCK_CHECK(state_ == State::idle);
  reader_ = std::move(reader);
  state_ = State::walking;
  walk_on();
}

void SourceSide::close() {
  state_ = state_ == State::committed ? State::committed : State::failed;
  if (reader_) reader_->close();
  reader_.reset();
}

void SourceSide::fail(Error error) {
  if (state_ == State::failed || state_ == State::committed) return;
  state_ = State::failed;
  host_.on_failed(std::move(error));
}

void SourceSide::fail_peer(std::string_view what) {
  fail({ErrorCode::INTERNAL, "the receiving end broke the protocol: " + std::string{what}, {}, ErrorSide::remote});
}

void SourceSide::walk_on() {
  if (state_ != State::walking || walk_requested_ || !host_.has_room()) return;
  walk_requested_ = true;
  reader_->request_entries(walk_entries);
}

void SourceSide::on_room() { walk_on(); }

void SourceSide::on_entries(std::uint64_t first_index, std::vector<storage::ManifestEntry> entries,
                            std::vector<storage::SourceWarning> warnings, std::uint64_t bytes, bool end) {
  if (state_ != State::walking) return;
  walk_requested_ = false;
  for (auto& warning : warnings) {
    ++totals_.files_failed;
    if (warnings_.size() < walk_entries) warnings_.push_back(warning);
    host_.warn(std::move(warning));
  }
  proto::Envelope envelope;
  auto* segment = envelope.mutable_manifest_segment();
  std::size_t segment_bytes = 0;
  std::uint64_t index = first_index;
  segment->set_first_index(index);
  for (const auto& entry : entries) {
    if (segment_bytes >= manifest_segment_bytes) {
      host_.send(std::move(envelope));
      envelope.Clear();
      segment = envelope.mutable_manifest_segment();
      segment->set_first_index(index);
      segment_bytes = 0;
    }
    auto* encoded = segment->add_entries();
    encode_entry(entry, *encoded);
    segment_bytes += encoded->ByteSizeLong() + 8;
    if (entry.type == storage::FileType::regular) ++totals_.files_total;
    entry_news_.on_listed(index, entry);
    held_.on_listed(entry.size);
    ++index;
  }
  if (segment->entries_size() > 0) host_.send(std::move(envelope));
  totals_.entries = index;

  if (end) {
    totals_.bytes_total = bytes;
    proto::Envelope last;
    auto* message = last.mutable_manifest_end();
    message->set_entries(totals_.entries);
    message->set_bytes(bytes);
    for (const auto& warning : warnings_) {
      auto* out = message->add_warnings();
      proto::Failure failure;
      encode_error(warning, failure);
      out->set_code(failure.code());
      out->set_message(failure.message());
      out->set_path(failure.path());
    }
    warnings_.clear();
    host_.send(std::move(last));
    state_ = State::sending;
  }
  if (!config_.await_verdicts && !config_.dry_run) {
    release(totals_.entries, {}, std::nullopt);
  }
  maybe_send_finish();
  walk_on();
}

void SourceSide::on_source_failed(const Error& error) { fail(error); }

void SourceSide::handle(const proto::Envelope& envelope) {
  if (state_ == State::idle || state_ == State::failed || state_ == State::committed) return;
  switch (envelope.body_case()) {
    case proto::Envelope::kVerdicts:
      return handle_verdicts(envelope.verdicts());
    case proto::Envelope::kRepairList:
      return handle_repair(envelope.repair_list());
    case proto::Envelope::kEntryFailure:
      return handle_entry_failure(envelope.entry_failure());
    case proto::Envelope::kCommit:
      if (state_ != State::finishing) return fail_peer("it committed before everything was sent");
      commit_ = envelope.commit();
      state_ = State::committed;
      for (const auto& report : reports_)
        if (!dropped_.contains(report.index)) entry_news_.on_file_finished(report);
      entry_news_.on_committed(dropped_);
      return host_.on_committed();
    default:
      return fail_peer("an unexpected message");
  }
}

void SourceSide::handle_verdicts(const proto::Verdicts& verdicts) {
  if (verdicts.decided() < decided_ || verdicts.decided() > totals_.entries)
    return fail_peer("a verdict on an entry that does not exist");
  std::vector<storage::Verdict> exceptions;
  exceptions.reserve(static_cast<std::size_t>(verdicts.exceptions_size()));
  std::optional<std::uint64_t> last;
  for (const auto& encoded : verdicts.exceptions()) {
    auto verdict = decode_verdict(encoded);
    if (!verdict) return fail_peer("a malformed verdict");
    if (verdict->index >= verdicts.decided() || verdict->index < decided_ || (last && verdict->index <= *last))
      return fail_peer("verdicts out of order");
    last = verdict->index;
    if (verdict->action == storage::Action::refuse) {
      ++totals_.files_failed;
      if (!config_.dry_run) {
        host_.warn(*verdict->error);
      } else if (!totals_.refusal) {
        totals_.refusal = *verdict->error;
      }
      dropped_.insert(verdict->index);
    }
    exceptions.push_back(std::move(*verdict));
  }
  const std::uint64_t from = std::exchange(decided_, verdicts.decided());
  held_.on_decided(decided_, exceptions);
  std::vector<std::uint64_t> replaces;
  for (const std::uint64_t index : verdicts.replaces()) {
    if (index < from || index >= decided_) return fail_peer("verdicts out of order");
    replaces.push_back(index);
  }
  entry_news_.on_decided(decided_, exceptions, replaces);
  if (config_.dry_run) return maybe_send_finish();
  release(decided_, std::move(exceptions), std::nullopt);
}

void SourceSide::release(std::uint64_t decided, std::vector<storage::Verdict> exceptions,
                         std::optional<std::uint64_t> gives_up) {
  releases_.push_back({.grows = decided > released_, .gives_up = gives_up});
  released_ = std::max(released_, decided);
  reader_->release(released_, std::move(exceptions));
}

void SourceSide::on_released(TransferOffset end, std::vector<TransferRange> withhold) {
  if (state_ == State::failed || state_ == State::committed || releases_.empty()) return;
  const Release answered = releases_.front();
  releases_.pop_front();
  // The reader tells again that it has read all, after this: what it said before did not know of these files.
  if (answered.grows) all_read_ = false;
  for (const auto& range : withhold) {
    if (range.empty()) continue;
    lane_.withhold(range);
    if (!answered.gives_up) continue;
    const auto given_up = given_up_.find(*answered.gives_up);
    if (given_up != given_up_.end()) send_failure(given_up->first, range, given_up->second);
  }
  if (answered.gives_up) given_up_.erase(*answered.gives_up);
  if (end > offered_) {
    offered_ = end;
    lane_.offer(end);
  }
  maybe_finish_lane();
  maybe_send_finish();
}

void SourceSide::maybe_finish_lane() {
  if (lane_finished_ || state_ != State::sending || decided_ != totals_.entries ||
      offered_.value != totals_.bytes_total.value_or(0))
    return;
  lane_finished_ = true;
  lane_.finish(offered_);
}

void SourceSide::on_resident() {
  if (state_ != State::failed) lane_.on_source_ready();
}

void SourceSide::on_digests(storage::DigestRun run) {
  if (state_ == State::failed || state_ == State::committed || (run.blocks.empty() && run.files.empty())) return;
  proto::Envelope envelope;
  encode_digests(run, *envelope.mutable_block_digests());
  host_.send(std::move(envelope));
}

void SourceSide::on_file_read(storage::FileReport report) {
  if (state_ == State::failed) return;
  ++files_read_;
  if (config_.report_entries) reports_.push_back(std::move(report));
}

void SourceSide::on_file_failed(std::uint64_t index, TransferRange range, const Error& error) {
  if (state_ == State::failed || state_ == State::committed) return;
  if (!range.empty()) lane_.withhold(range);
  if (!dropped_.insert(index).second) return;
  ++totals_.files_failed;
  send_failure(index, range, error);
  host_.warn(error);
  maybe_send_finish();
}

void SourceSide::send_failure(std::uint64_t index, TransferRange range, const Error& error) {
  proto::Envelope envelope;
  auto* failure = envelope.mutable_entry_failure();
  failure->set_index(index);
  failure->set_offset(range.begin.value);
  failure->set_length(range.size());
  encode_error(error, *failure->mutable_error());
  host_.send(std::move(envelope));
  bytes_given_up_ += range.size();
}

void SourceSide::on_all_read() {
  all_read_ = true;
  maybe_send_finish();
}

void SourceSide::on_drained(TransferOffset end) {
  if (state_ == State::idle) return;
  drained_ = end;
  maybe_send_finish();
}

void SourceSide::maybe_send_finish() {
  if (state_ != State::sending || decided_ != totals_.entries || !totals_.bytes_total) return;
  if (!config_.dry_run) {
    maybe_finish_lane();
    // At first the sink itself knows when all is there, and waiting for its word would cost a round trip; what a repair
    // list asked for has to be on its way again before it may look once more.
    const bool drained =
        round_ == 0 || *totals_.bytes_total == 0 || (drained_ && drained_->value >= *totals_.bytes_total);
    if (!lane_finished_ || !all_read_ || !releases_.empty() || !drained) return;
  }
  state_ = State::finishing;
  proto::Envelope envelope;
  envelope.mutable_finish()->set_files(totals_.files_total);
  envelope.mutable_finish()->set_bytes(*totals_.bytes_total);
  host_.send(std::move(envelope));
}

void SourceSide::handle_repair(const proto::RepairList& list) {
  if (state_ != State::finishing || list.round() != round_ + 1 || list.round() > repair_rounds_max)
    return fail_peer("a repair list out of turn");
  auto blocks = decode_repair(list);
  if (!blocks || blocks->empty()) return fail_peer("a malformed repair list");
  round_ = list.round();
  state_ = State::sending;
  drained_.reset();  // the bytes are on their way again: the engine tells when they have arrived
  reader_->resend(std::move(*blocks));
}

void SourceSide::on_resend(std::vector<TransferRange> ranges) {
  if (state_ == State::failed || state_ == State::committed) return;
  bool any = false;
  for (const auto& range : ranges) {
    if (range.empty()) continue;
    any = true;
    lane_.resend(range);
  }
  if (!any) {  // nothing of it can be sent again: the sink finds out at its next audit
    drained_ = TransferOffset{totals_.bytes_total.value_or(0)};
    maybe_send_finish();
  }
}

void SourceSide::handle_entry_failure(const proto::EntryFailure& failure) {
  if (failure.index() >= totals_.entries) return fail_peer("a failure of an entry that does not exist");
  if (!dropped_.insert(failure.index()).second) return;
  ++totals_.files_failed;
  auto error = error_of_failure(failure.error());
  host_.warn(error);
  reader_->abandon(failure.index());
  // The sink does not know which bytes these were going to be; the reader does, and tells when asked to withhold them.
  storage::Verdict unwanted;
  unwanted.index = failure.index();
  unwanted.action = storage::Action::skip;
  given_up_.emplace(failure.index(), std::move(error));
  release(released_, {std::move(unwanted)}, failure.index());
}

}  // namespace penstock::control
