#include "control/transfer/sink_side.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "control/gate/admission.h"
#include "control/transfer/message_codec.h"

namespace penstock::control {
namespace {

/// Does this failure of one entry end the whole transfer? A conflict with what exists does (CLI.md section 2), and so
/// does a full disk, which every later entry would meet again.
bool ends_transfer(ErrorCode code) {
  const int exit = error_traits(code).exit;
  return exit == 6 || exit == 8 || code == ErrorCode::TRANSFER_ACTIVE;
}

}  // namespace

SinkSide::SinkSide(SinkSideConfig config, SideHost& host, ReceiverLane& lane)
    : config_(config),
      host_(host),
      lane_(lane),
      entry_news_(config.dry_run          ? EntryNewsWanted::decisions
                  : config.report_entries ? EntryNewsWanted::as_done
                                          : EntryNewsWanted::nothing,
                  host) {}

void SinkSide::start(std::shared_ptr<storage::Sink> sink) {
  PENSTOCK_CHECK(state_ == State::idle);
  sink_ = std::move(sink);
  state_ = State::receiving;
}

void SinkSide::close() {
  if (state_ != State::committed) state_ = State::failed;
  if (sink_) sink_->close();
  sink_.reset();
}

void SinkSide::checkpoint(std::function<void()> done) {
  if (sink_ && state_ == State::committing) {
    // Too late to stop: names are appearing. Who asks waits for the end of it, and hears of it as committed.
    when_committed_ = std::move(done);
  } else if (sink_ && state_ != State::committed) {
    state_ = State::failed;  // nothing else is answered any more
    sink_->checkpoint(std::move(done));
  } else {
    done();
  }
}

void SinkSide::on_bandwidth_delay_product(std::uint64_t bytes) {
  if (sink_ && !over()) sink_->on_bandwidth_delay_product(bytes);
}

std::optional<std::uint64_t> SinkSide::files_total() const {
  return bytes_total_ ? std::optional{files_} : std::nullopt;
}

storage::SinkProgress SinkSide::progress() const { return sink_ ? sink_->progress() : storage::SinkProgress{}; }

void SinkSide::fail(Error error) {
  if (over()) return;
  state_ = State::failed;
  host_.on_failed(std::move(error));
}

void SinkSide::fail_peer(std::string_view what) {
  fail({ErrorCode::INTERNAL, "the sending end broke the protocol: " + std::string{what}, {}, ErrorSide::remote});
}

void SinkSide::handle(const proto::Envelope& envelope) {
  if (state_ == State::idle || over()) return;
  switch (envelope.body_case()) {
    case proto::Envelope::kManifestSegment:
      return handle_segment(envelope.manifest_segment());
    case proto::Envelope::kManifestEnd:
      return handle_end(envelope.manifest_end());
    case proto::Envelope::kBlockDigests: {
      auto run = decode_digests(envelope.block_digests());
      if (!run) return fail_peer("malformed digests");
      return sink_->on_digests(std::move(*run));
    }
    case proto::Envelope::kEntryFailure: {
      const auto& failure = envelope.entry_failure();
      if (failure.index() >= entries_) return fail_peer("a failure of an entry that does not exist");
      // Only what the manifest has described so far may be given up. Our own verdicts on it are no measure of that:
      // they come from the storage's thread, while a file that has vanished fails as soon as the source has listed it.
      if (failure.offset() > described_end_ || failure.length() > described_end_ - failure.offset())
        return fail_peer("a failure beyond the manifest");
      if (failed_entries_.insert(failure.index()).second) {
        auto error = error_of_failure(failure.error());
        ++failed_;
        host_.warn(error);
        sink_->fail_entry(failure.index(), std::move(error));
      }
      if (failure.length() == 0) return;
      // Overlapping ranges are a liar's; they may not count for more than there is.
      bytes_given_up_ += std::min(failure.length(), described_end_ - bytes_given_up_);
      lane_.withhold({TransferOffset{failure.offset()}, TransferOffset{failure.offset() + failure.length()}});
      return;
    }
    case proto::Envelope::kFinish:
      if (!bytes_total_ || state_ != State::receiving || finish_received_)
        return fail_peer("it finished before its manifest");
      finish_received_ = true;
      return maybe_audit();
    default:
      return fail_peer("an unexpected message");
  }
}

void SinkSide::handle_segment(const proto::ManifestSegment& segment) {
  if (bytes_total_ || segment.first_index() != entries_ || segment.entries_size() == 0)
    return fail_peer("a manifest segment out of turn");
  std::vector<storage::ManifestEntry> entries;
  entries.reserve(static_cast<std::size_t>(segment.entries_size()));
  for (const auto& encoded : segment.entries()) {
    auto entry = decode_entry(encoded);
    if (!entry) return fail_peer("a malformed manifest entry");
    if (entry->type == storage::FileType::regular) ++files_;
    described_end_ += std::min(entry->size, transfer_space_max - described_end_);  // the sink refuses what is beyond
    entry_news_.on_listed(entries_ + entries.size(), *entry);
    held_.on_listed(entry->size);
    entries.push_back(std::move(*entry));
  }
  const std::uint64_t first = entries_;
  entries_ += entries.size();
  sink_->on_entries(first, std::move(entries));
}

void SinkSide::handle_end(const proto::ManifestEnd& end) {
  if (bytes_total_ || end.entries() != entries_) return fail_peer("its manifest does not add up");
  bytes_total_ = end.bytes();
  for (const auto& warning : end.warnings()) {
    ++failed_;
    proto::Failure failure;
    failure.set_code(warning.code());
    failure.set_message(warning.message());
    failure.set_path(warning.path());
    host_.warn(error_of_failure(failure));
  }
  if (nothing_made()) return fail(*first_unmade_);
  if (end.warnings_size() > 0) sink_->on_left_out();
  sink_->on_manifest_end(end.entries(), end.bytes());
  maybe_finish_lane();
}

void SinkSide::on_verdicts(storage::SinkVerdicts verdicts) {
  if (over()) return;
  for (const auto& exception : verdicts.exceptions) {
    if (exception.action != storage::Action::refuse) continue;
    if (!config_.dry_run) return fail(*exception.error);
    ++failed_;
    if (!lasting_error_) lasting_error_ = *exception.error;
  }
  for (const auto& range : verdicts.withhold)
    if (!range.empty()) lane_.withhold(range);
  space_end_ = std::max(space_end_, verdicts.space_end);
  if (!config_.dry_run) lane_.expect(space_end_);
  decided_ = std::max(decided_, verdicts.decided);
  entry_news_.on_decided(decided_, verdicts.exceptions, verdicts.replaces);
  held_.on_decided(decided_, verdicts.exceptions);

  proto::Envelope envelope;
  auto* message = envelope.mutable_verdicts();
  message->set_decided(decided_);
  for (const auto& exception : verdicts.exceptions) encode_verdict(exception, *message->add_exceptions());
  for (const std::uint64_t index : verdicts.replaces) message->add_replaces(index);
  host_.send(std::move(envelope));
  maybe_finish_lane();
}

void SinkSide::maybe_finish_lane() {
  if (lane_finished_ || !bytes_total_ || decided_ != entries_ || config_.dry_run) return;
  if (space_end_.value != *bytes_total_) return fail_peer("its manifest does not add up");
  lane_finished_ = true;
  lane_.finish(space_end_);
  maybe_audit();
}

void SinkSide::on_drained(TransferOffset end) {
  if (state_ == State::idle) return;
  drained_ = end;
  maybe_audit();
}

void SinkSide::maybe_audit() {
  if (state_ != State::receiving || !finish_received_ || !bytes_total_ || decided_ != entries_) return;
  if (config_.dry_run) {
    state_ = State::committing;
    totals_.files_failed = failed_;
    return on_committed(totals_);
  }
  if (!lane_finished_ || (*bytes_total_ > 0 && !(drained_ && drained_->value >= *bytes_total_))) return;
  state_ = State::auditing;
  sink_->audit();
}

void SinkSide::on_audited(storage::AuditResult result) {
  if (state_ != State::auditing) return;
  if (result.repair.empty()) {
    state_ = State::committing;
    return sink_->commit();
  }
  if (round_ == repair_rounds_max) {
    bool news = false;
    for (const auto& run : result.repair) {
      const std::uint64_t index = run.index;
      if (!failed_entries_.insert(index).second) continue;
      news = true;
      const Error error{ErrorCode::DIGEST_MISMATCH,
                        "a file still differs after three repair rounds and was left out; check disk and memory of "
                        "both machines, then run the same command again"};
      if (!lasting_error_) lasting_error_ = error;
      ++failed_;
      host_.warn(error);
      send_failure(index, error);
      sink_->fail_entry(index, error);
    }
    if (news) return sink_->audit();  // what was left out no longer counts; other files may have more to tell
    state_ = State::committing;
    return sink_->commit();
  }
  ++round_;
  finish_received_ = false;
  drained_.reset();
  state_ = State::receiving;
  for (const auto& range : result.forget)
    if (!range.empty()) lane_.forget(range);
  proto::Envelope envelope;
  envelope.mutable_repair_list()->set_round(round_);
  encode_repair(result.repair, *envelope.mutable_repair_list());
  host_.send(std::move(envelope));
}

void SinkSide::send_failure(std::uint64_t index, const Error& error) {
  proto::Envelope envelope;
  auto* failure = envelope.mutable_entry_failure();
  failure->set_index(index);
  encode_error(error, *failure->mutable_error());
  host_.send(std::move(envelope));
}

void SinkSide::on_entry_failed(std::uint64_t index, const Error& error) {
  if (over()) return;
  if (ends_transfer(error.code)) return fail(error);
  if (!failed_entries_.insert(index).second) return;
  if (!first_unmade_) first_unmade_ = error;
  ++unmade_;
  if (nothing_made()) return fail(*first_unmade_);
  ++failed_;
  host_.warn(error);
  send_failure(index, error);
}

void SinkSide::on_file_finished(storage::FileReport report) {
  if (state_ == State::failed) return;
  ++files_finished_;
  entry_news_.on_file_finished(report);
}

void SinkSide::on_room() {
  if (!over()) lane_.on_sink_room();
}

void SinkSide::on_committed(storage::SinkTotals totals) {
  if (state_ == State::committing) {
    totals_ = totals;
    state_ = State::committed;
    entry_news_.on_committed(failed_entries_);
    host_.on_committed();
  }
  if (const auto done = std::exchange(when_committed_, {})) done();
}

void SinkSide::on_sink_failed(const Error& error) {
  fail(error);
  if (const auto done = std::exchange(when_committed_, {})) done();
}

}  // namespace penstock::control
