#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "dataplane/io/bound_ports.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/fast_paths.h"
#include "dataplane/io/stray_exchange.h"
#include "dataplane/io/worker.h"

namespace penstock::io {

struct WorkerGroupConfig {
  WorkerConfig worker;  // of each; thread names get a number. `listen` may not be empty
  std::size_t workers = 1;
  UdpSteering steering = UdpSteering::automatic;
};

/// Several workers, each a thread with its own sockets, on the same ports: what a daemon has instead of one Worker.
/// A lane belongs to one of them, for good. That should be the one that its connection id names (LanePlacement makes
/// such ids), because the kernel gives that one its datagrams; but any will do: who meets a datagram of a sibling's
/// lane hands it on (README.md, "Several workers on one port"). Threads: any. An observer or closure runs on its own
/// worker's thread; two workers' run at the same time.
class WorkerGroup {
 public:
  // A worker moves 6 to 10 Gbit/s: sixteen are more than a 100 Gbit/s interface takes.
  static constexpr std::size_t workers_max = 16;
  /// The processors that this process may run on, within 1 and workers_max.
  [[nodiscard]] static std::size_t workers_default();

  /// Binds every address and starts every thread. Fewer workers than asked for, or no steering, is no error: see
  /// trouble(). Error: IO_ERROR naming the address that can not be bound. Requires: 1 <= workers <= workers_max.
  static Result<std::unique_ptr<WorkerGroup>> create(const WorkerGroupConfig& config);
  /// Stops worker after worker: each carries out what was posted and lets go of its lanes (on_lane_gone); then they go.
  /// Not on a worker's thread.
  ~WorkerGroup();
  WorkerGroup(const WorkerGroup&) = delete;
  WorkerGroup& operator=(const WorkerGroup&) = delete;

  [[nodiscard]] std::size_t size() const { return workers_.size(); }
  /// Requires: index < size(). Lives as long as the group.
  [[nodiscard]] Worker& at(std::size_t index) const { return *workers_.at(index); }

  /// In the order of WorkerConfig::listen, with the port that was taken; the same for all workers.
  [[nodiscard]] const std::vector<Endpoint>& local_endpoints() const { return workers_.front()->local_endpoints(); }
  /// The sum over all workers, each a turn old at most.
  [[nodiscard]] WorkerCounters counters() const;
  [[nodiscard]] FastPaths fast_paths() const;
  /// Why there are fewer workers than asked for, or no steering; or empty.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  WorkerGroup() = default;

  std::unique_ptr<StrayExchange> strays_;  // outlives the workers
  std::vector<std::unique_ptr<Worker>> workers_;
  bool steered_ = false;
  std::string trouble_;
};

}  // namespace penstock::io
