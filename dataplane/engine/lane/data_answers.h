#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// Since when the file bytes that leave by datagrams are without an answer, whatever becomes of smaller packets: a path
/// may carry pings and acknowledgements, and no full datagram. Repair symbols count as the bytes that they stand for.
/// A loss changes nothing, because what was lost leaves again. Threads: one owner. Time: passed in, never read.
class DataAnswers {
 public:
  /// Packet `number` leaves with data. After a pause of that length what was left open before counts no more: it was
  /// never sent again, so nobody waits for it.
  void on_sent(TimePoint now, std::uint64_t number, Duration pause) {
    if (!since_ || now - newest_at_ >= pause) since_ = now;
    newest_at_ = now;
    newest_ = number;
  }
  /// Packet `number`, which carried data, was acknowledged.
  void on_acked(TimePoint now, std::uint64_t number) {
    on_arrived(now);
    if (number >= newest_) since_.reset();
  }
  /// Data is known to have crossed the path, though it is not acknowledged: the sink had no room for it.
  void on_arrived(TimePoint now) {
    answered_at_ = now;
    if (since_) since_ = now;
  }
  /// All that is on its way counts as lost, and what follows goes elsewhere.
  void restart() { since_.reset(); }

  [[nodiscard]] std::optional<TimePoint> answered_at() const { return answered_at_; }
  /// The first departure after that, or that moment itself; nullopt: nothing left after what was acknowledged.
  [[nodiscard]] std::optional<TimePoint> unanswered_since() const { return since_; }
  /// Number of the packet that left last. Requires: unanswered_since().
  [[nodiscard]] std::uint64_t newest() const { return newest_; }

 private:
  std::optional<TimePoint> answered_at_;
  std::optional<TimePoint> since_;
  TimePoint newest_at_{};
  std::uint64_t newest_ = 0;
};

}  // namespace penstock::engine
