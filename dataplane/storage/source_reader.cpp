#include "dataplane/storage/source_reader.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "common/bytes/interval_set.h"
#include "common/check.h"
#include "dataplane/storage/reader_core.h"

namespace penstock::storage {

namespace {

// Slabs given to the pass in one task: more keeps the strand busy without a hop, fewer reacts sooner to the sender.
constexpr std::size_t slabs_per_task = 4;
constexpr std::size_t requests_waiting_max = 64;

std::span<const std::byte> zeros() {
  static const std::vector<std::byte> bytes(64 * 1024);
  return bytes;
}

/// The worker's half: what is resident, and what is to be read next.
class Reader final : public SourceReader, public ReaderListener, public std::enable_shared_from_this<Reader> {
 public:
  Reader(const SourceReaderConfig& config, SlabAccount slabs, PostToWorker post, SourceObserver& observer)
      : config_(config), slabs_(std::move(slabs)), post_(std::move(post)), observer_(&observer) {}

  void start(std::unique_ptr<Source> source, StorageExecutor& executor) {
    const auto tell = [weak = weak_from_this(), post = post_](std::function<void(ReaderListener&)> news) {
      post([weak, news = std::move(news)] {
        const auto self = weak.lock();
        if (self && self->observer_ != nullptr) news(*self);
      });
    };
    core_ = std::make_shared<ReaderCore>(config_, std::move(source), executor, tell);
  }

  // engine::SourceWindow

  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    const auto found = resident_.find(at.value / slab_bytes);
    if (found != resident_.end()) {
      if (const auto run = found->second.valid.find(at.value)) {
        found->second.touched = ++turn_;
        const auto length = std::min<std::uint64_t>(length_max, run->end - at.value);
        return found->second.slab->bytes().subspan(static_cast<std::size_t>(at.value % slab_bytes),
                                                   static_cast<std::size_t>(length));
      }
    }
    if (const auto run = failed_.find(at.value)) {
      // A datagram never crosses a slab's end (lane_config.h), so neither does what is lent.
      const std::uint64_t slab_end = (at.value / slab_bytes + 1) * slab_bytes;
      const std::uint64_t length = std::min(
          {std::uint64_t{length_max}, run->end - at.value, slab_end - at.value, std::uint64_t{zeros().size()}});
      return zeros().first(static_cast<std::size_t>(length));
    }
    ++stats_.misses;
    return {};
  }

  void prefetch(TransferRange range) override {
    if (observer_ == nullptr || range.empty()) return;
    for (auto number = range.begin.value / slab_bytes; number * slab_bytes < range.end.value; ++number) {
      // What the pass is about to reach comes with it; only a sender that jumps further needs more.
      if (!pass_waits_ && !pass_running_ && comes_with_pass(number, range)) {
        pass_urgent_ = true;
        continue;
      }
      // A pass that is under way may bring it, and says so; what it did not bring is read when it stops.
      if (pass_running_ && number >= pass_number_ && number <= pass_limit()) {
        if (awaited_.size() < requests_waiting_max) awaited_.insert(number);
        continue;
      }
      if (reading_.contains(number) || waiting_.size() >= requests_waiting_max) continue;
      waiting_.insert(number);
    }
    pump();
  }

  void on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) override {
    // Both may fall again: a repair round sends what was acknowledged.
    frontier_ = frontier.value;
    if (retention / slab_bytes != retention_ / slab_bytes) slabs_.set_bandwidth_delay_product(retention);
    retention_ = retention;
    const std::uint64_t done = oldest_unacknowledged.value / slab_bytes;
    resident_.erase(resident_.begin(), resident_.lower_bound(done));
    pump();
  }

  // SourceReader

