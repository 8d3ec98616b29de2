#include "dataplane/io/early_datagrams.h"

#include <utility>

namespace penstock::io {

void EarlyDatagrams::drop(Awaited& awaited) {
  bytes_ -= awaited.bytes;
  awaited.bytes = 0;
  awaited.batches = {};
}

void EarlyDatagrams::forget(ConnectionId id) {
  const auto found = awaited_.find(id.value);
  if (found == awaited_.end()) return;
  drop(found->second);
  awaited_.erase(found);
}

std::vector<EarlyDatagrams::Batch> EarlyDatagrams::take(ConnectionId id) {
  const auto found = awaited_.find(id.value);
  if (found == awaited_.end()) return {};
  auto batches = std::move(found->second.batches);
  bytes_ -= found->second.bytes;
  awaited_.erase(found);
  return batches;
}

bool EarlyDatagrams::keep(Batch batch, ConnectionId id, std::span<const std::byte> bytes) {
  const auto found = awaited_.find(id.value);
  if (found == awaited_.end()) return false;
  Awaited& awaited = found->second;
  if (bytes_ + bytes.size() > total_max) drop_old(batch.arrived);
  if (awaited.bytes + bytes.size() > awaited.bytes_max || bytes_ + bytes.size() > total_max) return false;
  batch.bytes.assign(bytes.begin(), bytes.end());
  awaited.batches.push_back(std::move(batch));
  awaited.bytes += bytes.size();
  bytes_ += bytes.size();
  return true;
}

void EarlyDatagrams::drop_old(TimePoint now) {
  for (auto& [id, awaited] : awaited_)
    if (!awaited.batches.empty() && now - awaited.batches.front().arrived >= kept_max) drop(awaited);
}

}  // namespace penstock::io
