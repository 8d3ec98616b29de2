#include "tests/sim/memory_source.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::sim {

MemorySource::MemorySource(EventQueue& events, std::span<const std::byte> truth, const SourceOptions& options,
                           std::function<void()> on_ready)
    : events_(events),
      truth_(truth),
      options_(options),
      on_ready_(std::move(on_ready)),
      memory_(truth.size()),
      states_((truth.size() + granule_size - 1) / granule_size, State::absent) {}

std::span<const std::byte> MemorySource::resident(TransferOffset at, std::size_t length_max) {
  const std::uint64_t slab_end = (at.value / engine::slab_size + 1) * engine::slab_size;
  const std::uint64_t limit = std::min({at.value + length_max, slab_end, std::uint64_t{memory_.size()}});
  std::uint64_t end = at.value;
  while (end < limit && states_[end / granule_size] == State::resident) {
    end = std::min((end / granule_size + 1) * granule_size, limit);
  }
  if (end <= at.value) return {};
  return std::span{memory_}.subspan(at.value, end - at.value);
}

void MemorySource::prefetch(TransferRange range) {
  PENSTOCK_CHECK(range.end.value <= memory_.size());
  if (range.empty()) return;
  // Part of it is better than none: the rest is asked for again when it is needed.
  const std::uint64_t first = range.begin.value / granule_size;
  const std::uint64_t last = std::min((range.end.value - 1) / granule_size, first + options_.granules_max / 2);
  for (std::uint64_t granule = first; granule <= last; ++granule) read(granule);
}

void MemorySource::on_progress(TransferOffset frontier, TransferOffset oldest_unacknowledged, std::uint64_t retention) {
  const std::uint64_t floor =
      std::min(oldest_unacknowledged.value, frontier.value - std::min(retention, frontier.value));
  for (std::size_t i = 0; i < oldest_first_.size();) {
    const std::uint64_t granule = oldest_first_[i];
    if ((granule + 1) * granule_size <= floor) {
      evict(granule);
    } else {
      ++i;
    }
  }
  const std::uint64_t first = frontier.value / granule_size;
  for (std::uint64_t granule = first; granule < states_.size() && granule < first + options_.granules_max / 4;
       ++granule) {
    if (states_[granule] == State::absent && in_memory_ < options_.granules_max) read(granule);
  }
}

void MemorySource::read(std::uint64_t granule) {
  if (states_[granule] != State::absent) return;
  make_room();
  if (in_memory_ >= options_.granules_max) return;  // all is being read: asked for again later
  states_[granule] = State::reading;
  ++in_memory_;
  ++reads_;
  events_.schedule(events_.now() + options_.latency, [this, granule] {
    const std::uint64_t begin = granule * granule_size;
    const std::uint64_t size = std::min(granule_size, memory_.size() - begin);
    std::copy_n(truth_.begin() + static_cast<std::ptrdiff_t>(begin), size,
                memory_.begin() + static_cast<std::ptrdiff_t>(begin));
    states_[granule] = State::resident;
    oldest_first_.push_back(granule);
    on_ready_();
  });
}

void MemorySource::make_room() {
  if (in_memory_ >= options_.granules_max && !oldest_first_.empty()) evict(oldest_first_.front());
}

void MemorySource::evict(std::uint64_t granule) {
  std::erase(oldest_first_, granule);
  const std::uint64_t begin = granule * granule_size;
  const std::uint64_t size = std::min(granule_size, memory_.size() - begin);
  std::fill_n(memory_.begin() + static_cast<std::ptrdiff_t>(begin), size, std::byte{0xdd});
  states_[granule] = State::absent;
  --in_memory_;
}

}  // namespace penstock::sim
