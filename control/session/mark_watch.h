#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dataplane/engine/events.h"

namespace penstock::control {

/// What became of ECN on the way of a transfer's data, told when it changes: that marks can not be used there and why,
/// that they can again, that a queue marked for the first time. Once each, however often it is asked; a path that
/// changes may tell anew. Threads: one owner.
class MarkWatch {
 public:
  /// News for people, if these counters have any.
  [[nodiscard]] std::optional<std::string> on_stats(const engine::LaneStats& stats);

 private:
  engine::EcnFault fault_ = engine::EcnFault::none;
  bool congested_ = false;
};

/// "capable", "failed: bleached": a word for logs.
[[nodiscard]] std::string ecn_word(engine::EcnState state, engine::EcnFault fault);

/// Whether ECN can be used on a path, as far as a test of it says: "usable", or what is wrong in one word ("bleached",
/// "uncounted"...); empty: the test has not come to an end.
[[nodiscard]] std::string ecn_answer(engine::EcnState state, engine::EcnFault fault);
/// The same fault as a sentence's half, for people; empty: none.
[[nodiscard]] std::string_view ecn_reason(engine::EcnFault fault);

}  // namespace penstock::control
