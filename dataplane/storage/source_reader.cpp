#include "dataplane/storage/source_reader.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "common/bytes/interval_set.h"
#include "common/check.h"
#include "dataplane/storage/lane_residents.h"
#include "dataplane/storage/reader_core.h"

namespace penstock::storage {

namespace {

// Slabs given to the pass in one task: more keeps the strand busy without a hop, fewer reacts sooner to the sender.
constexpr std::size_t slabs_per_task = 4;
constexpr std::size_t requests_waiting_max = 64;
// Slabs ahead of the frontier beyond the configured ones. On a far path the memory is better spent behind it: repeats
// of repeats reach several round trips back, and what is no longer there is read again, a slab for each.
constexpr std::uint64_t read_ahead_more_max = 8;
// Repeats that reach so far back that their slab has made room: some datagrams of it are read alone, since the whole
// slab would push out another that is needed as much. More than a few of one slab, or long ones, are worth the slab.
constexpr std::uint64_t patch_bytes_max = 32 * KiB;
constexpr std::size_t patches_per_slab_max = 8;

using Evict = LaneResidents::Evict;

/// Home: decides what is to be read next, and which lane gets it. Lane 0's window is on the same worker, and asked
/// directly; the others' are on their own, and all that passes between is messages.
class Reader final : public SourceReader, public ReaderListener, public std::enable_shared_from_this<Reader> {
 public:
  Reader(const SourceReaderConfig& config, SlabAccount slabs, PostToWorker post, SourceObserver& observer,
         std::vector<LaneWay> more)
      : config_(config),
        slabs_(std::move(slabs)),
        post_(std::move(post)),
        observer_(&observer),
        ways_(std::move(more)),
        extents_(ways_.size() + 1),
        home_lane_({.on_missing = [this](TransferRange range) { on_missing(range); },
                    .on_progress = [this](TransferOffset frontier, std::uint64_t retention,
                                          bool) { on_lane_progress(0, frontier, retention); }}),
        lanes_(ways_.size() + 1) {}

  void start(std::unique_ptr<Source> source, StorageExecutor& executor) {
    const auto tell = [weak = weak_from_this(), post = post_](std::function<void(ReaderListener&)> news) {
      post([weak, news = std::move(news)] {
        const auto self = weak.lock();
        if (self && self->observer_ != nullptr) news(*self);
      });
    };
    core_ = std::make_shared<ReaderCore>(config_, std::move(source), executor, tell);
    for (std::size_t lane = 1; lane < lanes_.size(); ++lane) lanes_[lane].window = make_window(lane);
  }

  // engine::SourceWindow

  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override {
    return home_lane_.resident(at, length_max);
  }
  void prefetch(TransferRange range) override { on_missing(range); }
  void on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) override {
    home_lane_.on_progress(frontier, oldest_unacknowledged, retention);
  }

  // SourceReader

