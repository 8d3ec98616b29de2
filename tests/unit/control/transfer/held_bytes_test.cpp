#include "control/transfer/held_bytes.h"

#include <doctest/doctest.h>

#include <limits>

#include "common/units.h"

using namespace penstock;
using namespace penstock::control;

namespace {

storage::Verdict verdict(std::uint64_t index, storage::Action action, std::vector<storage::BlockRun> held = {}) {
  storage::Verdict made;
  made.index = index;
  made.action = action;
  made.held = std::move(held);
  return made;
}

}  // namespace

TEST_CASE("held bytes: what was done before and the blocks that are held count, once they are decided") {
  HeldBytes held;
  for (const std::uint64_t size : {std::uint64_t{100}, 3 * MiB + 5, std::uint64_t{7}, std::uint64_t{40}})
    held.on_listed(size);
  CHECK(held.bytes() == 0);
  const std::vector<storage::Verdict> first{verdict(0, storage::Action::done_before)};
  held.on_decided(1, first);
  CHECK(held.bytes() == 100);
  const std::vector<storage::Verdict> second{verdict(1, storage::Action::held, {{0, 1}, {2, 2}}),
                                             verdict(3, storage::Action::skip)};
  held.on_decided(4, second);
  CHECK(held.bytes() == 100 + 2 * MiB + 5);  // blocks 0 and 2, and the short last one
}

TEST_CASE("held bytes: a peer's blocks beyond the file's end count for nothing") {
  HeldBytes held;
  held.on_listed(10);
  held.on_listed(10);
  const std::vector<storage::Verdict> lies{
      verdict(0, storage::Action::held, {{5, 1}}),
      verdict(1, storage::Action::held, {{std::numeric_limits<std::uint64_t>::max(), 1}})};
  held.on_decided(9, lies);
  CHECK(held.bytes() == 0);
}
