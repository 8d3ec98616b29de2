#include "tests/unit/storage/transfer_harness.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <utility>

namespace penstock::storage::test {

PostToWorker TestWorker::post() {
  return [queue = queue_](std::function<void()> task) {
    {
      const std::lock_guard lock(queue->mutex);
      if (queue->closed) return;
      queue->tasks.push_back(std::move(task));
    }
    queue->wake.notify_one();
  };
}

// A hang, not a slow disk: nothing at all was posted for so long.
constexpr int stall_seconds = 60;

bool TestWorker::run_until(const std::function<bool()>& done) {
  while (!done()) {
    std::function<void()> task;
    {
      std::unique_lock lock(queue_->mutex);
      if (!queue_->wake.wait_for(lock, std::chrono::seconds{stall_seconds}, [&] { return !queue_->tasks.empty(); }))
        return false;
      task = std::move(queue_->tasks.front());
      queue_->tasks.pop_front();
    }
    task();
  }
  return true;
}

namespace {

constexpr std::uint64_t chunk_max = 64 * 1024;

class Harness final : public SourceObserver, public SinkObserver {
 public:
  explicit Harness(const Plan& plan)
      : plan_(plan),
        rng_(plan.seed),
        own_pool_({.shared = plan.shared_slabs, .guaranteed = 3, .slabs_max = plan.slabs_max}),
        pool_(plan.pool != nullptr ? *plan.pool : own_pool_),
        extents_(plan.lanes) {}

  Outcome run() {
    // What tasks may use outlives the executor, whose end joins them; with the process's executor it is the process's.
    auto& journals = *kept(std::make_shared<std::unique_ptr<JournalStore>>());
    auto& claims = *kept(std::make_shared<TargetClaims>());
    std::optional<StorageExecutor> own_executor;
    if (plan_.executor == nullptr) own_executor.emplace(2);
    StorageExecutor& executor = own_executor ? *own_executor : *plan_.executor;
    std::vector<SourceRoot> roots;
    PosixSinkConfig sink_config;
    for (const auto& source : plan_.sources) {
      auto root = open_local_root(source);
      if (!root) {
        outcome_.source_error = root.error();
        outcome_.finished = true;
        return outcome_;
      }
      std::string word = source;
      while (word.size() > 1 && word.back() == '/') word.pop_back();
      sink_config.roots.push_back(
          {.name = root->contents ? "" : word.substr(word.rfind('/') + 1), .contents = root->contents});
      roots.push_back(std::move(*root));
    }
    auto destination = open_local_destination(plan_.destination);
    if (!destination) {
      outcome_.sink_error = destination.error();
      outcome_.finished = true;
      return outcome_;
    }
    sink_config.destination = std::move(*destination);
    sink_config.overwrite = plan_.overwrite;
    sink_config.algorithm = plan_.algorithm;
    sink_config.dry_run = plan_.dry_run;
    sink_config.anew = plan_.anew;
    std::shared_ptr<Journal> journal;
    if (!plan_.dry_run) {
      journals = std::move(*JournalStore::open(plan_.journal_directory, calls()));
      auto found = journals->find(plan_.identity.owner, plan_.identity.resume_key);
      if (found && *found) {
        journal = std::move(*found);
      } else if (found) {
        found = journals->create(plan_.identity);
        if (found) journal = std::move(*found);
      }
      sink_config.spill_directory = journals->directory();
      if (!found) {
        outcome_.sink_error = found.error();
        outcome_.finished = true;
        return outcome_;
      }
    }
    reader_ =
        SourceReader::create({.algorithm = plan_.algorithm,
                              .held_digests = plan_.held_digests,
                              .spill_directory = journals ? journals->directory() : -1,
                              .digest_interval = plan_.digest_interval},
                             std::make_unique<PosixSource>(std::move(roots), PosixSourceConfig{.links = plan_.links}),
                             std::move(*pool_.open_account(plan_.lanes)), executor, worker_.post(), *this,
                             std::vector<SourceReader::LaneWay>(plan_.lanes - 1, {worker_.post(), [] {}}));
    journal_ = journal;
    sink_ = make_posix_sink(std::move(sink_config), std::move(journal), std::move(*pool_.open_account(plan_.lanes)),
                            executor, claims, std::vector<PostToWorker>(plan_.lanes, worker_.post()), *this, calls());
    reader_->request_entries(100);
    outcome_.finished = worker_.run_until([this] {
      if (!over_ && !stopping_) pump();
      return over_;
    });
    reader_->close();
    sink_->close();
    reader_.reset();
    sink_.reset();
    journal_.reset();
    return std::move(outcome_);
  }

