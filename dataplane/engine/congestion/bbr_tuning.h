#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "common/time.h"
#include "common/units.h"

/// The numbers of `bbr`, and what gets worse on either side. Ours alone: the peer need not know them.
namespace penstock::engine::bbr {

// Draft section "Startup": 277, 4 ln 2, the least that doubles the rate in each round trip. PROTOCOL section 4 wants
// the full rate within 8 round trips; from 64 packets to 15 MB that is more than doubling. Faster: more queue at the
// end, and with it waste: over 1 % of ten seconds at 250 ms if the window grew by twice what left the path.
inline constexpr std::uint64_t startup_percent = 350;
inline constexpr std::uint64_t startup_growth_percent = 175;  // of what left the path, added to the window
inline constexpr std::uint64_t startup_window_percent = 190;  // paced over a round trip
inline constexpr std::uint64_t drain_percent = 50;            // draft: DrainPacingGain
// One round trip drains what one of UP left. Draft: ProbeBW_DOWN, 90, which takes two and a half.
inline constexpr std::uint64_t down_percent = 75;
// While it is found out whether less is lost when less is sent: so much below what arrives.
inline constexpr std::uint64_t test_margin_percent = 2;
// Fewer: loss of our own making looks like chance; more: each test costs what chance loses for as long as it takes.
inline constexpr std::uint64_t test_packets = 1'024;
inline constexpr std::int64_t test_rtt_divisor = 4;  // at least a quarter of a round trip
inline constexpr std::int64_t test_rtts_max = 2;
// Draft: 125 alone. While what arrives grows with it, the next step follows, up to doubling (PROTOCOL section 4).
inline constexpr std::array<std::uint64_t, 4> up_percents{125, 160, 220, 277};
// Instead of the first step, where the last probe brought less than a fifth of what it tried. More: a quarter of a BDP
// overflows a short queue at the cost of those who have little; less: more room is noticed late.
inline constexpr std::uint64_t up_percent_gentle = 110;
inline constexpr std::uint64_t gentle_gain_divisor = 5;
inline constexpr std::uint64_t cruise_percent =
    99;  // draft: PacingMarginPercent; none: a queue grows between two probes
// Through a policer, whose bucket the rest fills: what it holds is all that lets the bursts of others pass. More: each
// packet that comes between two of ours is dropped; less: rate is given away.
inline constexpr std::uint64_t cruise_percent_policed = 95;
// Of packets in a row. Fewer: bursts of chance are not learnt from; more: what a peer without a lane did not keep is
// taken for a policer's.
inline constexpr std::uint64_t hole_min = 32;
// p (1 - p) 10^4 packets tell a share of p to a hundredth.
inline constexpr std::uint64_t ppm_a_packet = 100;
// Behind a queue, of the average. More: a full queue's own drops raise the rate; less: no more than that of cruise, and
// the rate sinks from cycle to cycle.
inline constexpr std::uint64_t luck_percent = 103;
inline constexpr std::uint64_t window_percent = 200;          // draft: DefaultCwndGain
inline constexpr std::uint64_t window_percent_up = 225;       // draft: ProbeBW_UP
inline constexpr std::uint64_t window_percent_startup = 400;  // samples tell of a rate a round trip and a half late
// Where others fill the queue a window of two BDPs would be our share, and not the rate: in a queue of two BDPs two
// thirds of it at most, of which less again is held the next time.
inline constexpr std::uint64_t window_percent_contended = 400;
// Round trips with a queue throughout: our own DOWN, two round trips at most, did not drain it. Fewer: a queue of our
// own is taken for others'; more: a late-comer waits longer for his share.
inline constexpr std::uint64_t contended_rounds = 3;
inline constexpr std::uint64_t window_min_packets = 4;  // draft: MinPipeCwnd
inline constexpr std::uint64_t offload_quanta = 3;      // draft: offload_budget
inline constexpr std::uint64_t window_max = 4 * GiB;    // beyond any path; keeps every product in range
inline constexpr std::uint64_t rate_min = 1'000;        // bytes a second
inline constexpr std::uint64_t rate_max = 125'000'000'000;

// Draft: BBR.ExtraAckedFilterLen, ten round trips, as two halves.
inline constexpr std::uint32_t aggregation_half_rounds = 5;

// The delivery log keeps so many records a round trip. Fewer: samples blur; more: it remembers fewer round trips.
inline constexpr std::int64_t records_a_round = 64;

// From one probe to the next (PROTOCOL section 4: <= 8 RTT or 1 s). Sooner: a queue most of the time; later: others'
// leaving is noticed late.
inline constexpr std::uint64_t wait_rounds_min = 5;  // and refill and up take two and a half
inline constexpr std::uint64_t wait_rounds_max = 6;
inline constexpr std::uint32_t fruitless_max = 3;  // twice as long after each probe that gained nothing, but 1 s
inline constexpr std::uint64_t wait_rounds_first_min = 1;  // after startup, which may have been cut short
inline constexpr std::uint64_t wait_rounds_first_max = 2;
inline constexpr Duration wait_min = std::chrono::milliseconds{25};  // round trips of microseconds are no cycle
inline constexpr Duration wait_max = std::chrono::seconds{1};
inline constexpr std::int64_t wait_rtts_at_least = 4;
// Through a policer a probe costs all who share it their packets, and one that is due may be put off for so long.
// Linux' bbr waits 48 round trips there, and so do we after three that gained nothing.
inline constexpr Duration wait_max_policed = std::chrono::seconds{5};
// Cut by losses to less than this part of what is believed, a sender there sends little enough to tell chance: for so
// many round trips, before others have taken what it left. Without: a share of chance that rises, or that a slow path
// took long to tell, slows it further and further. Longer: others' excess passes for chance.
inline constexpr std::uint64_t cut_percent_policed = 75;
inline constexpr std::uint64_t cut_rounds_policed = 4;
// What chance takes there is learnt for so long at once. Less: until it is known all loss counts as our own.
inline constexpr Duration learning_max = std::chrono::seconds{1};
inline constexpr std::int64_t learning_rtts = 8;
// Of the longest wait, drawn anew each time: two flows that always probe together gain nothing from each other.
inline constexpr std::uint64_t wait_percent_min = 60;

// Of the shortest round trip. More unrest: neighbouring samples tell nothing of a queue that comes and goes within one.
inline constexpr std::int64_t calm_divisor = 32;
// Startup sends two and a half times as much as before, so a queue too short to show drops more than this. Less: random
// loss that is not known yet keeps startup from being resumed.
inline constexpr std::uint64_t startup_loss_divisor = 8;
// Of the samples after it ended. Measured: a queue raises three quarters of them and more, jitter a third at most.
inline constexpr std::uint64_t startup_queued_divisor = 2;
inline constexpr std::uint64_t startup_stalled_rounds = 3;  // draft: full_bw_count
inline constexpr std::uint64_t drain_rounds_max = 3;        // draft: Drain
// DOWN for longer does not drain: the RTT has changed, or others fill the queue.
inline constexpr std::uint64_t down_rounds_doubtful = 2;
// After 1, 2, 4, 8 cycles and so on DOWN lasts two round trips longer where packets are lost by chance, to see whether
// fewer are when less is sent: PROTOCOL section 4. Seldomer: loss of our own making is believed longer.
inline constexpr std::uint64_t elasticity_cycles_max = 16;
inline constexpr std::uint64_t elasticity_floor_ppm = 5'000;
inline constexpr std::uint64_t floor_step_ppm = 10'000;

inline constexpr Duration probe_rtt_interval = std::chrono::seconds{5};  // draft: ProbeRTTInterval
inline constexpr Duration probe_rtt_min = std::chrono::milliseconds{10};
inline constexpr Duration probe_rtt_max = std::chrono::milliseconds{200};  // draft: ProbeRTTDuration
inline constexpr std::int64_t probe_rtt_rtts = 10;

// The long bound, of what was in flight when too much was lost. All that share the queue give way by the same part, and
// grow by about as many bytes: so they come to have as much (Chiu and Jain, 1989). More: they stay what they are.
inline constexpr std::uint64_t long_bound_percent = 90;
// The same where a queue overflows although we do not probe, or after a probe has been judged. More: CUBIC, which falls
// to 70 and needs seconds to be back, never gets more than it had.
inline constexpr std::uint64_t room_bound_percent = 80;
// After a loss behind a queue the probes of who has more than half are gentle for so much of what CUBIC needs until it
// has again what it gave up. More: who came last waits longer; less: what the others gave up is ours before they are
// back.
inline constexpr std::int64_t recovery_percent = 130;
// Of what a probe tried, what it brought less than a half of: elasticity, as above.
inline constexpr std::uint64_t large_gain_divisor = 2;
// The long bound grows by so much in the next probe that meets it, twice that in the one after, and so on. Faster: who
// reacts to each loss (cubic) never recovers; slower: a false alarm lasts.
inline constexpr std::uint64_t long_step_divisor = 256;
// At least a datagram for each so long since the last probe: where the round trip is long, doubling comes seldom.
inline constexpr Duration long_step_time = std::chrono::milliseconds{150};

// A lane that follows another sends no faster than a quarter above what it saw arrive: the first step of a probe. Less:
// one that fell behind takes long to come back; more: one whose path is worse than the leader's loses more there.
inline constexpr std::uint64_t follow_percent = 125;
// Round trips with too little to send until a lane gives up its lead. Fewer: each short pause is a change.
inline constexpr std::uint64_t limited_rounds = 2;

// Of what is in flight, where a queue marks without our probing (CE). More: the queue stays; less: rate is given away.
inline constexpr std::uint64_t marked_percent = 85;

}  // namespace penstock::engine::bbr