  void request_entries(std::size_t entries_max) override {
    core_->walk_strand().post([core = core_, entries_max] { core->walk(entries_max); });
  }
  void release(std::uint64_t decided, std::vector<Verdict> exceptions) override {
    core_->strand().post(
        [core = core_, decided, exceptions = std::move(exceptions)] { core->release(decided, exceptions); });
    if (pass_running_) {
      released_meanwhile_ = true;
    } else {
      pass_waits_ = false;
    }
    pump();
  }
  void resend(std::vector<EntryBlocks> blocks) override {
    core_->strand().post([core = core_, blocks = std::move(blocks)] { core->resend(blocks); });
  }
  void abandon(std::uint64_t index) override {
    core_->strand().post([core = core_, index] { core->abandon(index); });
  }
  void close() override {
    if (observer_ == nullptr) return;
    observer_ = nullptr;
    resident_.clear();
    core_->strand().post([core = core_] { core->close(); });
  }
  SourceReaderStats stats() const override { return stats_; }

  // ReaderListener

  void on_filled(FilledRanges filled) override {
    // The sender is told below, and asks again where something of it is still missing.
    awaited_.erase(filled.number);
    auto& place = resident_[filled.number];
    if (place.slab && place.slab != filled.slab) {
      // Read again while the pass was at it: the larger part stays, the rest comes with the next miss.
      std::uint64_t size = 0;
      for (const auto& range : filled.ranges) size += range.size();
      if (size <= place.valid.size()) return observer_->on_resident();
      place.valid.clear();
    }
    place.slab = filled.slab;
    place.by_pass = filled.by_pass;
    place.touched = ++turn_;
    for (const auto& range : filled.ranges) {
      place.valid.insert({range.begin.value, range.end.value});
      stats_.bytes_read += range.size();
    }
    observer_->on_resident();
  }
  void on_pass_stopped(std::vector<Slab> unused, std::uint64_t next_number, bool waits_for_release) override {
    unused.clear();
    pass_running_ = false;
    pass_number_ = next_number;
    // The pass may have ended before it could see a release that came meanwhile: then it looks again.
    pass_waits_ = waits_for_release && !std::exchange(released_meanwhile_, false);
    for (const auto number : std::exchange(awaited_, {})) {
      if (reading_.contains(number)) continue;
      if (!pass_waits_ && number > pass_number_) {
        pass_urgent_ = true;
      } else {
        waiting_.insert(number);
      }
    }
    pump();
  }
  void on_reread(std::uint64_t number) override {
    reading_.erase(number);
    if (const auto found = resident_.find(number); found != resident_.end()) {
      stats_.bytes_read_again += found->second.valid.size();
    }
    pump();
  }
  void on_files_read(std::vector<FileReport> reports) override {
    for (auto& report : reports) {
      if (observer_ == nullptr) return;  // closed by what it heard
      observer_->on_file_read(std::move(report));
    }
  }
  SourceObserver& observer() override { return *observer_; }
  void on_range_failed(std::uint64_t index, TransferRange range, Error error) override {
    failed_.insert({range.begin.value, range.end.value});
    observer_->on_file_failed(index, range, error);
    if (observer_ != nullptr) observer_->on_resident();
  }

 private:
  struct Resident {
    SharedSlab slab;
    bytes::IntervalSet valid;
    std::uint64_t touched = 0;
    bool by_pass = false;
  };

  /// Whether the pass, when it goes on, reads these bytes of this slab. Requires: it is not running.
  [[nodiscard]] bool comes_with_pass(std::uint64_t number, TransferRange range) const {
    if (number > pass_limit()) return false;
    if (number != pass_number_) return number > pass_number_;
    const auto found = resident_.find(number);
    if (found == resident_.end() || !found->second.by_pass || found->second.valid.empty()) return false;
    return range.begin.value >= found->second.valid.back().end;
  }

  /// The last slab that the pass may read now, so far ahead of the sender.
  [[nodiscard]] std::uint64_t pass_limit() const {
    return frontier_ / slab_bytes + config_.read_ahead_slabs + (retention_ + slab_bytes - 1) / slab_bytes;
  }