  // SourceObserver
  void on_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries, std::vector<SourceWarning> warnings,
                  std::uint64_t bytes, bool end) override {
    outcome_.warnings.insert(outcome_.warnings.end(), warnings.begin(), warnings.end());
    outcome_.entries = first_index + entries.size();
    if (plan_.forge) plan_.forge(entries);
    const std::uint64_t count = first_index + entries.size();
    if (!entries.empty()) sink_->on_entries(first_index, std::move(entries));
    if (!plan_.await_verdicts) release(count, {});
    manifest_entries_ = count;
    if (end) {
      manifest_bytes_ = bytes;
      sink_->on_manifest_end(count, bytes);
      if (plan_.dry_run) dry_run_over();
    } else {
      reader_->request_entries(100);
    }
  }
  void on_source_failed(const Error& error) override {
    outcome_.source_error = error;
    over_ = true;
  }
  void on_released(TransferOffset end, std::vector<TransferRange> withhold) override {
    answered_ = std::max(answered_, releases_.front());
    releases_.pop_front();
    for (const auto& range : withhold) {
      outstanding_.erase({range.begin.value, range.end.value});
      withheld_.insert({range.begin.value, range.end.value});
    }
    if (end.value > offered_) {
      const auto fresh = withheld_.complement({offered_, end.value});
      for (const auto& run : fresh.intervals()) outstanding_.insert(run);
      offered_ = end.value;
    }
  }
  void on_resend(std::vector<TransferRange> ranges) override {
    for (const auto& range : ranges) outstanding_.insert({range.begin.value, range.end.value});
    resending_ = false;
  }
  void on_resident() override {}
  void on_digests(DigestRun run) override {
    ++outcome_.digest_runs;
    sink_->on_digests(std::move(run));
  }
  void on_file_read(FileReport report) override { outcome_.source_files.emplace(report.index, std::move(report)); }
  void on_file_failed(std::uint64_t index, TransferRange range, const Error& error) override {
    outcome_.entry_errors.emplace(index, error);
    outstanding_.erase({range.begin.value, range.end.value});
    sink_->fail_entry(index, error);
  }
  void on_all_read() override { all_read_at_ = answered_; }

  // SinkObserver
  void on_verdicts(SinkVerdicts verdicts) override {
    decided_ = verdicts.decided;
    outcome_.exceptions.insert(outcome_.exceptions.end(), verdicts.exceptions.begin(), verdicts.exceptions.end());
    if (plan_.dry_run) return dry_run_over();
    release(verdicts.decided, verdicts.exceptions);
    released_after_verdicts_ = verdicts.decided;
  }
  void on_entry_failed(std::uint64_t index, const Error& error) override {
    outcome_.entry_errors.emplace(index, error);
    reader_->abandon(index);
  }
  void on_file_finished(FileReport report) override { outcome_.sink_files.emplace(report.index, std::move(report)); }
  void on_room() override {}
  void on_audited(AuditResult result) override {
    if (result.repair.empty() || ++outcome_.rounds > 3) {
      if (!result.repair.empty()) {
        for (const auto& blocks : result.repair) {
          sink_->fail_entry(blocks.index, Error{ErrorCode::DIGEST_MISMATCH, "given up"});
        }
      }
      if (plan_.before_commit) plan_.before_commit();
      sink_->commit();
      return;
    }
    auditing_ = false;
    resending_ = true;
    reader_->resend(result.repair);
  }
  void on_committed(SinkTotals totals) override {
    outcome_.totals = totals;
    if (journal_ && plan_.receipt_kept) outcome_.journal_finished = journal_->finish().ok();
    over_ = true;
  }
  void on_sink_failed(const Error& error) override {
    outcome_.sink_error = error;
    over_ = true;
  }

