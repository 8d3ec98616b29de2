#include "dataplane/io/lane_placement.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/check.h"
#include "dataplane/io/steering.h"

namespace penstock::io {

LanePlacement::LanePlacement(std::size_t workers, std::function<std::uint64_t()> random)
    : random_(std::move(random)), loads_(workers) {
  PENSTOCK_CHECK(workers > 0 && workers <= 256);
}

ConnectionId LanePlacement::reserve(TimePoint now) {
  age(now);
  const std::size_t worker = least_loaded();
  ConnectionId id{};
  do {
    id = id_naming(worker, loads_.size(), random_());
  } while (!ids_.emplace(id.value, Reserved{.standing = Standing::fresh, .number = numbered_}).second);
  fresh_.push_back({.until = now + fresh_max, .id = id, .number = numbered_++});
  ++loads_[worker].fresh;
  ++loads_[worker].ids;
  return id;
}

void LanePlacement::on_lane(ConnectionId id) {
  const auto found = ids_.find(id.value);
  PENSTOCK_CHECK(found != ids_.end());
  Load& load = loads_[worker_of(id)];
  if (found->second.standing == Standing::lane) return;
  if (found->second.standing == Standing::fresh) --load.fresh;
  ++load.lanes;
  found->second.standing = Standing::lane;
}

void LanePlacement::release(ConnectionId id) {
  const auto found = ids_.find(id.value);
  if (found == ids_.end()) return;
  Load& load = loads_[worker_of(id)];
  if (found->second.standing == Standing::fresh) --load.fresh;
  if (found->second.standing == Standing::lane) --load.lanes;
  --load.ids;
  ids_.erase(found);
}

std::size_t LanePlacement::worker_of(ConnectionId id) const { return worker_named_by(id, loads_.size()); }

void LanePlacement::age(TimePoint now) {
  while (!fresh_.empty() && fresh_.front().until <= now) {
    const auto found = ids_.find(fresh_.front().id.value);
    if (found != ids_.end() && found->second.number == fresh_.front().number &&
        found->second.standing == Standing::fresh) {
      found->second.standing = Standing::idle;
      --loads_[worker_of(fresh_.front().id)].fresh;
    }
    fresh_.pop_front();
  }
}

std::size_t LanePlacement::least_loaded() const {
  const auto weight = [](const Load& load) { return std::tuple{load.lanes + load.fresh, load.ids}; };
  const auto least = std::min_element(loads_.begin(), loads_.end(),
                                      [&](const Load& a, const Load& b) { return weight(a) < weight(b); });
  return static_cast<std::size_t>(least - loads_.begin());
}

}  // namespace penstock::io