  void pump() {
    if (observer_ == nullptr) return;
    while (!waiting_.empty()) {
      const std::uint64_t number = *waiting_.begin();
      Slab slab = slabs_.take();
      // The sender asks for this very byte, so something that it did not use for longer must go.
      if (!slab && evict(Evict::any)) slab = slabs_.take();
      if (!slab) break;
      waiting_.erase(waiting_.begin());
      reading_.insert(number);
      auto shared = std::make_shared<Slab>(std::move(slab));
      core_->strand().post([core = core_, number, shared] { core->reread(number, shared); });
    }
    run_pass();
  }

  void run_pass() {
    if (pass_running_) return;
    const std::uint64_t limit = pass_limit();
    if (pass_waits_ || pass_number_ > limit) return;
    std::optional<std::pair<std::uint64_t, SharedSlab>> begun;
    // What was read again holds bytes that the pass has still to read, and they are lent to the sender already: the
    // pass then gets a slab of its own.
    if (const auto found = resident_.find(pass_number_); found != resident_.end() && found->second.by_pass) {
      begun = {pass_number_, found->second.slab};
    }
    std::vector<Slab> fresh;
    const std::uint64_t wanted = std::min<std::uint64_t>(slabs_per_task, limit - pass_number_ + 1);
    while (fresh.size() < wanted) {
      Slab slab = slabs_.take();
      if (!slab && fresh.empty() && evict(pass_urgent_ ? Evict::any : Evict::sent)) slab = slabs_.take();
      if (!slab) break;
      fresh.push_back(std::move(slab));
    }
    if (fresh.empty() && !begun) return;
    pass_running_ = true;
    pass_urgent_ = false;
    released_meanwhile_ = false;
    auto shared = std::make_shared<std::vector<Slab>>(std::move(fresh));
    core_->strand().post([core = core_, begun, shared] { core->run_pass(begun, std::move(*shared)); });
  }

  enum class Evict : std::uint8_t { sent, any };
  /// Forgets the slab used longest ago, of those that were sent once or of all.
  bool evict(Evict which) {
    auto victim = resident_.end();
    for (auto at = resident_.begin(); at != resident_.end(); ++at) {
      if (which == Evict::sent && (at->first + 1) * slab_bytes > frontier_) break;
      if (victim == resident_.end() || at->second.touched < victim->second.touched) victim = at;
    }
    if (victim == resident_.end()) return false;
    resident_.erase(victim);
    return true;
  }

  SourceReaderConfig config_;
  SlabAccount slabs_;
  PostToWorker post_;
  SourceObserver* observer_;  // nullptr once closed
  std::shared_ptr<ReaderCore> core_;

  std::map<std::uint64_t, Resident> resident_;  // by slab number
  bytes::IntervalSet failed_;                   // served as zeros
  std::uint64_t turn_ = 0;
  std::uint64_t frontier_ = 0;
  std::uint64_t retention_ = 0;

  std::uint64_t pass_number_ = 0;  // slab where the pass goes on
  bool pass_running_ = false;
  bool pass_waits_ = true;    // nothing is released beyond what was read
  bool pass_urgent_ = false;  // the sender waits for it: what is resident and not yet sent may go
  bool released_meanwhile_ = false;
  std::set<std::uint64_t> reading_;  // slabs being read again
  std::set<std::uint64_t> awaited_;  // missed while the pass that may bring them runs
  std::set<std::uint64_t> waiting_;  // to be read again when there is room
  SourceReaderStats stats_;
};

}  // namespace

std::shared_ptr<SourceReader> SourceReader::create(const SourceReaderConfig& config, std::unique_ptr<Source> source,
                                                   SlabAccount slabs, StorageExecutor& executor, PostToWorker post,
                                                   SourceObserver& observer) {
  PENSTOCK_CHECK(source != nullptr);
  auto reader = std::make_shared<Reader>(config, std::move(slabs), std::move(post), observer);
  reader->start(std::move(source), executor);
  return reader;
}

}  // namespace penstock::storage
