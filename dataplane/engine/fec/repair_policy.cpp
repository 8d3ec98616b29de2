#include "dataplane/engine/fec/repair_policy.h"

#include <chrono>

#include "common/erasure/erasure_code.h"

namespace penstock::engine {
namespace {

constexpr std::uint64_t million = 1'000'000;
constexpr Duration costly_rtt = std::chrono::milliseconds{50};

std::uint64_t square_root(std::uint64_t value) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 31; bit > 0; bit >>= 1)
    if ((root + bit) * (root + bit) <= value) root += bit;
  return root;
}

}  // namespace

std::size_t repairs_for(std::size_t sources, std::uint32_t loss_ppm, Duration round_trip) {
  if (loss_ppm == 0 || sources == 0) return 0;
  const std::uint64_t loss = loss_ppm < million ? loss_ppm : million;
  const std::uint64_t quarters = round_trip < costly_rtt ? 8 : 11;  // z
  for (std::uint64_t m = 1; m < erasure::repair_symbols_max; ++m) {
    const std::uint64_t n = sources + m;
    const std::uint64_t deviation = square_root(n * loss * (million - loss));
    if (m * million >= n * loss + quarters * deviation / 4 + million / 2) return m;
  }
  return erasure::repair_symbols_max;
}

}  // namespace penstock::engine
