#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "common/random.h"
#include "common/time.h"
#include "common/units.h"
#include "netem/link_settings.h"
#include "netem/token_bucket.h"

namespace penstock::netem {

/// One copy of an offered packet at the far end.
struct Delivery {
  TimePoint at;                                   // when its last bit arrives
  bool duplicate = false;                         // the second copy
  bool congested = false;                         // to be marked CE: it found the queue too long
  std::optional<std::uint64_t> flipped_bit = {};  // damaged: invert bit `n % 8` (0 = lowest) of byte `n / 8`
  bool operator==(const Delivery&) const = default;
};

/// None, one or two copies; holds them itself, so that offering allocates nothing.
class Deliveries {
 public:
  [[nodiscard]] const Delivery* begin() const { return items_.data(); }
  [[nodiscard]] const Delivery* end() const { return items_.data() + count_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] const Delivery& operator[](std::size_t i) const { return items_[i]; }
  void push_back(const Delivery& delivery);
  void mark();  // all of them: they are copies of one packet

 private:
  std::array<Delivery, 2> items_{};
  std::size_t count_ = 0;
};

/// What became of the packets offered so far. offered = lost_* + (delivered - duplicated).
struct LinkCounters {
  std::uint64_t offered_packets = 0;
  std::uint64_t offered_bytes = 0;      // sizes as offered, without `overhead`
  std::uint64_t delivered_packets = 0;  // duplicates included
  std::uint64_t delivered_bytes = 0;
  std::uint64_t lost_random = 0;
  std::uint64_t lost_burst = 0;
  std::uint64_t lost_queue = 0;  // drop-tail
  std::uint64_t lost_policer = 0;
  std::uint64_t lost_down = 0;
  std::uint64_t lost_mtu = 0;
  std::uint64_t marked = 0;  // CE, whatever became of them then
  std::uint64_t duplicated = 0;
  std::uint64_t corrupted = 0;  // copies
  std::uint64_t reordered = 0;  // chosen to be late
  std::uint64_t queue_bytes_max = 0;
  bool operator==(const LinkCounters&) const = default;
};

/// One direction of a link, pure: packets' times and sizes in, their delivery times out. Order of what happens to a
/// packet: down, mtu, loss (before), policer, queue and rate, loss (after), duplication, delay with jitter and
/// reordering, corruption. Sources: tc-netem(8) for the vocabulary; Gilbert (1960) and Elliott (1963) for bursts. Rates
/// are exact: the rest of a nanosecond is carried from packet to packet. Integers only; every kind of luck has its own
/// generator, so that turning one on changes nothing about the others. Bound: remembers one small record per packet
/// that waits in the queue, hence at most `queue.packets`. Threads: one owner. Time: passed in, never decreasing.
class LinkModel {
 public:
  LinkModel(const LinkSettings& settings, std::uint64_t seed);

  /// A packet of `size` bytes enters now; `heeds_marks`: it says that its sender does (ECT, or CE already). Copies come
  /// in order of `at` only where nothing reorders; a copy's time is never before `now`. Requires: `now` not before any
  /// earlier one.
  [[nodiscard]] Deliveries offer(TimePoint now, std::uint64_t size, bool heeds_marks = false);

  /// Changes the link while it runs. Packets that are queued or in flight keep the times they were given, and a lower
  /// delay lets new packets overtake them, as a change of route does. The burst state and all luck go on.
  void change(const LinkSettings& settings);

  [[nodiscard]] const LinkSettings& settings() const { return settings_; }
  [[nodiscard]] const LinkCounters& counters() const { return counters_; }
  /// What waits for the rate at `now`, the packet in service included.
  [[nodiscard]] std::uint64_t queued_bytes(TimePoint now);
  [[nodiscard]] std::uint64_t queued_packets(TimePoint now);

 private:
  struct Waiting {
    TimePoint departs;
    std::uint64_t bytes;
  };

  enum class Fate : std::uint8_t { passes, lost_by_chance, lost_in_burst };

  LinkModel(const LinkSettings& settings, Rng luck);
  Fate draw_loss();
  bool is_bursting();
  Deliveries lose(Fate fate);
  std::optional<TimePoint> pass_bottleneck(TimePoint now, std::uint64_t bytes);  // after forget_departed
  Delivery deliver(TimePoint departed, std::uint64_t size);
  void forget_departed(TimePoint now);

  LinkSettings settings_;
  LinkCounters counters_;
  // Split off one generator in this order.
  Rng loss_luck_;
  Rng burst_luck_;
  Rng jitter_luck_;
  Rng reorder_luck_;
  Rng duplicate_luck_;
  Rng corrupt_luck_;
  bool burst_is_bad_ = false;
  std::optional<TokenBucket> policer_;
  std::deque<Waiting> queue_;
  std::uint64_t queue_bytes_ = 0;
  TimePoint busy_until_{};            // the last queued packet's last bit leaves, whole nanoseconds
  std::uint64_t busy_remainder_ = 0;  // and this part of one more, in 1 / rate
  TimePoint last_in_order_{};         // no in-order packet may arrive before it
};

}  // namespace penstock::netem
