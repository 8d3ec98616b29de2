#include "dataplane/engine/lane/tail_copies.h"

#include <algorithm>

namespace penstock::engine {
namespace {

constexpr std::uint64_t million = 1'000'000;
// So few packets may always be copied: the end of a short transfer on a bad path.
constexpr std::uint64_t allowance_min = 16;
constexpr std::uint64_t window_divisor = 4;
// Enough copies are as many as leave one of so many tails with a packet missing. More: copies that hardly ever help.
constexpr std::uint64_t tails_per_failure = 8;

}  // namespace

std::uint64_t TailCopies::wanted(const Outlook& outlook) const {
  const std::uint64_t allowed = outlook.sent / tail_copies_divisor + outlook.window / window_divisor + allowance_min;
  if (allowed <= sent_ || outlook.lost == 0 || outlook.sent <= outlook.in_flight) return 0;
  const std::uint64_t ppm = std::min(outlook.lost * million / (outlook.sent - outlook.in_flight), million);
  // What is still on its way for the first time will be lost in the same proportion, and wants copies as well.
  const std::uint64_t repeats =
      std::max({outlook.repeats_in_flight, outlook.in_flight * ppm / million, std::uint64_t{1}});
  std::uint64_t needed = 0;
  for (std::uint64_t missing = repeats * tails_per_failure * ppm / million; missing > 0 && needed < tail_copies_max;
       missing = missing * ppm / million)
    ++needed;
  // Half of what is left: what is lost all the same costs less to copy, since it is less.
  return std::min(needed, (allowed - sent_) / 4 * 3 / repeats);
}

}  // namespace penstock::engine
