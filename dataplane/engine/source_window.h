#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/units.h"

namespace penstock::engine {

/// File bytes that are in memory, as the sender sees them. The engine never reads a file: what is not resident becomes
/// a prefetch event and is skipped, not waited for. Threads: the lane's worker.
class SourceWindow {
 public:
  virtual ~SourceWindow() = default;

  /// The bytes of transfer space from `at` on that lie contiguously in memory, `length_max` at most; fewer at the end
  /// of a slab or of the space. Empty: not resident now. The view lives until the sender's current poll_transmit
  /// returns.
  [[nodiscard]] virtual std::span<const std::byte> resident(TransferOffset at, std::size_t length_max) = 0;

  /// Called by the driver with the sender's prefetch events: start reading these bytes, if they are not there yet.
  virtual void prefetch(TransferRange range) = 0;

  /// Called by the driver once a turn in which the sender moved: read ahead from `frontier`; what lies below
  /// `oldest_unacknowledged` may go, of the rest keep about `retention` bytes for repeats.
  virtual void on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) = 0;
};

}  // namespace penstock::engine
