#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/time.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::control {

/// How much bulk may stand before a message in the control channel, told from how fast the channel takes it:
/// milliseconds of it, whatever the path. Threads: one owner, but frame_max for any. Time: passed in, never read.
class DataPace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Tuning. More: messages wait longer; less: the kernel runs dry between two turns of a busy thread.
  static constexpr Duration ahead = std::chrono::milliseconds{12};
  static constexpr std::size_t ahead_least = std::size_t{16} * 1024;
  static constexpr std::size_t ahead_most = std::size_t{256} * 1024;
  static constexpr Duration frame_time = std::chrono::milliseconds{50};
  static constexpr std::size_t frame_least = std::size_t{4} * 1024;
  static constexpr Duration measure_over = std::chrono::milliseconds{100};

  /// So many bytes were given to TLS, after waiting `blocked` for room. Time without waiting is no evidence: where
  /// there is little to send, the channel counts as fast, and nothing stands in it.
  void on_written(Time now, std::size_t bytes, Duration blocked) {
    bytes_ += bytes;
    blocked_ += blocked;
    if (!since_) since_ = now;
    if (now - *since_ < measure_over) return;
    __extension__ using Wide = unsigned __int128;
    const auto in = [&](Duration time) {
      return static_cast<std::size_t>(
          std::min<Wide>(Wide{bytes_} * static_cast<std::uint64_t>(time.count()) /
                             static_cast<std::uint64_t>(std::max<Duration::rep>(blocked_.count(), 1)),
                         ahead_most));
    };
    ahead_max_ = std::clamp(in(ahead), ahead_least, ahead_most);
    frame_max_.store(std::clamp(in(frame_time), frame_least, engine::stream_payload_usual), std::memory_order_relaxed);
    since_ = now;
    bytes_ = 0;
    blocked_ = {};
  }

  /// Bytes in TLS, and again in the kernel, above which bulk waits.
  [[nodiscard]] std::size_t ahead_max() const { return ahead_max_; }
  [[nodiscard]] std::size_t frame_max() const { return frame_max_.load(std::memory_order_relaxed); }

 private:
  std::size_t ahead_max_ = std::size_t{64} * 1024;
  std::atomic<std::size_t> frame_max_{std::size_t{16} * 1024};
  std::optional<Time> since_;
  std::uint64_t bytes_ = 0;
  Duration blocked_{};
};

}  // namespace penstock::control
