#include "dataplane/engine/path/ecn_validation.h"

#include <algorithm>
#include <utility>

namespace penstock::engine {
namespace {

// RFC 9000 appendix A.4. More: a path that drops them costs more of the first flight; fewer: mere loss takes them all.
constexpr std::uint64_t test_packets = 10;
constexpr int test_probe_timeouts = 3;
// A peer that counts tells with every ACK. Fewer: one datagram on its way from an older peer would do.
constexpr std::uint32_t uncounted_max = 10;
// Marked ones lost in a row, while others pass.
constexpr std::uint64_t black_hole_run = 10;
// Round trips of nothing but CE, each answered by a reduction, and no longer than the shortest: no queue is like that.
// Fewer: the overshoot of a start is taken for a broken path; more: on one we crawl for longer.
constexpr std::uint32_t ce_rounds_max = 6;
constexpr std::uint64_t ce_packets_min = 32;

}  // namespace

std::string_view to_string(EcnState state) {
  switch (state) {
    case EcnState::off:
      return "off";
    case EcnState::testing:
      return "testing";
    case EcnState::unknown:
      return "unknown";
    case EcnState::capable:
      return "capable";
    case EcnState::failed:
      return "failed";
  }
  return "";
}

std::string_view to_string(EcnFault fault) {
  switch (fault) {
    case EcnFault::none:
      return "none";
    case EcnFault::bleached:
      return "bleached";
    case EcnFault::rewritten:
      return "rewritten";
    case EcnFault::uncounted:
      return "uncounted";
    case EcnFault::impossible:
      return "impossible";
    case EcnFault::black_hole:
      return "black hole";
    case EcnFault::all_ce:
      return "all ce";
  }
  return "";
}

bool EcnValidation::marks(TimePoint now) {
  if (state_ == EcnState::testing && test_until_ && now >= *test_until_) state_ = EcnState::unknown;
  return state_ == EcnState::testing || (state_ == EcnState::capable && use_ == EcnUse::heeded);
}

void EcnValidation::on_marked_sent(TimePoint now, std::uint64_t packets, Duration probe_timeout) {
  sent_ += packets;
  marked_ += packets;
  if (state_ != EcnState::testing) return;
  if (!test_until_) test_until_ = now + test_probe_timeouts * probe_timeout;
  if (marked_ >= test_packets) state_ = EcnState::unknown;
}

std::uint64_t EcnValidation::on_tidings(const Tidings& news, PacketNumber next) {
  acked_ += news.marked_acked;
  newest_acked_ = std::max(newest_acked_, news.newest_marked_acked);
  if (newest_acked_ && run_oldest_ && *newest_acked_ > *run_oldest_) {
    run_ = 0;
    run_oldest_.reset();
    plain_passed_ = false;
  }
  // One that a later marked one has overtaken was lost by chance.
  if (news.oldest_marked_lost && !(newest_acked_ && *newest_acked_ > *news.oldest_marked_lost)) {
    run_ += news.marked_lost;
    run_oldest_ = std::min(run_oldest_.value_or(*news.oldest_marked_lost), *news.oldest_marked_lost);
  }
  if (run_oldest_ && news.newest_plain_acked && *news.newest_plain_acked > *run_oldest_) plain_passed_ = true;
  if (!plain_passed_ || state_ == EcnState::off || state_ == EcnState::failed) return 0;
  // A short transfer may have marked fewer than a test: then none of those was seen to pass.
  if (run_ < black_hole_run && !(state_ == EcnState::unknown && run_ >= marked_)) return 0;
  // What passed before may be an outage, behind which an unmarked probe was first: the next ten find out.
  if (state_ == EcnState::capable) {
    begin_test(next);
    return 0;
  }
  fail(EcnFault::black_hole);
  return run_;
}

EcnValidation::Signal EcnValidation::on_ack(PacketNumber largest, const std::optional<EcnCounts>& counts,
                                            PacketNumber next, bool queueing) {
  if (counts) {
    // Both only grow, and datagrams overtake each other.
    counts_.ect0 = std::max(counts_.ect0, counts->ect0);
    counts_.ect1 = std::max(counts_.ect1, counts->ect1);
    counts_.ce = std::max(counts_.ce, counts->ce);
  }
  if (state_ == EcnState::off || state_ == EcnState::failed) return {};
  // Only an ACK with the largest number yet was surely written after all that told of the packets acknowledged so far.
  if (largest < first_ || (judged_ && largest.value <= *judged_)) return {};
  judged_ = largest.value;
  if (!counts) {
    if (acked_ > 0 && ++uncounted_ >= uncounted_max) fail(EcnFault::uncounted);
    return {};
  }
  uncounted_ = 0;
  if (const EcnFault found = judge(); found != EcnFault::none) {
    fail(found);
    return {};
  }
  if (acked_ > 0) state_ = EcnState::capable;
  if (state_ != EcnState::capable) return {};
  if (round_was_all_ce(largest, next, queueing)) {
    fail(EcnFault::all_ce);
    return {.withdrawn = true};
  }
  if (counts_.ect0 > std::exchange(ect0_before_, counts_.ect0)) signalled_ = false;
  const std::uint64_t fresh = counts_.ce - std::exchange(told_ce_, counts_.ce);
  if (fresh == 0) return {};
  return {.ce = fresh, .begins = !std::exchange(signalled_, true)};
}

EcnFault EcnValidation::judge() const {
  if (counts_.ect1 > base_.ect1) return EcnFault::rewritten;
  if (counts_.ect0 > sent_ || counts_.ce > sent_ - counts_.ect0) return EcnFault::impossible;
  const std::uint64_t arrived = counts_.ect0 - base_.ect0 + counts_.ce - base_.ce;
  return arrived < acked_ ? EcnFault::bleached : EcnFault::none;
}

bool EcnValidation::round_was_all_ce(PacketNumber largest, PacketNumber next, bool queueing) {
  if (counts_.ect0 > round_base_.ect0) {
    ce_rounds_ = 0;
    ce_packets_ = 0;
  } else if (largest.value < round_end_ || counts_.ce == round_base_.ce) {
    return false;
  } else if (!queueing) {
    ++ce_rounds_;
    ce_packets_ += counts_.ce - round_base_.ce;
  }
  round_base_ = counts_;
  round_end_ = next.value;
  return ce_rounds_ >= ce_rounds_max && ce_packets_ >= ce_packets_min;
}

void EcnValidation::restart(PacketNumber next) {
  if (state_ == EcnState::off) return;
  fault_ = EcnFault::none;
  begin_test(next);
}

void EcnValidation::begin_test(PacketNumber next) {
  state_ = EcnState::testing;
  first_ = next;
  base_ = round_base_ = counts_;
  told_ce_ = counts_.ce;
  marked_ = acked_ = 0;
  test_until_.reset();
  judged_.reset();
  uncounted_ = 0;
  run_ = 0;
  run_oldest_.reset();
  plain_passed_ = false;
  newest_acked_.reset();
  round_end_ = next.value;
  ect0_before_ = counts_.ect0;
  signalled_ = false;
  ce_rounds_ = 0;
  ce_packets_ = 0;
}

void EcnValidation::fail(EcnFault fault) {
  state_ = EcnState::failed;
  fault_ = fault;
}

}  // namespace penstock::engine
