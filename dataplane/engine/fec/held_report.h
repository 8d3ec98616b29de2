#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "common/units.h"
#include "dataplane/engine/ranges/received_ranges.h"
#include "dataplane/engine/wire/ack_frame.h"

namespace penstock::engine {

/// Which held ranges ACKs tell of: those around recently recovered bytes, each in a number of ACKs, those told least
/// first. What lies around grows as more is recovered, so at the end of a round one range says it all.
/// Bound: pieces_max; the oldest goes first, and its bytes are sent again. Threads: one owner.
class HeldReport {
 public:
  static constexpr std::size_t pieces_max = 8192;
  static constexpr std::size_t ranges_told_max = 24;  // in one ACK: 400 bytes at most
  static constexpr std::uint8_t repeats = 6;          // as packet numbers are (ack/ack_tracker.h)

  void on_recovered(TransferOffset at);
  /// For the ACK that leaves now. The view dies at the next call.
  [[nodiscard]] HeldData next(const ReceivedRanges& ranges);
  /// That ACK left, and said it.
  void on_told();
  /// What next() gave would be worth an ACK of its own.
  [[nodiscard]] std::uint64_t recovered() const { return recovered_; }

 private:
  struct Piece {
    TransferOffset at;
    std::uint8_t left;
  };
  std::deque<Piece> pieces_;  // told least first
  std::vector<TransferRange> ranges_;
  std::uint64_t recovered_ = 0;
};

}  // namespace penstock::engine
