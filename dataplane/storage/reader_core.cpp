#include "dataplane/storage/reader_core.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/escape.h"
#include "dataplane/storage/block_tracker.h"

namespace penstock::storage {

namespace {
constexpr std::size_t digests_per_run = 4096;
// Read and digested in turn: so much is still in the processor's own cache (a whole slab fills it) when it is digested.
constexpr std::uint64_t read_step = 128 * KiB;
// A hop to the worker for each small file would cost more than reading it.
constexpr std::size_t reports_per_news = 256;
constexpr std::uint64_t entries_passed_max = 8;  // without a block, inside one run; a sink refuses a long row of them
}  // namespace

ReaderCore::ReaderCore(const SourceReaderConfig& config, std::unique_ptr<Source> source, StorageExecutor& executor,
                       Tell tell)
    : config_(config),
      source_(std::move(source)),
      tell_(std::move(tell)),
      strand_(executor),
      walk_strand_(executor),
      store_(config.spill_directory) {}

void ReaderCore::walk(std::size_t entries_max) {
  auto batch = source_->walk(entries_max);
  Status kept;
  const std::uint64_t first = store_.entries();
  if (!batch) kept = std::move(batch).error();
  for (std::size_t i = 0; kept && i < batch->entries.size(); ++i) kept = store_.append(batch->entries[i]);
  if (!kept) {
    return tell_(
        [error = std::move(kept).error()](ReaderListener& listener) { listener.observer().on_source_failed(error); });
  }
  auto shared = std::make_shared<WalkBatch>(std::move(*batch));
  tell_([first, shared, bytes = store_.bytes()](ReaderListener& listener) {
    listener.observer().on_entries(first, std::move(shared->entries), std::move(shared->warnings), bytes, shared->end);
  });
}

void ReaderCore::release(std::uint64_t decided, const std::vector<Verdict>& exceptions) {
  if (closed_) return;
  const std::uint64_t before = released_;
  released_ = std::max(released_, std::min(decided, store_.entries()));
  std::vector<TransferRange> withhold;
  for (const auto& verdict : exceptions) {
    if (verdict.index >= released_) continue;
    auto entry = store_.get(verdict.index);
    if (!entry || (*entry)->type != FileType::regular) continue;
    Planned plan;
    const bool compute = config_.held_digests == HeldDigests::compute || config_.algorithm == digest::Algorithm::sha256;
    switch (verdict.action) {
      case Action::send:
        continue;
      case Action::held:
        plan = {Want::part, verdict.held};
        // A peer's runs: in order and inside the file, or not at all.
        for (std::uint64_t end = 0; const auto& run : plan.held) {
          if (run.count == 0 || run.first < end || run.first > block_count((*entry)->size) ||
              run.count > block_count((*entry)->size) - run.first) {
            plan.held.clear();
            break;
          }
          end = run.end();
        }
        break;
      case Action::done_before:
        plan.want = compute ? Want::digest_only : Want::nothing;
        break;
      default:
        plan.want = Want::nothing;
    }
    const Want want = plan.want;
    set_plan(verdict.index, std::move(plan));
    // Verdicts for what was released at once, on trust, come late: the rest of it is not sent any more.
    if (verdict.index < before && current_ && current_->index == verdict.index) {
      if (want == Want::part) {
        hold_rest_of_current(plan_of(verdict.index).held);
      } else {
        if (want == Want::digest_only) {  // the receipt lists it all the same
          late_whole_.insert({verdict.index, verdict.index + 1});
          run_late();
        }
        current_->plan.want = Want::nothing;
      }
    }
    withhold_rest(verdict.index, withhold);
  }
  for (std::uint64_t index = before; index < released_; ++index) {
    auto entry = store_.get(index);
    auto begin = store_.offset_of(index);
    if (!entry || !begin) break;
    for (const auto& hole : (*entry)->holes) {
      withhold.push_back({{*begin + hole.offset}, {*begin + hole.offset + hole.length}});
    }
  }
  std::uint64_t end = store_.bytes();
  if (released_ < store_.entries()) {
    if (auto offset = store_.offset_of(released_)) end = *offset;
  }
  if (released_ > before) all_read_told_ = false;
  tell_([end, withhold = std::move(withhold)](ReaderListener& listener) {
    listener.observer().on_released({end}, withhold);
  });
}

void ReaderCore::withhold_rest(std::uint64_t index, std::vector<TransferRange>& withhold) const {
  auto entry = store_.get(index);
  auto begin = store_.offset_of(index);
  if (!entry || !begin || (*entry)->size == 0) return;
  const auto plan = plan_of(index);
  if (plan.want != Want::part) {
    withhold.push_back({{*begin}, {*begin + (*entry)->size}});
    return;
  }
  for (const auto& run : plan.held) {
    withhold.push_back(
        {{*begin + run.first * block_size}, {*begin + std::min((*entry)->size, run.end() * block_size)}});
  }
}

ReaderCore::Planned ReaderCore::plan_of(std::uint64_t index) const {
  if (plans_nothing_.contains(index)) return {Want::nothing, {}};
  if (plans_digest_only_.contains(index)) return {Want::digest_only, {}};
  const auto found = plans_parts_.find(index);
  return found == plans_parts_.end() ? Planned{} : found->second;
}

void ReaderCore::set_plan(std::uint64_t index, Planned plan) {
  drop_plan(index);
  switch (plan.want) {
    case Want::nothing:
      plans_nothing_.insert({index, index + 1});
      break;
    case Want::digest_only:
      plans_digest_only_.insert({index, index + 1});
      break;
    case Want::part:
      plans_parts_.emplace(index, std::move(plan));
      break;
    case Want::all:
      break;
  }
}

void ReaderCore::drop_plan(std::uint64_t index) {
  plans_nothing_.erase({index, index + 1});
  plans_digest_only_.erase({index, index + 1});
  plans_parts_.erase(index);
}

void ReaderCore::hold_rest_of_current(std::vector<BlockRun> held) {
  Current& file = *current_;
  const std::uint64_t begun = (file.at + block_size - 1) / block_size;
  std::erase_if(held, [&](const BlockRun& run) { return run.end() <= begun; });
  if (held.empty()) return;
  if (held.front().first < begun) held.front() = {begun, held.front().end() - begun};
  file.plan = {Want::part, std::move(held)};
  file.sha.reset();  // the pass does not read all of it any more: the background does
}

void ReaderCore::abandon(std::uint64_t index) {
  if (closed_ || index >= released_) return;
  set_plan(index, {Want::nothing, {}});
  if (current_ && current_->index == index) current_->plan.want = Want::nothing;
  late_.erase(index);
  late_whole_.erase({index, index + 1});
  tell_if_all_read();
}

void ReaderCore::close() {
  closed_ = true;
  current_.reset();
  late_.clear();
  late_whole_ = bytes::IntervalSet{};
  resend_queue_.clear();
  reread_file_.reset();
}

void ReaderCore::run_pass(std::optional<std::pair<std::uint64_t, SharedSlab>> begun, std::vector<Slab> fresh) {
  while (!closed_ && (current_ || begin_next_file())) {
    if (!skip_to_data()) continue;
    pass_number_ = (current_->begin + current_->at) / slab_bytes;
    FilledRanges filled{.number = pass_number_, .slab = nullptr, .ranges = {}, .by_pass = true};
    if (begun && begun->first == pass_number_) {
      filled.slab = begun->second;
    } else {
      if (fresh.empty()) break;
      filled.slab = std::make_shared<Slab>(std::move(fresh.back()));
      fresh.pop_back();
    }
    const std::uint64_t limit = (pass_number_ + 1) * slab_bytes;
    while (current_ || begin_next_file()) {
      if (!skip_to_data()) continue;
      if (current_->begin + current_->at >= limit) break;
      read_current(limit, filled);
    }
    if (digests_due()) flush_digests();
    flush_reports();
    begun = {pass_number_, filled.slab};
    if (!filled.ranges.empty()) {
      tell_([filled = std::move(filled)](ReaderListener& listener) mutable { listener.on_filled(std::move(filled)); });
    }
  }
  begun.reset();
  const bool waits = !current_;
  if (waits || digests_due()) flush_digests();
  flush_reports();
  auto unused = std::make_shared<std::vector<Slab>>(std::move(fresh));
  tell_([unused, number = pass_number_, waits](ReaderListener& listener) {
    listener.on_pass_stopped(std::move(*unused), number, waits);
  });
  run_late();
  tell_if_all_read();
}

bool ReaderCore::begin_next_file() {
  for (; next_index_ < released_; ++next_index_) {
    auto entry = store_.get(next_index_);
    auto begin = store_.offset_of(next_index_);
    if (!entry || !begin) {
      tell_([error = entry ? begin.error() : entry.error()](ReaderListener& listener) {
        listener.observer().on_source_failed(error);
      });
      closed_ = true;
      return false;
    }
    if ((*entry)->type != FileType::regular) continue;
    const std::uint64_t index = next_index_;
    Planned plan = plan_of(index);
    if (plan.want == Want::nothing) {
      drop_plan(index);
      run_broken_ = run_broken_ || (*entry)->size > 0;
      continue;
    }
    if ((*entry)->size == 0) {
      const auto digest = config_.algorithm == digest::Algorithm::sha256 ? digest::Digest{digest::sha256({})}
                                                                         : digest::Digest{digest::xxh3({})};
      drop_plan(index);
      report_file(index, **entry, digest);
      continue;
    }
    if (plan.want == Want::digest_only) {
      late_whole_.insert({index, index + 1});
      drop_plan(index);
      run_late();
      run_broken_ = true;
      continue;
    }
    current_.emplace(Current{});
    current_->index = index;
    current_->begin = *begin;
    current_->builder = FileDigestBuilder{(*entry)->size};
    if (config_.algorithm == digest::Algorithm::sha256 && plan.held.empty()) current_->sha.emplace();
    current_->plan = std::move(plan);
    current_->entry = std::move(*entry);
    ++next_index_;
    return true;
  }
  return false;
}

bool ReaderCore::is_held(std::uint64_t block) const {
  const auto& held = current_->plan.held;
  const auto after = std::upper_bound(held.begin(), held.end(), block,
                                      [](std::uint64_t b, const BlockRun& run) { return b < run.first; });
  return after != held.begin() && block < std::prev(after)->end();
}

bool ReaderCore::skip_to_data() {
  while (current_) {
    auto& file = *current_;
    const auto& entry = *file.entry;
    if (file.plan.want == Want::nothing) {  // a late verdict, or the far end gave it up
      run_broken_ = true;
      drop_plan(file.index);
      current_.reset();
      return false;
    }
    if (file.at >= entry.size) {
      finish_current();
      return false;
    }
    const std::uint64_t block = file.at / block_size;
    const std::uint64_t block_end = std::min(entry.size, (block + 1) * block_size);
    if (file.at == block * block_size) {
      if (is_held(block)) {
        run_broken_ = true;
        file.at = block_end;
        continue;
      }
      block_hasher_.reset();
    }
    while (file.hole < entry.holes.size() && entry.holes[file.hole].offset + entry.holes[file.hole].length <= file.at) {
      ++file.hole;
    }
    if (file.hole == entry.holes.size() || entry.holes[file.hole].offset > file.at) return true;
    // A hole is neither read nor sent.
    const std::uint64_t hole_end = std::min(block_end, entry.holes[file.hole].offset + entry.holes[file.hole].length);
    digest_hole(hole_end - file.at);
    file.at = hole_end;
    end_block_if_reached();
  }
  return false;
}

void ReaderCore::read_current(std::uint64_t limit, FilledRanges& into) {
  while (skip_to_data()) {
    auto& file = *current_;
    const auto& entry = *file.entry;
    const std::uint64_t index = file.index;
    if (file.begin + file.at >= limit) return;
    if (!file.file) {
      auto opened = source_->open(entry);
      if (!opened) return fail_file(index, std::move(opened).error());
      file.file = std::move(*opened);
    }
    const std::uint64_t block_end = (file.at / block_size + 1) * block_size;
    std::uint64_t end = std::min({entry.size, limit - file.begin, block_end, file.at + read_step});
    if (file.hole < entry.holes.size()) end = std::min(end, entry.holes[file.hole].offset);
    const std::uint64_t at = file.begin + file.at;
    const auto room =
        into.slab->bytes().subspan(static_cast<std::size_t>(at % slab_bytes), static_cast<std::size_t>(end - file.at));
    auto got = file.file->read(file.at, room);
    if (!got) return fail_file(index, std::move(got).error());
    if (*got < room.size()) {
      return fail_file(index, became_shorter());
    }
    digest_part(room);
    file.at = end;
    if (!into.ranges.empty() && into.ranges.back().end.value == at) {
      into.ranges.back().end.value = at + room.size();
    } else {
      into.ranges.push_back({{at}, {at + room.size()}});
    }
    end_block_if_reached();
  }
}

void ReaderCore::digest_part(std::span<const std::byte> part) {
  block_hasher_.update(part);
  if (current_->sha) current_->sha->update(part);
}

void ReaderCore::digest_hole(std::uint64_t length) {
  static const std::vector<std::byte> zeros(64 * 1024);
  while (length > 0) {
    const auto part = std::span{zeros}.first(static_cast<std::size_t>(std::min<std::uint64_t>(length, zeros.size())));
    digest_part(part);
    length -= part.size();
  }
}

void ReaderCore::end_block_if_reached() {
  auto& file = *current_;
  if (file.at % block_size != 0 && file.at != file.entry->size) return;
  const std::uint64_t block = (file.at - 1) / block_size;
  const auto digest = block_hasher_.digest();
  file.builder.add(block, digest);
  add_digest(file.index, block, digest);
}

void ReaderCore::finish_current() {
  Current done = std::move(*current_);
  current_.reset();
  const std::uint64_t index = done.index;
  drop_plan(index);
  if (done.file) {
    if (auto same = check_unchanged(*done.file, *done.entry); !same) {
      current_ = std::move(done);
      return fail_file(index, std::move(same).error());
    }
  }
  if (done.sha) add_sum(done.sha->digest());
  if (done.plan.held.empty()) {
    const auto digest = done.sha ? digest::Digest{done.sha->digest()} : digest::Digest{*done.builder.digest()};
    return report_file(index, *done.entry, digest);
  }
  const bool sums = config_.algorithm == digest::Algorithm::sha256;
  if (!sums && config_.held_digests == HeldDigests::skip) return;
  LateFile late{.builder = std::move(done.builder), .blocks = {}};
  late.passed = true;
  late.tell_digests = true;
  if (sums) {
    late.sha.emplace();
  } else {
    for (const auto& run : done.plan.held) {
      for (std::uint64_t block = run.first; block < run.end(); ++block) late.blocks.push_back(block);
    }
  }
  queue_late(index, std::move(late));
}

Status ReaderCore::check_unchanged(SourceFile& file, const ManifestEntry& entry) const {
  auto now = file.identity();
  if (!now) return std::move(now).error();
  if (*now == entry.identity) return {};
  const std::string shown = source_->shown_path(entry);
  return Error{ErrorCode::SOURCE_CHANGED,
               escape_for_display(shown, 512) + " changed while it was being sent; send it again when it is at rest",
               shown};
}

void ReaderCore::report_file(std::uint64_t index, const ManifestEntry& entry, const digest::Digest& digest) {
  FileReport report{
      .index = index, .root = entry.root, .path = entry.path, .target_path = {}, .size = entry.size, .digest = digest};
  if (const Status kept = config_.keep_report ? config_.keep_report(report) : Status{}; !kept) {
    return tell_([error = kept.error()](ReaderListener& listener) { listener.observer().on_source_failed(error); });
  }
  reports_.push_back(std::move(report));
  if (reports_.size() >= reports_per_news) flush_reports();
}

void ReaderCore::flush_reports() {
  if (reports_.empty()) return;
  auto shared = std::make_shared<std::vector<FileReport>>(std::exchange(reports_, {}));
  tell_([shared](ReaderListener& listener) { listener.on_files_read(std::move(*shared)); });
}

void ReaderCore::add_digest(std::uint64_t index, std::uint64_t block, const digest::Xxh3& digest) {
  const bool follows =
      !run_.blocks.empty() && !run_broken_ && run_.blocks.size() < digests_per_run &&
      (index == run_index_ ? block == run_block_ + 1
                           : block == 0 && index > run_index_ && index - run_index_ <= entries_passed_max);
  if (!follows) {
    flush_digests();
    run_.index = index;
    run_.first_block = block;
  }
  run_broken_ = false;
  run_.blocks.push_back(digest);
  run_index_ = index;
  run_block_ = block;
}

void ReaderCore::add_sum(const digest::Sha256& sum) { run_.files.push_back(sum); }

bool ReaderCore::digests_due() const {
  return std::chrono::steady_clock::now() - digests_told_at_ >= config_.digest_interval;
}

void ReaderCore::flush_digests() {
  digests_told_at_ = std::chrono::steady_clock::now();
  if (run_.blocks.empty()) {
    run_.files.clear();
    return;
  }
  tell_([run = std::exchange(run_, {})](ReaderListener& listener) { listener.observer().on_digests(run); });
}

void ReaderCore::fail_file(std::uint64_t index, Error error) {
  if (current_ && current_->index == index) current_.reset();
  drop_plan(index);
  late_.erase(index);
  late_whole_.erase({index, index + 1});
  run_broken_ = true;
  if (failed_.insert({index, index + 1}).count == 0) return;
  auto entry = store_.get(index);
  auto begin = store_.offset_of(index);
  if (!entry || !begin) return;
  if (error.path.empty()) {  // whoever read knew bytes, and no names
    error.path = source_->shown_path(**entry);
    error.message = escape_for_display(error.path, 512) + ": " + error.message;
  }
  const TransferRange range{{*begin}, {*begin + (*entry)->size}};
  tell_([index, range, error = std::move(error)](ReaderListener& listener) {
    listener.on_range_failed(index, range, error);
  });
}

void ReaderCore::tell_if_all_read() {
  if (closed_ || all_read_told_ || current_ || next_index_ < released_ || !late_.empty() || !late_whole_.empty())
    return;
  all_read_told_ = true;
  tell_([](ReaderListener& listener) { listener.observer().on_all_read(); });
}

}  // namespace penstock::storage
