#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "common/time.h"

namespace penstock::engine {

/// When CLOSE is said: at once, three times more at PTO intervals, and again when the peer goes on talking, on the 1st,
/// 2nd, 4th, 8th.. datagram, so that nobody is made to talk by talking. Source: RFC 9000 section 10.2.1.
/// Threads: one owner. Time: passed in, never read.
class Goodbye {
 public:
  void owe() { owed_ = true; }
  [[nodiscard]] bool is_owed() const { return owed_; }
  /// An authentic datagram came although we are going.
  void on_datagram() {
    if (std::has_single_bit(++answers_)) owed_ = true;
  }
  /// It leaves now.
  void on_said(TimePoint now, Duration probe_timeout) {
    owed_ = false;
    if (repeats_ == repeats_max || repeat_at_) return;
    ++repeats_;
    repeat_at_ = now + probe_timeout;
  }
  /// Nullopt: none is waited for.
  [[nodiscard]] std::optional<TimePoint> repeat_at() const { return repeat_at_; }
  /// That moment has come.
  void on_repeat_due() {
    repeat_at_.reset();
    owed_ = true;
  }

 private:
  static constexpr std::uint32_t repeats_max = 3;

  bool owed_ = false;
  std::uint32_t repeats_ = 0;
  std::uint64_t answers_ = 0;  // datagrams that came since
  std::optional<TimePoint> repeat_at_;
};

}  // namespace penstock::engine
