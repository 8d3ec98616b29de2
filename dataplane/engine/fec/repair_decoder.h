#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "common/erasure/erasure_code.h"
#include "common/units.h"
#include "dataplane/engine/fec/repair_layout.h"
#include "dataplane/engine/ranges/received_ranges.h"
#include "dataplane/engine/sink_window.h"
#include "dataplane/engine/wire/repair_frame.h"

namespace penstock::engine {

/// The receiver's half of FEC: keeps repair symbols of generations of which too much is missing, and computes what is
/// missing as soon as it can. Only authentic frames come here; nothing is kept for generations that miss nothing.
/// Bound: generations_max, and memory_max bytes of symbols (of all lanes of a transfer together, but for
/// memory_least for each), however many a hostile sender opens; the oldest goes first
/// and is then not decoded. While one is decoded, at most twice its own bytes beside. Cost: a walk over the layout a
/// frame; decoding reads all of the generation once for every four to six missing symbols. Threads: one owner.
class RepairDecoder {
 public:
  static constexpr std::size_t generations_max = 256;
  static constexpr std::size_t memory_max = 4 * MiB;
  static constexpr std::size_t memory_least = 256 * KiB;
  /// Tuning: what a generation of usual datagrams is computed with. Less: allocated again for each.
  static constexpr std::size_t scratch_kept = 512 * KiB;

  explicit RepairDecoder(std::size_t lanes = 1) : memory_max_(std::max(memory_max / lanes, memory_least)) {}

  /// A recovered symbol's bytes: some of them may be here already.
  struct Recovered {
    TransferRange range;
    std::span<const std::byte> bytes;
  };

  /// Takes a frame in. What it completed; the view dies at the next call. Requires: all that `ranges` says is here was
  /// handed to `window`, and the frame lies within what may be sent.
  [[nodiscard]] std::span<const Recovered> on_repair(const RepairFrame& frame, const ReceivedRanges& ranges,
                                                     SinkWindow& window);
  /// Bytes arrived otherwise: that may be all that a generation waited for.
  void on_data(TransferRange range);
  /// What that completed, a generation a call; empty: nothing more. The same view, and requirements.
  [[nodiscard]] std::span<const Recovered> poll(const ReceivedRanges& ranges, SinkWindow& window);
  /// Bytes went to another lane: no generation that may speak of them waits any more.
  void forget(TransferRange range);
  /// The views that were given are dead: memory beyond scratch_kept that was needed to compute them goes back.
  void rest();
  /// Some generation waits: on_data and poll are worth calling.
  [[nodiscard]] bool waits() const { return !open_.empty(); }
  [[nodiscard]] std::size_t open_generations() const { return open_.size(); }
  [[nodiscard]] std::size_t memory() const { return memory_; }
  /// Bytes kept to compute with, beside those.
  [[nodiscard]] std::size_t scratch() const { return results_.capacity() + padded_bytes_; }
  /// Generations that had enough repair symbols, but whose other bytes were not in memory any more.
  [[nodiscard]] std::uint64_t undecodable() const { return undecodable_; }
  /// Generations that had to make room for others.
  [[nodiscard]] std::uint64_t crowded_out() const { return crowded_out_; }

 private:
  struct Kept {
    std::uint8_t index;
    std::vector<std::byte> symbol;
  };
  struct Generation {
    RepairLayout layout;
    std::vector<Kept> repairs;
    bool changed = false;
  };
  using Generations = std::deque<Generation>;  // oldest first

  void drop(Generations::iterator which);
  void crowd_out_oldest();
  /// What of `layout` is not here.
  void find_missing(const RepairLayout& layout, const ReceivedRanges& ranges);
  [[nodiscard]] std::span<const Recovered> decode(const Generation& generation, SinkWindow& window);
  [[nodiscard]] const std::byte* fetch(TransferRange range, std::size_t size, SinkWindow& window);

  std::size_t memory_max_;
  Generations open_;
  std::size_t memory_ = 0;
  std::uint64_t undecodable_ = 0;
  std::uint64_t crowded_out_ = 0;
  erasure::ErasureCode code_;
  std::vector<std::uint8_t> missing_;  // slots, of the generation in hand
  std::vector<Recovered> recovered_;
  std::vector<std::byte> results_;
  std::deque<std::vector<std::byte>> padded_;  // symbols that are short, or lie in pieces
  std::size_t padded_used_ = 0;
  std::size_t padded_bytes_ = 0;  // capacity of all of them
};

}  // namespace penstock::engine
