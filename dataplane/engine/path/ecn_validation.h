#pragma once

#include <cstdint>
#include <optional>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/path/ecn_state.h"
#include "dataplane/engine/wire/ecn_mark.h"

namespace penstock::engine {

/// Finds out whether a path leaves ECN marks alone, by what the peer counted, and what congestion it tells of.
///
/// testing --ten marked--> unknown --an ACK with good counts--> capable --a black hole--> testing
///    `------------------ACK with good counts---------------------^
/// testing, unknown, capable --a fault--> failed, for ever on this path
/// Source: RFC 9000 section 13.4.2 and appendix A.4; what differs, and why: README.md. Believes nothing that the peer
/// says but what takes rate from us. Threads: one owner. Time: passed in, never read. Allocates nothing.
class EcnValidation {
 public:
  explicit EcnValidation(EcnUse use) : use_(use), state_(use == EcnUse::none ? EcnState::off : EcnState::testing) {}

  /// The batch that leaves now is to be marked ECT(0).
  [[nodiscard]] bool marks(TimePoint now);
  /// It left, with so many packets.
  void on_marked_sent(TimePoint now, std::uint64_t packets, Duration probe_timeout);

  /// What an acknowledgement, or time, told of packets of ours.
  struct Tidings {
    std::uint64_t marked_acked = 0;  // spurious losses included
    std::uint64_t marked_lost = 0;
    std::optional<std::uint64_t> newest_marked_acked = {};  // packet numbers
    std::optional<std::uint64_t> newest_plain_acked = {};   // without a mark
    std::optional<std::uint64_t> oldest_marked_lost = {};

    void clear() { *this = {}; }
  };
  /// `next` is the number that is sent next. How many losses were no congestion: marked packets that a black hole took.
  /// Requires: numbers of the present path alone (first()).
  [[nodiscard]] std::uint64_t on_tidings(const Tidings& news, PacketNumber next);

  /// What to tell congestion control of an ACK.
  struct Signal {
    std::uint64_t ce = 0;    // packets that newly met a queue that is too long
    bool begins = false;     // a packet was seen since the last such signal that met none
    bool withdrawn = false;  // no signal since one that began was a word of a queue
  };
  /// An ACK whose largest number is `largest`, after on_tidings for it; `counts` as the peer told with it. `queueing`:
  /// its round trip says that there is a queue.
  [[nodiscard]] Signal on_ack(PacketNumber largest, const std::optional<EcnCounts>& counts, PacketNumber next,
                              bool queueing);

  /// The path is another one: what was sent before `next` says nothing about it.
  void restart(PacketNumber next);
  /// Older numbers were sent on another path, or before the present test.
  [[nodiscard]] PacketNumber first() const { return first_; }

  [[nodiscard]] EcnState state() const { return state_; }
  [[nodiscard]] EcnFault fault() const { return fault_; }
  [[nodiscard]] std::uint64_t packets_marked() const { return sent_; }
  /// As the peer tells, the most that it ever did.
  [[nodiscard]] const EcnCounts& counts() const { return counts_; }

 private:
  void begin_test(PacketNumber next);
  void fail(EcnFault fault);
  [[nodiscard]] EcnFault judge() const;
  [[nodiscard]] bool round_was_all_ce(PacketNumber largest, PacketNumber next, bool queueing);

  EcnUse use_;
  EcnState state_;
  EcnFault fault_ = EcnFault::none;
  PacketNumber first_{};
  std::uint64_t sent_ = 0;  // marked, ever
  EcnCounts counts_;        // ever; never less than before
  std::uint64_t told_ce_ = 0;

  // Since first_:
  EcnCounts base_;  // counts_ at its begin
  std::uint64_t marked_ = 0;
  std::uint64_t acked_ = 0;  // of those
  std::optional<TimePoint> test_until_;
  std::optional<std::uint64_t> judged_;  // the largest number of an ACK
  std::uint32_t uncounted_ = 0;          // ACKs in a row of marked packets, without counts
  // Marked ones lost since the last one that arrived.
  std::uint64_t run_ = 0;
  std::optional<std::uint64_t> run_oldest_;
  bool plain_passed_ = false;  // sent after the oldest of them
  std::optional<std::uint64_t> newest_acked_;
  // Round trips in which nothing but CE arrived, without a queue.
  std::uint64_t round_end_ = 0;
  EcnCounts round_base_;
  std::uint64_t ect0_before_ = 0;  // at the last ACK that was judged
  bool signalled_ = false;         // and nothing else arrived since
  std::uint32_t ce_rounds_ = 0;
  std::uint64_t ce_packets_ = 0;
};

}  // namespace penstock::engine
