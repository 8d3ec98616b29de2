#include "dataplane/io/stray_exchange.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "common/check.h"
#include "dataplane/io/worker_loop.h"

namespace penstock::io {

/// A stray in an inbox; counts against its worker until it was taken, or was dropped with the inbox.
class StrayExchange::OnTheWay {
 public:
  OnTheWay(Stray carried, std::atomic<std::size_t>& counted) : stray(std::move(carried)), counted_(counted) {}
  ~OnTheWay() { counted_.fetch_sub(stray.size, std::memory_order_relaxed); }
  OnTheWay(const OnTheWay&) = delete;
  OnTheWay& operator=(const OnTheWay&) = delete;

  Stray stray;

 private:
  std::atomic<std::size_t>& counted_;
};

StrayExchange::StrayExchange(std::size_t workers) : members_(workers) {}

void StrayExchange::join(std::size_t worker, WorkerLoop& loop) { members_.at(worker).loop = &loop; }

void StrayExchange::on_lane_added(ConnectionId id, std::size_t worker) {
  const std::unique_lock lock{mutex_};
  PENSTOCK_CHECK(owners_.emplace(id.value, worker).first->second == worker);
}

void StrayExchange::on_lane_gone(ConnectionId id) {
  const std::unique_lock lock{mutex_};
  owners_.erase(id.value);
}

StrayExchange::Fate StrayExchange::pass_on(std::size_t met_by, ConnectionId id, std::size_t port,
                                           const ReceivedRun& run, std::span<const std::byte> batch) {
  std::size_t owner = met_by;
  {
    const std::shared_lock lock{mutex_};
    const auto found = owners_.find(id.value);
    if (found != owners_.end()) owner = found->second;
  }
  if (owner == met_by) return Fate::unknown;
  Member& member = members_[owner];
  if (member.stray_bytes.fetch_add(batch.size(), std::memory_order_relaxed) + batch.size() > stray_bytes_max) {
    member.stray_bytes.fetch_sub(batch.size(), std::memory_order_relaxed);
    return Fate::dropped;
  }
  Stray stray{.id = id,
              .port = port,
              .segment_size = std::min(run.segment_size, batch.size()),
              .from = run.from,
              .mark = run.mark,
              .to = run.to,
              .size = batch.size(),
              .bytes = std::make_unique_for_overwrite<std::byte[]>(batch.size())};
  std::copy(batch.begin(), batch.end(), stray.bytes.get());
  const auto carried = std::make_shared<OnTheWay>(std::move(stray), member.stray_bytes);
  const bool taken = member.loop->inbox().try_post([loop = member.loop, carried] { loop->take_stray(carried->stray); });
  return taken ? Fate::passed_on : Fate::dropped;
}

}  // namespace penstock::io
