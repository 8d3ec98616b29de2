#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock::engine {

/// Do others take our share faster than flows that heed losses could? Those (Reno, CUBIC) are seconds in growing by
/// what a loss has cost them, so beside them our rate sinks by some percent a second. BBR version 1 heeds none: it
/// probes every eight round trips, and who gives way to it is down to a tenth of what he had before anything that can
/// be seen of losses tells the two apart. Bound: a fixed size. Threads: one owner.
class ShareWatch {
 public:
  struct Round {
    std::uint64_t bandwidth;  // ours, bytes a second
    std::uint64_t in_flight;  // packets, of all lanes
    bool contended;           // behind a queue that nothing of ours drains
  };

  /// Each round trip that nothing of our own limited.
  void on_round(std::uint64_t round, const Round& now) {
    if (now.contended && now.bandwidth < held_ / 100 * kept_percent) {
      pressed_until_ = round + memory;
      held_ = 0;
    }
    if (now.bandwidth >= held_ || round > held_at_ + std::min(within_max, now.in_flight / packets_a_round)) {
      held_ = now.bandwidth;
      held_at_ = round;
    }
  }
  /// What we had says nothing about what we have.
  void begin_anew() { held_ = 0; }

  /// They do, or did not long ago.
  [[nodiscard]] bool is_pressed(std::uint64_t round) const { return round < pressed_until_; }

 private:
  // Of what we had at the beginning of so many round trips. Less kept: BBR takes most of it first; more, or longer:
  // CUBIC, long after a loss, takes as much.
  static constexpr std::uint64_t kept_percent = 75;
  static constexpr std::uint64_t within_max = 64;
  // Small windows come back sooner: Reno's grows by a packet a round trip, CUBIC's by half of one at least.
  static constexpr std::uint64_t packets_a_round = 3;
  // Six cycles of BBR. Shorter: it takes the rest in between; longer: those who heed losses are met with none for long.
  static constexpr std::uint64_t memory = 48;

  std::uint64_t held_ = 0;
  std::uint64_t held_at_ = 0;
  std::uint64_t pressed_until_ = 0;
};

}  // namespace penstock::engine
