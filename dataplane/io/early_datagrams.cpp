#include "dataplane/io/early_datagrams.h"

#include <algorithm>
#include <utility>

namespace penstock::io {

void EarlyDatagrams::await(ConnectionId id, std::size_t bytes_max) {
  Awaited& awaited = awaited_[id.value];
  Pool& from = pool_for(awaited.bytes_max);
  Pool& to = pool_for(bytes_max);
  if (&from != &to) {
    if (awaited.bytes != 0 && !make_room(to, awaited.bytes, newest_)) drop(awaited);
    from.bytes -= awaited.bytes;
    to.bytes += awaited.bytes;
  }
  awaited.bytes_max = bytes_max;
}

void EarlyDatagrams::drop(Awaited& awaited) {
  pool_for(awaited.bytes_max).bytes -= awaited.bytes;
  awaited.bytes = 0;
  awaited.batches.clear();
}

void EarlyDatagrams::forget(ConnectionId id) { (void)take(id); }

std::deque<EarlyDatagrams::Batch> EarlyDatagrams::take(ConnectionId id) {
  const auto found = awaited_.find(id.value);
  if (found == awaited_.end()) return {};
  auto batches = std::move(found->second.batches);
  drop(found->second);
  awaited_.erase(found);
  return batches;
}

bool EarlyDatagrams::keep(Batch batch, ConnectionId id, std::span<const std::byte> bytes) {
  const auto found = awaited_.find(id.value);
  if (found == awaited_.end()) return false;
  Awaited& awaited = found->second;
  const std::size_t cost = batch_cost + bytes.size();
  // The id's own bound first: one peer's excess must not cost a look at all the others.
  if (awaited.bytes + cost > awaited.bytes_max) return false;
  newest_ = batch.arrived;
  Pool& pool = pool_for(awaited.bytes_max);
  if (!make_room(pool, cost, batch.arrived)) return false;
  if (this->bytes() == 0) oldest_ = batch.arrived;
  batch.bytes.assign(bytes.begin(), bytes.end());
  awaited.batches.push_back(std::move(batch));
  awaited.bytes += cost;
  pool.bytes += cost;
  return true;
}

bool EarlyDatagrams::make_room(const Pool& pool, std::size_t cost, TimePoint now) {
  if (pool.bytes + cost <= pool.bytes_max) return true;
  // What was taken since may have been the oldest; then one walk is in vain, and says how old the others are.
  if (now - oldest_ < kept_max) return false;
  oldest_ = now;
  for (auto& [id, awaited] : awaited_) {
    if (awaited.batches.empty()) continue;
    const TimePoint first = awaited.batches.front().arrived;
    if (now - first >= kept_max)
      drop(awaited);
    else
      oldest_ = std::min(oldest_, first);
  }
  return pool.bytes + cost <= pool.bytes_max;
}

}  // namespace penstock::io
