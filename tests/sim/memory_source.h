#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "dataplane/engine/source_window.h"
#include "tests/sim/event_queue.h"

namespace penstock::sim {

struct SourceOptions {
  Duration latency{0};              // of a read
  std::size_t granules_max = 1024;  // resident at most; a granule is 64 KiB
};

/// A source in memory that behaves like one on disk: bytes become resident some time after they were asked for, few
/// fit, and what was evicted is overwritten with rubbish, so that a view kept too long shows in the content.
class MemorySource final : public engine::SourceWindow {
 public:
  static constexpr std::uint64_t granule_size = 64 * KiB;

  /// `on_ready` runs when a read finishes. Borrowed for life: `events`, `truth` (the transfer's content).
  MemorySource(EventQueue& events, std::span<const std::byte> truth, const SourceOptions& options,
               std::function<void()> on_ready);

  std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) override;
  void prefetch(TransferRange range) override;
  void on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) override;

  [[nodiscard]] std::uint64_t reads() const { return reads_; }

 private:
  enum class State : std::uint8_t { absent, reading, resident };

  void read(std::uint64_t granule);
  void make_room();
  void evict(std::uint64_t granule);

  EventQueue& events_;
  std::span<const std::byte> truth_;
  SourceOptions options_;
  std::function<void()> on_ready_;
  std::vector<std::byte> memory_;
  std::vector<State> states_;
  std::deque<std::uint64_t> oldest_first_;  // resident granules in order of arrival
  std::size_t in_memory_ = 0;               // reading or resident
  std::uint64_t reads_ = 0;
};

}  // namespace penstock::sim
