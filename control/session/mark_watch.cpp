#include "control/session/mark_watch.h"

#include <algorithm>
#include <utility>

namespace penstock::control {

std::string_view ecn_reason(engine::EcnFault fault) {
  switch (fault) {
    case engine::EcnFault::none:
      break;
    case engine::EcnFault::bleached:
      return "marks are wiped off on the way";
    case engine::EcnFault::rewritten:
      return "marks are changed on the way";
    case engine::EcnFault::uncounted:
      return "no mark is told of: all are wiped off on the way, or the other end is too old to count them";
    case engine::EcnFault::impossible:
      return "the other end counts more marks than were sent";
    case engine::EcnFault::black_hole:
      return "what is marked does not arrive";
    case engine::EcnFault::all_ce:
      return "everything is marked as congested, whatever the rate";
  }
  return "";
}

std::optional<std::string> MarkWatch::on_stats(const engine::LaneStats& stats) {
  if (std::exchange(fault_, stats.ecn_fault) != stats.ecn_fault) {
    if (fault_ == engine::EcnFault::none) return "ECN marks are tried again: the path has changed";
    return "ECN can not be used on this path, and congestion shows by losses alone: " + std::string{ecn_reason(fault_)};
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

std::string ecn_answer(engine::EcnState state, engine::EcnFault fault) {
  if (state == engine::EcnState::capable) return "usable";
  if (fault == engine::EcnFault::none) return "";
  std::string word{to_string(fault)};
  std::ranges::replace(word, ' ', '_');
  return word;
}

}  // namespace penstock::control