 private:
  template <class T>
  T* kept(std::shared_ptr<T> thing) {
    T* const raw = thing.get();
    if (plan_.executor == nullptr) {
      kept_.push_back(std::move(thing));
    } else {
      static std::mutex mutex;
      static std::vector<std::shared_ptr<void>> of_process;
      const std::lock_guard lock(mutex);
      of_process.push_back(std::move(thing));
    }
    return raw;
  }
  FileCalls& calls() const { return plan_.sink_calls != nullptr ? *plan_.sink_calls : FileCalls::kernel(); }

  void dry_run_over() {
    if (manifest_bytes_ && decided_ == manifest_entries_) over_ = true;
  }

  void release(std::uint64_t entries, std::vector<Verdict> exceptions) {
    releases_.push_back(entries);
    reader_->release(entries, std::move(exceptions));
  }

  /// Sends until bytes or room are missing; either brings a task, after which it goes on.
  void pump() {
    if (plan_.lanes > 1) return pump_lanes();
    while (!outstanding_.empty() && !over_) {
      auto run = outstanding_.front();
      if (plan_.shuffled) {
        const auto runs = outstanding_.intervals();
        run = runs[rng_.below(runs.size())];
        run.begin += rng_.below(run.size());
      }
      const std::uint64_t slab_end = (run.begin / slab_bytes + 1) * slab_bytes;
      const std::uint64_t length =
          std::min({run.size(), slab_end - run.begin, plan_.shuffled ? 1 + rng_.below(chunk_max) : chunk_max});
      const auto bytes = reader_->resident({run.begin}, static_cast<std::size_t>(length));
      if (bytes.empty()) {
        reader_->prefetch({{run.begin}, {run.begin + length}});
        break;
      }
      if (!deliver(run.begin, bytes)) break;
      outstanding_.erase({run.begin, run.begin + bytes.size()});
      outcome_.bytes_on_wire += bytes.size();
      if (plan_.stop_after && outcome_.bytes_on_wire >= *plan_.stop_after) return stop();
      if (plan_.shuffled && rng_.chance(1, 50)) sink_->window().on_quiet();
    }
    const std::uint64_t frontier = outstanding_.empty() ? offered_ : outstanding_.front().begin;
    reader_->on_progress({frontier}, {frontier}, 0);
    audit_if_all_sent();
  }

  void audit_if_all_sent() {
    const bool all_decided = manifest_bytes_ && decided_ == manifest_entries_;
    if (all_decided && released_after_verdicts_ == manifest_entries_ && offered_ == *manifest_bytes_ &&
        outstanding_.empty() && all_read_at_ == manifest_entries_ && !resending_ && !auditing_) {
      auditing_ = true;
      sink_->audit();
    }
  }

