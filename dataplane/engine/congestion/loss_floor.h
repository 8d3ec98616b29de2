#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"
#include "dataplane/engine/congestion/delivery_log.h"
#include "dataplane/engine/congestion/loss_tally.h"
#include "dataplane/engine/congestion/policer_watch.h"

namespace penstock::engine {

/// p_floor: what the path loses by chance, whatever we do (PROTOCOL section 4). Learnt from packets that crossed the
/// path while its queue was empty; whoever calls sees to that. Those sent to probe only tell of policers.
///
/// Elasticity: of these, packets that were sent `slowed` are counted apart. If they are lost less often than those sent
/// at the full rate, the difference was our own doing (a policer, a very short queue), and only what is left counts.
///
/// What chance does to a flight: its mean and three standard deviations are forgiven. Losses that come in runs of L
/// deviate by about sqrt(2 L - 1) times as much, so the mean run is measured as well.
/// Bound: a fixed size. Integers only. Threads: one owner.
class LossFloor {
 public:
  static constexpr std::uint64_t cap_ppm = 250'000;  // PROTOCOL section 4

  void add(Pace pace, const LossTally& tally);
  /// A round trip is over: judges what came together. A loss that changed for two round trips replaces what was learnt
  /// before; else the past fades within seconds.
  void on_round(TimePoint now);
  [[nodiscard]] std::uint64_t ppm() const { return ppm_; }
  /// The last round trip showed that some of what was believed to be chance was not.
  [[nodiscard]] bool was_ours() const { return was_ours_; }
  /// Of so many packets, how many chance may well take: 3 standard deviations above the mean. 0 where nothing is lost.
  [[nodiscard]] std::uint64_t forgiven(std::uint64_t packets) const;
  /// More than chance takes, by more than the 2 % of the draft's LossThresh.
  [[nodiscard]] bool is_excess(const LossTally& flight) const;
  /// More than chance takes of any path, by what its runs tell: an outage is one.
  [[nodiscard]] static bool is_beyond_chance(const LossTally& flight);
  /// There was loss beyond chance, and no queue.
  void suspect_policer() { policers_.suspect(); }
  [[nodiscard]] bool is_policed() const { return policers_.is_policed(); }
  /// What chance takes there is not known yet; only packets sent slowed tell.
  [[nodiscard]] bool is_learning() const { return policers_.is_learning(); }

 private:
  /// What is known of packets sent at one pace. A share that changed for two round trips replaces what was known.
  class Share {
   public:
    void add(const LossTally& tally) { round_ += tally; }
    void on_round(const LossFloor& floor);
    void forget() { *this = {}; }
    void fade() { known_.halve(); }
    [[nodiscard]] const LossTally& known() const { return known_; }

   private:
    enum class Trend : std::uint8_t { none, rising, falling };
    LossTally known_;
    LossTally round_;
    Trend trend_ = Trend::none;
    LossTally changed_;  // while there is a trend
  };

  void judge();
  [[nodiscard]] LossTally all() const;
  [[nodiscard]] std::uint64_t deviation(std::uint64_t packets, std::uint64_t ppm, std::uint64_t known) const;

  Share level_;
  Share slowed_;
  PolicerWatch policers_;
  std::uint64_t ppm_ = 0;
  bool was_ours_ = false;
  std::optional<TimePoint> faded_at_;
};

}  // namespace penstock::engine
