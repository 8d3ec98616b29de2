#include "dataplane/storage/lane_windows.h"

#include <atomic>
#include <utility>

#include "common/check.h"

namespace penstock::storage {

LaneWindows::LaneWindows(SlabAccount& slabs, std::vector<PostToWorker> workers,
                         const SlabSinkWindow::HandOver& hand_over, const std::function<void()>& on_quiet_lane)
    : workers_(std::move(workers)) {
  PENSTOCK_CHECK(!workers_.empty());
  for (std::size_t lane = 0; lane < workers_.size(); ++lane)
    windows_.push_back(std::make_unique<SlabSinkWindow>(slabs, hand_over, on_quiet_lane, workers_.size()));
}

void LaneWindows::on_each(const std::function<void(SlabSinkWindow&)>& act) {
  act(*windows_.front());
  for (std::size_t lane = 1; lane < windows_.size(); ++lane) {
    auto owner = owner_.lock();
    PENSTOCK_CHECK(owner != nullptr);
    workers_[lane]([owner = std::move(owner), window = windows_[lane].get(), act] { act(*window); });
  }
}

void LaneWindows::withhold(const std::vector<TransferRange>& ranges) {
  if (ranges.empty()) return;
  const auto shared = std::make_shared<const std::vector<TransferRange>>(ranges);
  on_each([shared](SlabSinkWindow& window) {
    for (const auto& range : *shared) window.withhold(range);
  });
}

void LaneWindows::expect_again(const std::vector<TransferRange>& ranges) {
  if (ranges.empty()) return;
  const auto shared = std::make_shared<const std::vector<TransferRange>>(ranges);
  on_each([shared](SlabSinkWindow& window) {
    for (const auto& range : *shared) window.expect_again(range);
  });
}

void LaneWindows::finish(TransferOffset end) {
  on_each([end](SlabSinkWindow& window) { window.finish(end); });
}

void LaneWindows::flush(std::function<void()> then) {
  if (windows_.size() == 1) {
    windows_.front()->flush();
    return then();
  }
  const auto left = std::make_shared<std::atomic<std::size_t>>(windows_.size());
  on_each([left, then = std::move(then)](SlabSinkWindow& window) {
    window.flush();
    if (left->fetch_sub(1) == 1) then();
  });
}

void LaneWindows::discard() {
  on_each([](SlabSinkWindow& window) { window.discard(); });
}

}  // namespace penstock::storage