  /// The same, each lane its own extents in order. None waits for another, but for the source.
  void pump_lanes() {
    if (!worker_.idle()) return;  // asking brings more tasks than one turn takes: the answer would never be heard
    const auto window_of = [this](std::size_t lane) {
      return lane == 0 ? std::static_pointer_cast<engine::SourceWindow>(reader_) : reader_->window_of(lane);
    };
    const auto first_of = [this](std::size_t lane) -> std::optional<bytes::Interval> {
      for (const auto& run : outstanding_.intervals())
        if (const auto own = extents_.first_run(lane, run)) return own;
      return std::nullopt;
    };
    std::vector<bool> stuck(plan_.lanes);
    while (std::find(stuck.begin(), stuck.end(), false) != stuck.end() && !over_) {
      const auto lane = static_cast<std::size_t>(rng_.below(plan_.lanes));
      const auto run = first_of(lane);
      if (!run || stuck[lane]) {
        stuck[lane] = true;
        continue;
      }
      const std::uint64_t slab_end = (run->begin / slab_bytes + 1) * slab_bytes;
      const std::uint64_t length = std::min({run->size(), slab_end - run->begin, chunk_max});
      const auto bytes = window_of(lane)->resident({run->begin}, static_cast<std::size_t>(length));
      if (bytes.empty() || !deliver(run->begin, bytes, lane)) {
        if (bytes.empty()) window_of(lane)->prefetch({{run->begin}, {run->begin + length}});
        stuck[lane] = true;
        continue;
      }
      outstanding_.erase({run->begin, run->begin + bytes.size()});
      outcome_.bytes_on_wire += bytes.size();
      if (plan_.stop_after && outcome_.bytes_on_wire >= *plan_.stop_after) return stop();
      if (rng_.chance(1, 40)) move_some(lane, run->begin);
    }
    for (std::size_t lane = 0; lane < plan_.lanes; ++lane) {
      const auto run = first_of(lane);
      const std::uint64_t frontier = run ? run->begin : offered_;
      window_of(lane)->on_progress({frontier}, {frontier}, 0);
      sink_->window_of(lane).on_quiet();  // as the driver calls it a few milliseconds after the last byte
    }
    audit_if_all_sent();
  }

  /// As the homes do it, but at once: half filled slabs may be in it.
  void move_some(std::size_t from, std::uint64_t near) {
    const std::uint64_t extent = extents_.extent_of(near) + rng_.below(4);
    const engine::ExtentMove move{
        .from = from, .to = static_cast<std::size_t>(rng_.below(plan_.lanes)), .extent = extent};
    if (!extents_.apply(move)) return;
    reader_->on_extents_moved(move);
    const auto moved = extents_.bytes_of(extent);
    sink_->on_given_up(from, {{moved.begin}, {moved.end}});
    ++outcome_.extents_moved;
  }

  bool deliver(std::uint64_t at, std::span<const std::byte> bytes, std::size_t lane = 0) {
    ++chunks_;
    std::vector<std::byte> copy(bytes.begin(), bytes.end());
    if (outcome_.rounds == 0 && plan_.corrupt_every != 0 && chunks_ % plan_.corrupt_every == 0) copy[0] ^= std::byte{1};
    if (outcome_.rounds == 0 && plan_.lose_every != 0 && chunks_ % plan_.lose_every == 0) return true;
    auto& window = sink_->window_of(lane);
    if (const auto room = window.lend({at}, copy.size()); !room.empty()) {
      std::memcpy(room.data(), copy.data(), copy.size());
      window.commit({at}, copy.size());
      return true;
    }
    return window.store({at}, copy);
  }

  void stop() {
    if (plan_.stop_without_checkpoint) {
      over_ = true;
      return;
    }
    stopping_ = true;  // nothing more is sent, or a slow disk would let the transfer finish before its checkpoint
    sink_->checkpoint([this] { over_ = true; });
  }

  std::vector<std::shared_ptr<void>> kept_;
  Plan plan_;
  Rng rng_;
  SlabPool own_pool_;  // outlives the worker's queue, in which slabs may wait
  SlabPool& pool_;
  TestWorker worker_;
  Outcome outcome_;
  std::shared_ptr<SourceReader> reader_;
  std::shared_ptr<Sink> sink_;
  std::shared_ptr<Journal> journal_;
  engine::ExtentMap extents_;
  bytes::IntervalSet outstanding_;
  bytes::IntervalSet withheld_;
  std::uint64_t offered_ = 0;
  std::uint64_t manifest_entries_ = 0;
  std::optional<std::uint64_t> manifest_bytes_;
  std::uint64_t decided_ = 0;
  std::uint64_t released_after_verdicts_ = 0;
  std::deque<std::uint64_t> releases_;  // entries of each that the reader has not answered
  std::uint64_t answered_ = 0;
  std::uint64_t all_read_at_ = 0;
  std::uint64_t chunks_ = 0;
  bool resending_ = false;
  bool auditing_ = false;
  bool stopping_ = false;
  bool over_ = false;
};

}  // namespace

Outcome run_transfer(const Plan& plan) { return Harness{plan}.run(); }

}  // namespace penstock::storage::test
