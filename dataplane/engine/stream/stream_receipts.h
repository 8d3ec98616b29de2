#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::engine {

/// What came by a lane's stream, and when the sender must hear of it: at once after a quarter of a mebibyte, after a
/// refusal, and when all is here; a few milliseconds late otherwise. Threads: one owner. Time: passed in, never read.
class StreamReceipts {
 public:
  // Tuning: more often costs messages, which the control threads of both ends carry; less often costs the source
  // memory.
  static constexpr std::uint64_t bytes_max = 256 * KiB;
  static constexpr Duration delay_max = std::chrono::milliseconds{2};

  void on_taken(TimePoint now, std::uint64_t bytes) {
    ++messages_;
    untold_ += bytes;
    if (!due_at_) due_at_ = now + delay_max;
    if (untold_ >= bytes_max) due_at_ = now;
  }
  void on_refused(TimePoint now) {
    refused_.push_back(messages_++);
    due_at_ = now;
  }
  /// There is news that must not wait: new credit, or the end.
  void owe(TimePoint now) { due_at_ = now; }
  /// Something came by the stream since the sender was told last.
  [[nodiscard]] bool has_news() const { return due_at_.has_value(); }
  [[nodiscard]] std::optional<TimePoint> due_at() const { return due_at_; }
  /// What the sender is told now.
  [[nodiscard]] StreamAck take(const CreditFrame& credit) {
    due_at_.reset();
    untold_ = 0;
    return {.messages = messages_, .refused = std::exchange(refused_, {}), .credit = credit};
  }

 private:
  std::uint64_t messages_ = 0;
  std::uint64_t untold_ = 0;
  std::vector<std::uint64_t> refused_;  // at most what one turn brings: a refusal is told at once
  std::optional<TimePoint> due_at_;
};

}  // namespace penstock::engine