  std::shared_ptr<engine::SourceWindow> window_of(std::size_t lane) override { return lanes_.at(lane).window; }
  void on_extents_moved(const engine::ExtentMove& move) override {
    PENSTOCK_CHECK(extents_.apply(move));
    if (!move.extent) return;
    on_lane(move.from, [range = extents_.bytes_of(*move.extent)](LaneResidents& window) { window.drop(range); });
  }
  void on_frontier(std::function<void(std::size_t lane, TransferOffset frontier)> told) override {
    on_frontier_ = std::move(told);
  }
  void on_lane_over(std::size_t lane) override {
    lanes_.at(lane).over = true;
    on_lane(lane, [](LaneResidents& window) { window.clear(); });
    pump();
  }
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
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane)
      on_lane(lane, [](LaneResidents& window) { window.clear(); });
    core_->strand().post([core = core_] { core->close(); });
  }
  SourceReaderStats stats() const override {
    SourceReaderStats stats = stats_;
    stats.misses = home_lane_.misses();
    for (const auto& lane : lanes_)
      if (lane.window) stats.misses += lane.window->misses();
    return stats;
  }

  // ReaderListener

  void on_filled(FilledRanges filled) override {
    // The sender is told below, and asks again where something of it is still missing.
    awaited_.erase(filled.number);
    for (const auto& range : filled.ranges) {
      stats_.bytes_read += range.size();
      if (!filled.by_pass) stats_.bytes_read_again += range.size();
    }
    if (filled.by_pass && !filled.ranges.empty()) {
      pass_slab_ = filled.slab;
      pass_filled_ = filled.number;
      pass_end_ = filled.ranges.back().end.value;
    }
    const std::uint64_t at = filled.number * slab_bytes;
    give(at, std::move(filled));
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
        pass_urgent_ = pass_urgent_ || number <= pass_limit();
      } else {
        waiting_.insert(number);
      }
    }
    pump();
  }
  void on_reread(std::uint64_t number) override {
    reading_.erase(number);
    pump();
  }
  void on_patched(TransferRange asked, Patch patch) override {
    patching_.erase(asked.begin.value);
    // What failed is told of elsewhere. What the far end gave up is not asked for again: the answer would be the same.
    if (patch.bytes->empty()) return;
    stats_.bytes_read += patch.bytes->size();
    stats_.bytes_read_again += patch.bytes->size();
    const std::uint64_t at = patch.at.value;
    give(at, std::move(patch));
  }
  void on_files_read(std::vector<FileReport> reports) override {
    for (auto& report : reports) {
      if (observer_ == nullptr) return;  // closed by what it heard
      observer_->on_file_read(std::move(report));
    }
  }
  SourceObserver& observer() override { return *observer_; }
  void on_range_failed(std::uint64_t index, TransferRange range, Error error) override {
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
      on_lane(lane, [range, ready = lane == 0 ? nullptr : ways_[lane - 1].on_resident](LaneResidents& window) {
        window.fail(range);
        if (ready) ready();
      });
    }
    observer_->on_file_failed(index, range, error);
    if (observer_ != nullptr) observer_->on_resident();
  }

 private:
  struct LaneView {
    std::shared_ptr<LaneResidents> window;  // of lanes beyond the first
    std::uint64_t frontier = 0;
    std::uint64_t retention = 0;
    bool over = false;
  };

  /// A window that tells home, by message, what lane 0's tells it directly; of progress once for each slab.
  std::shared_ptr<LaneResidents> make_window(std::size_t lane) {
    const auto home = [weak = weak_from_this(), post = post_](std::function<void(Reader&)> act) {
      post([weak, act = std::move(act)] {
        const auto self = weak.lock();
        if (self && self->observer_ != nullptr) act(*self);
      });
    };
    return std::make_shared<LaneResidents>(LaneResidents::Home{
        .on_missing = [home](TransferRange range) { home([range](Reader& reader) { reader.on_missing(range); }); },
        .on_progress =
            [home, lane, told = std::pair<std::uint64_t, std::uint64_t>{}](
                TransferOffset frontier, std::uint64_t retention, bool freed) mutable {
              const std::pair now{frontier.value / slab_bytes, retention / slab_bytes};
              if (std::exchange(told, now) == now && !freed) return;
              home([lane, frontier, retention](Reader& reader) { reader.on_lane_progress(lane, frontier, retention); });
            }});
  }

  template <class Act>
  void on_lane(std::size_t lane, Act act) {
    if (lane == 0) return act(home_lane_);
    ways_[lane - 1].post([window = lanes_[lane].window, act = std::move(act)] { act(*window); });
  }

  /// What was read goes to the lane whose extent it is in.
  template <class Bytes>
  void give(std::uint64_t at, Bytes bytes) {
    const std::size_t lane = extents_.owner_of(extents_.extent_of(at));
    if (lane == 0) {
      home_lane_.take(bytes);
      return observer_->on_resident();
    }
    on_lane(lane, [bytes = std::move(bytes), ready = ways_[lane - 1].on_resident](LaneResidents& window) {
      window.take(bytes);
      ready();
    });
  }

  void on_missing(TransferRange range) {
    if (observer_ == nullptr || range.empty()) return;
    for (auto number = range.begin.value / slab_bytes; number * slab_bytes < range.end.value; ++number) {
      // What the pass is about to reach comes with it; only a sender that jumps further needs more.
      if (!pass_waits_ && !pass_running_ && comes_with_pass(number, range)) {
        pass_urgent_ = pass_urgent_ || number <= pass_limit();
        continue;
      }
      // A pass that is under way may bring it, and says so; what it did not bring is read when it stops.
      if (pass_running_ && number >= pass_number_ && number <= pass_reach()) {
        if (awaited_.size() < requests_waiting_max) awaited_.insert(number);
        continue;
      }
      if (reading_.contains(number) || waiting_.contains(number)) continue;
      const TransferRange part{{std::max(range.begin.value, number * slab_bytes)},
                               {std::min(range.end.value, (number + 1) * slab_bytes)}};
      if (patch(number, part) || waiting_.size() >= requests_waiting_max) continue;
      waiting_.insert(number);
    }
    pump();
  }

  /// Whether these bytes come by themselves, or are not to be asked for now.
  bool patch(std::uint64_t number, TransferRange part) {
    if (part.size() > patch_bytes_max) return false;
    const auto of_slab = patching_.lower_bound(number * slab_bytes);
    std::size_t asked = 0;
    for (auto at = of_slab; at != patching_.end() && *at < (number + 1) * slab_bytes; ++at) ++asked;
    if (patching_.contains(part.begin.value)) return true;
    if (asked >= patches_per_slab_max) return false;
    if (patching_.size() >= requests_waiting_max) return true;
    patching_.insert(part.begin.value);
    core_->strand().post([core = core_, part] { core->patch(part); });
    return true;
  }

  void on_lane_progress(std::size_t lane, TransferOffset frontier, std::uint64_t retention) {
    // Both may fall again: a repair round sends what was acknowledged.
    LaneView& view = lanes_[lane];
    view.frontier = frontier.value;
    const std::uint64_t before = retention_ / slab_bytes;
    retention_ = retention_ - view.retention + retention;
    view.retention = retention;
    if (retention_ / slab_bytes != before) slabs_.set_bandwidth_delay_product(retention_);
    if (on_frontier_) on_frontier_(lane, frontier);
    pump();
  }

  /// Whether the pass, when it goes on, reads these bytes of this slab. Requires: it is not running.
  [[nodiscard]] bool comes_with_pass(std::uint64_t number, TransferRange range) const {
    if (number > pass_reach()) return false;
    if (number != pass_number_) return number > pass_number_;
    // With several lanes the pass often stands before a slab for want of memory: it is what brings it.
    if (pass_filled_ != pass_number_) return !extents_.whole();
    return !pass_slab_.expired() && range.begin.value >= pass_end_;
  }

  /// The last slab that the pass may read now, so far ahead of the slowest sender.
  [[nodiscard]] std::uint64_t pass_limit() const {
    std::uint64_t frontier = std::numeric_limits<std::uint64_t>::max();
    for (const auto& lane : lanes_)
      if (!lane.over) frontier = std::min(frontier, lane.frontier);
    // A turn of all lanes lies between two extents of one.
    const std::uint64_t turn = extents_.whole() ? 0 : lanes_.size() * extents_.extent_size() / slab_bytes;
    return frontier / slab_bytes + turn + config_.read_ahead_slabs +
           std::min<std::uint64_t>((retention_ + slab_bytes - 1) / slab_bytes, read_ahead_more_max);
  }
  /// The last slab that comes with the pass sooner or later. One lane far ahead of the others has to wait for it; a
  /// single sender never is, unless it asks for something else.
  [[nodiscard]] std::uint64_t pass_reach() const {
    return extents_.whole() ? pass_limit() : std::numeric_limits<std::uint64_t>::max();
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
      core_->strand().post(
          [core = core_, number, shared = std::move(shared)]() mutable { core->reread(number, std::move(shared)); });
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
    if (pass_filled_ == pass_number_) {
      if (auto slab = pass_slab_.lock()) begun = {pass_number_, std::move(slab)};
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
    core_->strand().post([core = core_, begun = std::move(begun), shared]() mutable {
      core->run_pass(std::exchange(begun, std::nullopt), std::move(*shared));
    });
  }

  /// Makes room: now, in lane 0's window; the other lanes are asked, one after another, and answer later.
  bool evict(Evict which) {
    if (home_lane_.evict(which)) return true;
    if (lanes_.size() > 1 && !std::exchange(evicting_, true)) ask_to_evict(1, which);
    return false;
  }
  void ask_to_evict(std::size_t lane, Evict which) {
    if (lane == lanes_.size()) {
      evicting_ = false;
      return;
    }
    on_lane(lane, [weak = weak_from_this(), post = post_, lane, which](LaneResidents& window) {
      const bool evicted = window.evict(which);
      post([weak, lane, which, evicted] {
        const auto self = weak.lock();
        if (!self || self->observer_ == nullptr) return;
        if (!evicted) return self->ask_to_evict(lane + 1, which);
        self->evicting_ = false;
        self->pump();
      });
    });
  }

  SourceReaderConfig config_;
  SlabAccount slabs_;
  PostToWorker post_;
  SourceObserver* observer_;  // nullptr once closed
  std::vector<LaneWay> ways_;
  std::shared_ptr<ReaderCore> core_;

  engine::ExtentMap extents_;  // whom a slab is for
  LaneResidents home_lane_;
  std::vector<LaneView> lanes_;
  std::function<void(std::size_t, TransferOffset)> on_frontier_;
  std::uint64_t retention_ = 0;  // of all lanes
  bool evicting_ = false;        // a lane was asked

  std::uint64_t pass_number_ = 0;             // slab where the pass goes on
  std::optional<std::uint64_t> pass_filled_;  // slab that it filled last
  std::weak_ptr<Slab> pass_slab_;             // its memory, if it is still somewhere
  std::uint64_t pass_end_ = 0;                // behind the last byte that it read
  bool pass_running_ = false;
  bool pass_waits_ = true;    // nothing is released beyond what was read
  bool pass_urgent_ = false;  // the sender waits for it: what is resident and not yet sent may go
  bool released_meanwhile_ = false;
  std::set<std::uint64_t> reading_;   // slabs being read again
  std::set<std::uint64_t> awaited_;   // missed while the pass that may bring them runs
  std::set<std::uint64_t> waiting_;   // to be read again when there is room
  std::set<std::uint64_t> patching_;  // where the patches begin that are being read
  SourceReaderStats stats_;
};

}  // namespace

std::shared_ptr<SourceReader> SourceReader::create(const SourceReaderConfig& config, std::unique_ptr<Source> source,
                                                   SlabAccount slabs, StorageExecutor& executor, PostToWorker post,
                                                   SourceObserver& observer, std::vector<LaneWay> more) {
  PENSTOCK_CHECK(source != nullptr);
  auto reader = std::make_shared<Reader>(config, std::move(slabs), std::move(post), observer, std::move(more));
  reader->start(std::move(source), executor);
  return reader;
}

}  // namespace penstock::storage
