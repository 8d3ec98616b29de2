#include "control/session/mark_watch.h"

#include <string_view>
#include <utility>

namespace penstock::control {
namespace {

std::string_view reason_of(engine::EcnFault fault) {
  switch (fault) {
    case engine::EcnFault::none:
      break;
    case engine::EcnFault::bleached:
      return "marks are wiped off on the way";
    case engine::EcnFault::rewritten:
      return "marks are changed on the way";
    case engine::EcnFault::uncounted:
      return "the other end does not say what marks arrive";
    case engine::EcnFault::impossible:
      return "the other end counts more marks than were sent";
    case engine::EcnFault::black_hole:
      return "what is marked does not arrive";
    case engine::EcnFault::all_ce:
      return "everything is marked as congested, whatever the rate";
  }
  return "";
}

}  // namespace

std::optional<std::string> MarkWatch::on_stats(const engine::LaneStats& stats) {
  if (std::exchange(fault_, stats.ecn_fault) != stats.ecn_fault) {
    if (fault_ == engine::EcnFault::none) return "ECN marks are tried again: the path has changed";
    return "ECN can not be used on this path, and congestion shows by losses alone: " + std::string{reason_of(fault_)};
  }
  // A sender hears of them, a receiver sees them.
  const std::uint64_t marked = stats.marks_told.ce + stats.marks_received.ce;
  if (fault_ != engine::EcnFault::none || marked == 0 || std::exchange(congested_, true)) return std::nullopt;
  return "a queue on the path marks packets instead of dropping them (ECN)";
}

std::string ecn_word(engine::EcnState state, engine::EcnFault fault) {
  std::string word{to_string(state)};
  if (fault != engine::EcnFault::none) word.append(": ").append(to_string(fault));
  return word;
}

}  // namespace penstock::control
