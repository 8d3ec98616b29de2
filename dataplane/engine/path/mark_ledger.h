#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/path/ecn_validation.h"
#include "dataplane/engine/wire/ecn_mark.h"

namespace penstock::engine {

/// Counts which marked packets of ours arrived and which are lost, and puts that to the validation of their path, an
/// input at a time: first all that the input told, then settle, then what it says of congestion.
/// What belongs to another path, or to a test that is over, is not counted. Threads: one owner. Time: passed in, never
/// read. Allocates nothing; constant time a packet.
class MarkLedger {
 public:
  explicit MarkLedger(EcnUse use) : validation_(use) {}

  /// What the batch that leaves now is to be marked with.
  [[nodiscard]] EcnMark mark(TimePoint now) { return validation_.marks(now) ? EcnMark::ect0 : EcnMark::none; }
  /// It left, marked, with so many packets.
  void on_sent(TimePoint now, std::uint64_t packets, Duration probe_timeout) {
    validation_.on_marked_sent(now, packets, probe_timeout);
  }

  /// A packet was acknowledged, perhaps after it had been taken for lost.
  void on_acked(std::uint64_t number, bool marked) {
    if (number < validation_.first().value) return;
    if (marked) ++news_.marked_acked;
    auto& newest = marked ? news_.newest_marked_acked : news_.newest_plain_acked;
    newest = std::max(newest, std::optional{number});
  }
  /// A packet is lost. Requires: numbers of one input ascend.
  void on_lost(std::uint64_t number, bool marked) {
    if (!marked || number < validation_.first().value) return;
    ++news_.marked_lost;
    if (!news_.oldest_marked_lost) news_.oldest_marked_lost = number;
  }
  /// All that the input told is counted. `next` is the number that is sent next. How many losses were no congestion.
  [[nodiscard]] std::uint64_t settle(PacketNumber next) {
    const std::uint64_t excused = validation_.on_tidings(news_, next);
    news_.clear();
    return excused;
  }
  /// EcnValidation::on_ack. Requires: settled.
  [[nodiscard]] EcnValidation::Signal on_ack(PacketNumber largest, const std::optional<EcnCounts>& counts,
                                             PacketNumber next, bool queueing) {
    return validation_.on_ack(largest, counts, next, queueing);
  }

  /// The path is another one, of which nothing that was sent before `next` tells.
  void restart(PacketNumber next) {
    validation_.restart(next);
    news_.clear();
  }
  [[nodiscard]] const EcnValidation& validation() const { return validation_; }

 private:
  EcnValidation validation_;
  EcnValidation::Tidings news_;
};

}  // namespace penstock::engine
