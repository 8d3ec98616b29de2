#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>

#include "common/bytes/interval_set.h"
#include "common/units.h"
#include "dataplane/engine/source_window.h"
#include "dataplane/storage/reader_core.h"

namespace penstock::storage {

/// What is in memory for one lane of a source, and lent to its Sender. Who reads decides what comes in (Reader, at
/// home); here it is kept until it is acknowledged, or has to make room. Threads: the lane's worker, but for misses().
class LaneResidents final : public engine::SourceWindow {
 public:
  /// What home hears, as a call on the lane's worker: bytes that are missing; how far the sender is, and that memory
  /// went back.
  struct Home {
    std::function<void(TransferRange)> on_missing;
    std::function<void(TransferOffset frontier, std::uint64_t retention, bool freed)> on_progress;
  };
  explicit LaneResidents(Home home) : home_(std::move(home)) {}

  // engine::SourceWindow
  [[nodiscard]] std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void prefetch(TransferRange range) override { home_.on_missing(range); }
  void on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) override;

  /// Bytes of one slab came in.
  void take(const FilledRanges& filled);
  /// So did a part of one that had made room. Of the patches the one used longest ago goes when all hold more than
  /// patched_bytes_max.
  void take(const Patch& patch);
  /// These are served as zeros: their file can not be read.
  void fail(TransferRange range) { failed_.insert({range.begin.value, range.end.value}); }
  static constexpr std::size_t patched_bytes_max = 512 * KiB;
  enum class Evict : std::uint8_t { sent, any };
  /// Forgets the slab used longest ago, of those that were sent once or of all. False: there is none.
  bool evict(Evict which);
  /// These bytes are another lane's.
  void drop(bytes::Interval range);
  void clear();

  [[nodiscard]] std::uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

 private:
  struct Resident {
    SharedSlab slab;
    bytes::IntervalSet valid;
    std::uint64_t touched = 0;
  };
  struct Patched {
    std::shared_ptr<std::vector<std::byte>> bytes;
    std::uint64_t touched = 0;
  };
  using Patches = std::map<std::uint64_t, Patched>;  // by offset; none overlap
  /// The first that ends behind `at`.
  [[nodiscard]] Patches::iterator patch_behind(std::uint64_t at);
  Patches::iterator forget(Patches::iterator patch);

  Home home_;
  std::map<std::uint64_t, Resident> resident_;  // by slab number
  Patches patches_;
  std::size_t patched_bytes_ = 0;
  bytes::IntervalSet failed_;
  std::uint64_t turn_ = 0;
  std::uint64_t frontier_ = 0;
  std::atomic<std::uint64_t> misses_{0};
};

}  // namespace penstock::storage
