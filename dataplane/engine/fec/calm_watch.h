#pragma once

#include "common/time.h"
#include "dataplane/engine/ack/rtt_estimator.h"

namespace penstock::engine {

/// Whether losses say something of the path: not while a queue stands, ours in start-up perhaps, for then they may be
/// what it had no room for. A lane among several has few packets, and hears of such losses when the queue has gone:
/// what it had sent by the time that the last acknowledgements told of a queue says nothing either. Threads: one owner.
class CalmWatch {
 public:
  /// A round trip longer than the least one by this share of it has met a queue. Less: jitter is taken for one; more:
  /// the losses of shallow queues count.
  static constexpr int queue_share = 8;
  /// Samples in a row that are no jitter.
  static constexpr int samples_queued = 2;

  explicit CalmWatch(bool has_siblings) : has_siblings_(has_siblings) {}

  /// Acknowledgements came, perhaps with a sample.
  void on_news(TimePoint now, const RttEstimator& rtt) {
    queued_ = rtt.latest() > rtt.minimum() + rtt.minimum() / queue_share;
    in_a_row_ = queued_ ? in_a_row_ + 1 : 0;
    if (in_a_row_ >= samples_queued) queued_at_ = now;
  }
  /// `sent_at`: when the newest that was lost had been sent.
  [[nodiscard]] bool tells_of_path(TimePoint sent_at) const {
    return !queued_ && (!has_siblings_ || sent_at > queued_at_);
  }

 private:
  bool has_siblings_;
  bool queued_ = false;
  int in_a_row_ = 0;
  TimePoint queued_at_{};
};

}  // namespace penstock::engine
