#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/erasure/erasure_code.h"
#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/fec/repair_layout.h"
#include "dataplane/engine/fec/repair_policy.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/ranges/range_scheduler.h"
#include "dataplane/engine/source_window.h"
#include "dataplane/engine/wire/repair_frame.h"

namespace penstock::engine {

/// The sender's half of FEC: lays generations over what is outstanding, makes their repair symbols, and keeps losses
/// from being repeated for as long as those can still recover them. What is protected when: README.md of this folder.
/// With siblings no generation reaches beyond one extent, so that none speaks of bytes that another lane may get.
/// Bound: symbols_max symbols in generations, parity_max bytes of repair symbols (and one generation's). Cost: a
/// generation is encoded whole, in one poll (128 symbols of 1400 bytes: about 10 us for each repair symbol); an ACK
/// costs a walk over the generations that it says something of. Threads: one owner. Time: passed in, never read.
class RepairBook {
 public:
  static constexpr std::size_t symbols_max = 65536;
  static constexpr std::size_t parity_max = 4 * MiB;
  static constexpr std::size_t interleave_max = 64;        // generations over one stretch of transfer space
  static constexpr std::size_t interleave_fixed_max = 16;  // the same for a ratio that was given: it delays repair

  explicit RepairBook(const Fec& fec) : fec_(fec) {}

  // --- what to protect ---
  /// The peer agreed: from now on repair symbols may leave.
  void on_ratio(const RepairRatio& ratio) { ratio_ = ratio; }
  [[nodiscard]] const RepairRatio& ratio() const { return ratio_; }
  [[nodiscard]] bool is_active() const { return ratio_.repairs > 0; }
  /// New DATA is to be cut on the grid of symbols, so that one lost packet is one lost symbol. `ahead`: bytes that were
  /// never sent; `window`: what may be in flight.
  [[nodiscard]] bool cuts_data(std::uint64_t ahead, std::uint64_t window) const;
  /// A given ratio is due for so many new bytes below `frontier`: they are laid into generations.
  void protect_new(const RangeScheduler& scheduler, std::size_t datagram_size, std::uint64_t window);
  /// Nothing is left to send: all that is outstanding and not protected is laid into generations.
  void protect_rest(const RangeScheduler& scheduler, std::size_t datagram_size, Duration round_trip);

  // --- what leaves ---
  /// Some generation has repair symbols to send.
  [[nodiscard]] bool has_repair() const { return !queue_.empty(); }
  struct Outgoing {
    RepairFrame frame;  // its symbol is borrowed until the next call
    std::uint64_t generation;
  };
  /// The next repair symbol, which is then sent. Bytes that are not in `window` go to `wanted`, and their generation
  /// waits for on_source_ready. nullopt: none is left, or none that fits `datagram_size`.
  [[nodiscard]] std::optional<Outgoing> next(const RangeScheduler& scheduler, SourceWindow& window,
                                             std::size_t datagram_size, std::deque<Prefetch>& wanted);
  void on_sent(TimePoint now, const Outgoing& repair);
  void on_source_ready();

  // --- what became of it ---
  /// DATA of it left (again): it is at risk anew.
  void on_data_sent(TransferRange range);
  void on_acked(TransferRange range) { (void)deferred_.erase({range.begin.value, range.end.value}); }
  /// A packet with it was lost: `repeat` receives what no generation can recover, and is to be sent again now.
  void on_lost(TransferRange range, std::vector<TransferRange>& repeat);
  void on_repair_acked(std::uint64_t generation);
  void on_repair_lost(std::uint64_t generation);
  /// Bytes were asked for anew: no generation knows them, and those that did are over.
  void forget(TransferRange range);
  /// Everything goes another way from now on: what was kept back goes to `repeat`.
  void abandon(std::vector<TransferRange>& repeat);
  /// Lets go of generations that are complete, or failed: what the failed ones kept back goes to `repeat`.
  void review(TimePoint now, const RangeScheduler& scheduler, Duration round_trip, Duration probe_timeout,
              std::vector<TransferRange>& repeat);
  /// Review once more then, whatever happens.
  [[nodiscard]] std::optional<TimePoint> deadline() const { return deadline_; }
  /// Generations that review gave up before all of them had arrived.
  [[nodiscard]] std::uint64_t failed() const { return failed_; }
  /// Bytes of memory that repair symbols take.
  [[nodiscard]] std::size_t parity_memory() const;

 private:
  struct Generation {
    RepairLayout layout;
    std::size_t planned = 0;    // repair symbols
    std::size_t sent = 0;       // of those
    std::size_t in_flight = 0;  // of those
    std::size_t arrived = 0;
    bool encoded = false;
    bool over = false;
    bool changed = false;
    std::vector<std::byte> parity;  // until all is sent
    std::optional<TimePoint> last_sent_at;
    std::optional<TimePoint> resolved_at;  // all repair symbols acknowledged or lost
  };
  /// How many repair symbols a generation of so many symbols gets.
  struct Plan {
    std::size_t slots;
    std::size_t interleave_max;
    std::optional<std::size_t> fixed_repairs;
    Duration round_trip;
  };

  std::uint64_t lay(const RangeScheduler& scheduler, bytes::Interval within, std::size_t datagram_size,
                    const Plan& plan);
  void lay_stretch(std::span<const std::uint64_t> symbols, const SymbolGrid& grid, std::uint64_t end, const Plan& plan);
  [[nodiscard]] bool encode(Generation& generation, const RangeScheduler& scheduler, SourceWindow& window,
                            std::deque<Prefetch>& wanted);
  [[nodiscard]] Generation* find(std::uint64_t serial);
  void let_go(TransferRange range, std::vector<TransferRange>& repeat);
  void finish(Generation& generation);
  void drop_finished();

  Fec fec_;
  RepairRatio ratio_;
  std::deque<Generation> generations_;  // by serial, from first_serial_ on; those that are over among them
  std::uint64_t first_serial_ = 0;
  std::deque<std::uint64_t> queue_;   // serials with repair symbols to send; the first few take turns
  std::deque<std::uint64_t> parked_;  // their bytes are not in memory
  std::size_t parity_bytes_ = 0;
  std::size_t symbols_ = 0;  // in generations that are not over
  std::uint64_t failed_ = 0;
  bytes::IntervalSet protected_;   // bytes that a generation may recover
  bytes::IntervalSet deferred_;    // of those, lost
  std::uint64_t given_until_ = 0;  // by a given ratio, all new bytes below were laid
  std::optional<TimePoint> deadline_;
  std::vector<TransferRange> left_out_;  // lost, and not in the mask after all; for the next review
  erasure::ErasureCode code_;
  std::vector<std::uint64_t> found_;            // symbols, while laying
  std::vector<std::vector<std::byte>> padded_;  // short symbols, while encoding
};

}  // namespace penstock::engine
