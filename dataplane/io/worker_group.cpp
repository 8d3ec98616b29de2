#include "dataplane/io/worker_group.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace penstock::io {

std::size_t WorkerGroup::workers_default() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // Fails on machines with more processors than a cpu_set_t has bits.
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return workers_max;
  return std::clamp<std::size_t>(static_cast<std::size_t>(CPU_COUNT(&allowed)), 1, workers_max);
}

Result<std::unique_ptr<WorkerGroup>> WorkerGroup::create(const WorkerGroupConfig& config) {
  PENSTOCK_CHECK(config.workers > 0 && config.workers <= workers_max);
  auto ports = bind_ports(config.worker.listen, config.worker.bind_companion, config.worker.socket, config.workers,
                          config.steering);
  if (!ports.ok()) return std::move(ports).error();
  const std::size_t count = ports->of_worker.size();
  std::unique_ptr<WorkerGroup> group{new WorkerGroup};
  group->steered_ = ports->steered;
  group->trouble_ = std::move(ports->trouble);
  // One worker has no siblings, and pays nothing for them.
  if (count > 1) group->strays_ = std::make_unique<StrayExchange>(count);
  for (std::size_t i = 0; i < count; ++i) {
    WorkerConfig of_one = config.worker;
    of_one.thread_name.append("-").append(std::to_string(i));
    auto worker = Worker::prepare(of_one, std::move(ports->of_worker[i]), {.strays = group->strays_.get(), .place = i});
    if (!worker.ok()) return std::move(worker).error();
    group->workers_.push_back(std::move(worker).value());
  }
  // All have joined the exchange before any of them can ask it.
  for (const auto& worker : group->workers_) worker->start();
  return group;
}

WorkerGroup::~WorkerGroup() {
  for (const auto& worker : workers_) worker->stop();
}

WorkerCounters WorkerGroup::counters() const {
  WorkerCounters sum = workers_.front()->counters();
  for (auto worker = workers_.begin() + 1; worker != workers_.end(); ++worker) sum += (*worker)->counters();
  return sum;
}

FastPaths WorkerGroup::fast_paths() const {
  FastPaths all = workers_.front()->fast_paths();
  for (const auto& worker : workers_) {
    const FastPaths one = worker->fast_paths();
    all.gso = all.gso && one.gso;
    all.gro = all.gro && one.gro;
    all.receive_buffer = std::min(all.receive_buffer, one.receive_buffer);
    all.send_buffer = std::min(all.send_buffer, one.send_buffer);
  }
  all.workers = workers_.size();
  all.steered = steered_;
  return all;
}

}  // namespace penstock::io
