#include "dataplane/storage/discarding_sink.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>
#include <vector>

#include "dataplane/storage/lane_windows.h"
#include "dataplane/storage/manifest_validator.h"
#include "dataplane/storage/slab_sink_window.h"

namespace penstock::storage {

namespace {

class DiscardingSink final : public Sink, public std::enable_shared_from_this<DiscardingSink> {
 public:
  DiscardingSink(std::uint32_t roots, SlabAccount slabs, std::vector<PostToWorker> workers, SinkObserver& observer)
      : slabs_(std::move(slabs)),
        post_(workers.front()),
        observer_(&observer),
        windows_(slabs_, std::move(workers), [this](FilledSlab slab) { drop(slab); }),
        validator_(roots) {}
  void start() { windows_.set_owner(shared_from_this()); }

  engine::SinkWindow& window() override { return windows_.at(0); }
  engine::SinkWindow& window_of(std::size_t lane) override { return windows_.at(lane); }
  void on_given_up(std::size_t lane, TransferRange range) override { windows_.at(lane).hand_on_within(range); }

  void on_entries(std::uint64_t first_index, std::vector<ManifestEntry> entries) override {
    if (failed_) return;
    if (first_index != validator_.entries() || ended_)
      return fail({ErrorCode::PATH_REFUSED, "the manifest is refused: a part of it is missing"});
    SinkVerdicts verdicts;
    for (const auto& entry : entries) {
      const std::uint64_t begin = validator_.bytes();
      if (auto accepted = validator_.accept(entry); !accepted) return fail(std::move(accepted).error());
      if (entry.type == FileType::regular) ++files_;
      for (const auto& hole : entry.holes)
        verdicts.withhold.push_back({{begin + hole.offset}, {begin + hole.offset + hole.length}});
    }
    verdicts.decided = validator_.entries();
    verdicts.space_end = {validator_.bytes()};
    windows_.withhold(verdicts.withhold);
    tell([verdicts = std::move(verdicts)](SinkObserver& observer) { observer.on_verdicts(verdicts); });
  }
  void on_left_out() override { validator_.allow_missing_roots(); }
  void on_manifest_end(std::uint64_t entries, std::uint64_t bytes) override {
    if (failed_) return;
    if (auto finished = validator_.finish(entries, bytes); !finished) return fail(std::move(finished).error());
    ended_ = true;
    windows_.finish({bytes});
  }
  void on_digests(DigestRun) override {}  // of bytes that are gone
  void fail_entry(std::uint64_t, Error) override { ++files_failed_; }

  void audit() override {
    windows_.flush(
        [self = shared_from_this()] { self->tell([](SinkObserver& observer) { observer.on_audited({}); }); });
  }
  void commit() override {
    SinkTotals totals;
    totals.files = files_ - std::min(files_, files_failed_);
    totals.bytes = bytes_;
    totals.bytes_received = bytes_;
    totals.files_failed = files_failed_;
    tell([totals](SinkObserver& observer) { observer.on_committed(totals); });
  }
  void checkpoint(std::function<void()> done) override {
    tell([done = std::move(done)](SinkObserver&) { done(); });
  }
  void on_bandwidth_delay_product(std::uint64_t bytes) override { slabs_.set_bandwidth_delay_product(bytes); }
  void close() override {
    observer_ = nullptr;
    windows_.discard();
  }
  SinkProgress progress() const override { return {.bytes_written = bytes_, .bytes_durable = bytes_}; }

 private:
  void drop(const FilledSlab& slab) {
    for (const auto& run : slab.runs) bytes_ += run.size();
    // Its memory goes back when the caller lets go of it: asked a moment later, there is room.
    tell([](SinkObserver& observer) { observer.on_room(); });
  }
  void fail(Error error) {
    failed_ = true;
    tell([error = std::move(error)](SinkObserver& observer) { observer.on_sink_failed(error); });
  }
  /// Later, at home, as a sink that works on other threads would: the caller is in the middle of something.
  void tell(std::function<void(SinkObserver&)> news) {
    post_([weak = weak_from_this(), news = std::move(news)] {
      const auto self = weak.lock();
      if (self && self->observer_ != nullptr) news(*self->observer_);
    });
  }

  SlabAccount slabs_;
  PostToWorker post_;
  SinkObserver* observer_;  // nullptr once closed
  LaneWindows windows_;
  ManifestValidator validator_;
  std::uint64_t files_ = 0;
  std::uint64_t files_failed_ = 0;
  std::atomic<std::uint64_t> bytes_{0};  // lanes drop theirs on their own workers
  bool ended_ = false;
  bool failed_ = false;
};

}  // namespace

std::shared_ptr<Sink> make_discarding_sink(std::uint32_t roots, SlabAccount slabs, std::vector<PostToWorker> workers,
                                           SinkObserver& observer) {
  auto sink = std::make_shared<DiscardingSink>(roots, std::move(slabs), std::move(workers), observer);
  sink->start();
  return sink;
}

}  // namespace penstock::storage
