#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/random.h"
#include "common/units.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine {

/// Decides which bytes of the one linear transfer space leave next: lost ones first, then new ones in order (or, as a
/// test of the far end, shuffled within a window of shuffle_window_chunks). Bytes that are settled (acknowledged, or
/// withheld) are passed over. A range is cut anew each time to the datagram size of the moment, and never across a slab
/// boundary. New bytes obey the peer's credit; repeats need none.
/// What turns out not to be in memory is set aside until on_source_ready. Cost: constant time a chunk along a run,
/// a binary search at its ends. Threads: one owner.
class RangeScheduler {
 public:
  RangeScheduler(ChunkOrder order, std::uint64_t initial_credit, Rng rng);

  /// Space below `end` may be sent. Never shrinks.
  void offer(TransferOffset end);
  void withhold(TransferRange range);
  /// Repair: these bytes are sent again, acknowledged or not.
  void resend(TransferRange range);
  void on_acked(TransferRange range);
  void on_lost(TransferRange range);
  /// Credit only grows; what is below what we know already changes nothing.
  void on_credit(const CreditFrame& credit);
  void on_source_ready();

  struct Chunk {
    TransferOffset at;
    std::uint64_t length;
    bool repeat;
  };
  /// The bytes to send next, `length_max` at most. nullopt: none may be sent now; see blocked_by.
  [[nodiscard]] std::optional<Chunk> next(std::uint64_t length_max);
  /// The first `length` bytes of the chunk that next() gave were sent.
  void on_sent(const Chunk& chunk, std::uint64_t length);
  /// The chunk is not in memory: it and its neighbours in the slab wait for on_source_ready. What should be fetched.
  TransferRange set_aside(const Chunk& chunk);

  enum class Blocked : std::uint8_t { nothing_to_send, source, receiver_credit };
  /// Why next() had nothing.
  [[nodiscard]] Blocked blocked_by() const;

  [[nodiscard]] TransferOffset oldest_unacknowledged() const;
  [[nodiscard]] TransferOffset frontier() const;
  [[nodiscard]] TransferOffset offered() const { return {offered_}; }
  /// Bytes that are acknowledged or withheld.
  [[nodiscard]] std::uint64_t settled() const { return settled_.size(); }
  /// All that was offered is settled, and nothing is to be repeated.
  [[nodiscard]] bool is_drained() const;

 private:
  void stage_shuffled(std::uint64_t length_max);
  [[nodiscard]] std::optional<bytes::Interval> next_new_run();
  void advance(bytes::Interval sent);
  [[nodiscard]] std::uint64_t new_bytes_allowed() const { return credit_.credit - first_time_sent_; }

  ChunkOrder order_;
  Rng rng_;
  CreditFrame credit_;
  std::uint64_t offered_ = 0;
  std::uint64_t frontier_ = 0;         // never sent from here on, but for what is staged
  std::uint64_t first_time_sent_ = 0;  // bytes that took credit
  bytes::Interval run_;                // unsettled new bytes from the frontier on, as far as known
  bytes::IntervalSet settled_;
  bytes::IntervalSet lost_;        // to be sent again
  bytes::IntervalSet uncredited_;  // beyond the frontier: withheld once, to be repaired now
  bytes::IntervalSet waiting_;     // of those, the ones that are not in memory
  bool frontier_waits_ = false;
  std::vector<bytes::Interval> staged_;        // shuffled order: new chunks that have their credit, last one next
  std::vector<bytes::Interval> staged_aside_;  // of those, the ones that are not in memory
};

inline constexpr std::size_t shuffle_window_chunks = 2048;

}  // namespace penstock::engine
