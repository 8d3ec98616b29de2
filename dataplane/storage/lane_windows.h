#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "common/units.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/slab_sink_window.h"

namespace penstock::storage {

/// The windows of a sink, one for each lane, each on its lane's worker; what the sink says to all of them, on the home
/// worker, which is lane 0's. With one lane everything happens at once, where it is said.
/// Threads: home, but for `at` (any) and what it gives (the lane's worker).
class LaneWindows {
 public:
  /// `workers`: the way to each lane's, home's first. Both callbacks run on any lane's worker.
  LaneWindows(SlabAccount& slabs, std::vector<PostToWorker> workers, const SlabSinkWindow::HandOver& hand_over,
              const std::function<void()>& on_quiet_lane = {});

  /// Who is kept alive while something is under way to another worker. Before anything else, unless there is one lane.
  void set_owner(const std::shared_ptr<void>& owner) { owner_ = owner; }
  [[nodiscard]] std::size_t size() const { return windows_.size(); }
  [[nodiscard]] SlabSinkWindow& at(std::size_t lane) { return *windows_.at(lane); }

  void withhold(const std::vector<TransferRange>& ranges);
  void expect_again(const std::vector<TransferRange>& ranges);
  void finish(TransferOffset end);
  /// Hands every open slab on; `then` is called when all have been, on some lane's worker.
  void flush(std::function<void()> then);
  void discard();

 private:
  void on_each(const std::function<void(SlabSinkWindow&)>& act);

  std::vector<PostToWorker> workers_;
  std::vector<std::unique_ptr<SlabSinkWindow>> windows_;
  std::weak_ptr<void> owner_;
};

}  // namespace penstock::storage
