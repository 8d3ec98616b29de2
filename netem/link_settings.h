#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "common/check.h"
#include "common/time.h"
#include "common/units.h"

namespace penstock::netem {

/// A probability in parts per billion: an integer, so that one seed gives one result on any machine.
class Probability {
 public:
  static constexpr std::uint32_t certain_ppb = 1'000'000'000;

  constexpr Probability() = default;
  static constexpr Probability never() { return Probability{0}; }
  static constexpr Probability always() { return Probability{certain_ppb}; }
  /// Requires: n <= 1 000 000 000.
  static constexpr Probability parts_per_billion(std::uint32_t n) { return Probability{n}; }
  /// Requires: n <= 1 000 000.
  static constexpr Probability parts_per_million(std::uint32_t n) { return Probability{n * 1'000}; }
  /// Requires: n <= 100.
  static constexpr Probability percent(std::uint32_t n) { return Probability{n * 10'000'000}; }

  [[nodiscard]] constexpr std::uint32_t parts_per_billion() const { return ppb_; }
  auto operator<=>(const Probability&) const = default;

 private:
  explicit constexpr Probability(std::uint32_t ppb) : ppb_(ppb) { PENSTOCK_CHECK(ppb <= certain_ppb); }
  std::uint32_t ppb_ = 0;
};

/// Gilbert-Elliott loss: the link is in a good or a bad state and draws a change of state for every packet, first the
/// change, then the loss. Mean length of a bad period: 1 / to_good packets. Share of bad packets:
/// to_bad / (to_bad + to_good). The words of tc-netem(8) `loss gemodel p r 1-h 1-k`, in this order.
struct BurstLoss {
  Probability to_bad;                               // p
  Probability to_good = Probability::always();      // r
  Probability loss_in_bad = Probability::always();  // 1-h
  Probability loss_in_good = Probability::never();  // 1-k
  auto operator<=>(const BurstLoss&) const = default;
};

/// The bottleneck's drop-tail bound: a packet that would pass it is dropped. Counts what waits for the rate, the packet
/// in service included; packets in flight (delay) take no room. Without a rate nothing waits. A packet bigger than
/// `bytes` still passes through an empty queue, else the link would be closed for it.
struct QueueLimit {
  std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t packets = 1000;  // tc-netem's default limit
  auto operator<=>(const QueueLimit&) const = default;
};

/// Explicit congestion notification: a packet of a flow that heeds marks, and that finds so many bytes or more waiting
/// at the bottleneck, is marked CE as it enters (RFC 3168). The queue's own bound drops what it drops all the same.
/// nullopt: nothing is marked.
using MarkThreshold = std::optional<std::uint64_t>;

/// Drops what comes faster than `rate` and keeps no queue: a packet passes where `burst` bytes and what the rate has
/// allowed since have not been used up, else it is dropped, and none waits (token_bucket.h). A packet longer than
/// `burst` never passes.
struct Policer {
  DataRate rate;
  std::uint64_t burst = 0;  // bytes; never zero
  auto operator<=>(const Policer&) const = default;
};

enum class LossPlacement : std::uint8_t {
  after_bottleneck,   // a lost packet has used its share of the rate and of the queue (radio, fibre)
  before_bottleneck,  // a lost packet loads nothing (an access link ahead of the bottleneck)
};

enum class JitterOrder : std::uint8_t {
  kept,  // jitter stretches and squeezes but never overtakes, as a queue does
  free,  // each packet has a delay of its own, as tc-netem without a rate does
};

/// One direction of a link. Everything off: what is offered is delivered at once.
struct LinkSettings {
  bool down = false;   // an outage: what is offered is lost; what is in flight arrives
  Duration delay{0};   // one way, beyond the queue and the serialisation
  Duration jitter{0};  // delay is uniform in [delay - jitter, delay + jitter], never below zero
  JitterOrder jitter_order = JitterOrder::kept;
  std::optional<DataRate> rate = {};  // nullopt: unlimited; never zero (say `down`)
  QueueLimit queue = {};
  std::optional<Policer> policer = {};  // ahead of rate and queue; one that is told anew begins with all of its burst
  MarkThreshold mark_above = {};
  std::uint32_t overhead = 0;             // bytes that each packet takes of rate, queue and policer beyond its size
  std::optional<std::uint32_t> mtu = {};  // size + overhead above it: dropped
  LossPlacement loss_placement = LossPlacement::after_bottleneck;
  Probability loss = {};                // independent of other packets
  std::optional<BurstLoss> burst = {};  // in addition to `loss`
  Probability reorder = {};             // this share arrives `reorder_delay` late, so that later packets overtake it
  Duration reorder_delay{1'000'000};
  Probability duplicate = {};  // this share arrives twice, the copy with a jitter of its own
  Probability corrupt = {};    // this share arrives with one bit flipped; each copy draws for itself

  bool operator==(const LinkSettings&) const = default;
};

}  // namespace penstock::netem
