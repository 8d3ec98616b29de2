#include "dataplane/engine/lane/offload_budget.h"

#include <algorithm>

namespace penstock::engine {
namespace {

// A round trip longer than this is paced and acknowledged finely enough that no budget is needed.
constexpr Duration rtt_max = std::chrono::milliseconds{4};
// Eight GSO batches, of all lanes of a transfer together; more overruns receive buffers.
constexpr std::uint64_t budget_max = 512 * KiB;
// Where the budget begins again once it was halved to nothing, and how long without drops it takes to double. Sooner: a
// slow receiver drops again and again.
constexpr std::uint64_t budget_step = 16 * KiB;
constexpr Duration recovery_interval = std::chrono::seconds{1};
constexpr Duration drops_memory = std::chrono::seconds{1};

}  // namespace

OffloadBudget::OffloadBudget(std::size_t lanes) : max_(std::max(budget_max / lanes, budget_step)), limit_(max_) {}

std::uint64_t OffloadBudget::bytes(const RttEstimator& rtt, DataRate pacing) const {
  if (!rtt.has_sample() || rtt.smoothed() >= rtt_max) return 0;
  const Duration lag = ack_interval(rtt.smoothed()) - rtt.smoothed() / 8;
  return std::min(limit_, pacing.bytes_in(lag));
}

std::uint32_t OffloadBudget::on_receiver_drops(TimePoint now, std::uint32_t total, const RttEstimator& rtt) {
  const Duration since = now - changed_at_;
  if (total > drops_) {
    const std::uint32_t fresh = total - drops_;
    drops_ = total;
    // Once for the drops of one flight, as the window.
    if (!drops_at_ || since >= std::max(rtt.smoothed(), ack_interval(rtt.smoothed()))) {
      limit_ /= 2;
      changed_at_ = now;
    }
    drops_at_ = now;
    return fresh;
  }
  if (limit_ < max_ && since >= recovery_interval) {
    limit_ = std::min(max_, std::max(2 * limit_, budget_step));
    changed_at_ = now;
  }
  return 0;
}

bool OffloadBudget::drops_recent(TimePoint now) const { return drops_at_ && now - *drops_at_ < drops_memory; }

}  // namespace penstock::engine
