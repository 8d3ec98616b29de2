#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// Does a queue stand at the bottleneck? Yes when every RTT sample of half a round trip is an eighth above the minimum,
/// with the bounds of HyStart++ (RFC 9406 section 4.2; 2 ms for short paths instead of 4). A path whose round trips
/// differ by more than that anyway, by jitter or because its ACKs come in lumps, has to show more: what the calmest
/// round trips of late differed by, and what neighbouring samples go up and down by. Threads: one owner.
class QueueWatch {
 public:
  void on_sample(TimePoint now, Duration rtt) {
    if (samples_ > 0) {
      const Duration before = ring_[(samples_ - 1) % size].rtt;
      const auto divisor = static_cast<Duration::rep>(std::min(samples_, memory));
      rises_ += (std::max(rtt - before, Duration{}) - rises_) / divisor;
      falls_ += (std::max(before - rtt, Duration{}) - falls_) / divisor;
    }
    ring_[samples_++ % size] = {now, rtt};
    ++round_samples_;
    lowest_ = std::min(lowest_, rtt);
    highest_ = std::max(highest_, rtt);
  }
  void on_round() {
    if (round_samples_ >= needed) {
      const Duration spread = highest_ - lowest_;
      if (!noise_ || spread < *noise_)
        noise_ = spread;
      else
        noise_ = *noise_ + (spread - *noise_) / 16;
    }
    round_samples_ = 0;
    lowest_ = Duration::max();
    highest_ = {};
  }

  /// What RTT samples of a round trip differ by although no queue grows or shrinks.
  [[nodiscard]] Duration noise() const { return noise_.value_or(Duration{}); }

  /// What jitter alone may raise a sample by: known from the first round trip on, which noise() is not, and from round
  /// trips with few samples as well. A queue goes up or down for a while, jitter both ways at once: hence the lesser of
  /// both. Five of its steps are three standard deviations where delays are even or normal.
  [[nodiscard]] Duration unrest() const { return 5 * std::min(rises_, falls_); }

  [[nodiscard]] bool is_queueing(Duration smoothed, Duration minimum) const {
    if (samples_ < needed) return false;
    const Duration raised =
        minimum +
        std::max({noise(), unrest(),
                  std::clamp<Duration>(minimum / 8, std::chrono::milliseconds{2}, std::chrono::milliseconds{16})});
    const TimePoint since = ring_[(samples_ - 1) % size].at - smoothed / 2;
    for (std::size_t back = 1; back <= std::min(samples_, size); ++back) {
      const Sample& sample = ring_[(samples_ - back) % size];
      if (back > needed && sample.at < since) break;
      if (sample.rtt < raised) return false;
    }
    return true;
  }
  /// A queue begins to grow: two samples are a sixteenth above the minimum (1 to 8 ms), and half as far again as noise,
  /// or as what jitter does where that is as much as the sixteenth. Jitter counts as queue sooner than above, hence for
  /// startup alone, in which each eighth of a round trip is a tenth of a BDP of queue.
  [[nodiscard]] bool is_beginning(Duration minimum) const {
    if (samples_ < needed || !noise_) return false;
    const Duration raised = beginning_above(minimum);
    return ring_[(samples_ - 1) % size].rtt >= raised && ring_[(samples_ - 2) % size].rtt >= raised;
  }
  /// What a sample has to reach for that.
  [[nodiscard]] Duration beginning_above(Duration minimum) const {
    const Duration margin =
        std::clamp<Duration>(minimum / 16, std::chrono::milliseconds{1}, std::chrono::milliseconds{8});
    const Duration usual = unrest() >= margin ? std::max(noise(), unrest()) : noise();
    return minimum + std::max(margin, usual * 3 / 2);
  }

 private:
  struct Sample {
    TimePoint at{};
    Duration rtt{};
  };
  static constexpr std::size_t size = 32;
  static constexpr std::size_t needed = 4;
  // Samples. Fewer: a startup's own waves of queue, one a round trip, look like jitter.
  static constexpr std::size_t memory = 64;

  std::array<Sample, size> ring_{};
  std::size_t samples_ = 0;
  // This round trip.
  std::size_t round_samples_ = 0;
  Duration lowest_ = Duration::max();
  Duration highest_{};
  std::optional<Duration> noise_;
  Duration rises_{};  // from one sample to the next, on average
  Duration falls_{};
};

}  // namespace penstock::engine
