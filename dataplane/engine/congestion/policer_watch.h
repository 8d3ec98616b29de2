#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/engine/congestion/delivery_log.h"
#include "dataplane/engine/congestion/loss_tally.h"

namespace penstock::engine {

/// Is the bottleneck a policer, which drops what exceeds a rate and queues nothing? No delay tells of it. Sending less
/// does where we are alone; where others fill what we leave, all lose alike, and it looks like chance. But sending more
/// makes more lost. So packets sent to probe are compared with all others: lost more often, beyond chance and without a
/// queue, they give the policer away. Each new sign takes a new probe: what older ones lost is no word of a path that
/// has since come to lose less.
///
/// While one is believed in, only packets sent well below the rate (`slowed`) tell of chance, and of those the best of
/// the last four stretches: chance takes its share of each, others' excess does not.
/// Source of the idea: Flach et al., "An Internet-Wide Analysis of Traffic Policing", SIGCOMM 2016; Linux' tcp_bbr.c
/// ("long-term bandwidth") takes a fifth of all being lost for the sign.
/// Bound: a fixed size. Integers only. Threads: one owner.
class PolicerWatch {
 public:
  // Tuning, in round trips after the last sign. More: who has left a policer is slow for longer; fewer: one probe that
  // a full bucket let pass, or two, and what is known is forgotten.
  static constexpr std::uint64_t rounds_believed = 256;
  // Fewer: others' loss passes for chance again; more: what chance really takes is learnt late.
  static constexpr std::uint64_t stretch_packets = 256;
  // Of the first stretch, before anything is known. More: who was wrong and sends next to nothing stays there.
  static constexpr std::uint64_t first_packets = 128;

  /// Of packets that met no queue. What was sent at the full rate is passed to on_round.
  void add(Pace pace, const LossTally& tally);
  /// A round trip is over; `rest`: what is known of all that was not sent to probe.
  void on_round(const LossTally& rest);
  /// Loss beyond chance, and no queue.
  void suspect();
  [[nodiscard]] bool is_policed() const { return rounds_left_ > 0; }
  /// A policer is believed in, and what chance takes there is not known yet.
  [[nodiscard]] bool is_learning() const { return is_policed() && stretches_ == 0; }
  /// What chance takes, as far as is known since a policer is believed in; else 0.
  [[nodiscard]] std::uint64_t chance_ppm() const;

 private:
  LossTally probing_;
  LossTally fresh_;   // of these, this round trip's
  LossTally slowed_;  // this stretch
  std::array<std::uint64_t, 4> stretches_ppm_{};
  std::size_t stretches_ = 0;  // in all
  std::uint64_t rounds_left_ = 0;
};

}  // namespace penstock::engine
