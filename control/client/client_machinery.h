#pragma once

#include <memory>
#include <vector>

#include "control/client/client.h"
#include "control/gate/client_home.h"
#include "control/gate/tls_context.h"
#include "control/session/async_event.h"
#include "control/session/worker_door.h"
#include "dataplane/io/worker.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/target_claims.h"

namespace penstock::control {

/// A worker beyond the first, and storage's way there.
struct ClientWorker {
  std::unique_ptr<io::Worker> worker;
  std::shared_ptr<WorkerDoor> door;
};

/// What a command may use of the machine while it runs. Borrowed; outlives the command.
struct ClientMachinery {
  const ClientConfig& config;
  Observer& observer;
  ClientHome& home;
  const TlsContext& tls;
  io::Worker& worker;
  const std::shared_ptr<WorkerDoor>& door;        // storage's way to the worker
  const std::vector<ClientWorker>& more_workers;  // for lanes beyond the first
  storage::StorageExecutor& threads;
  storage::SlabPool& slabs;
  storage::TargetClaims& claims;
  storage::JournalStore& journals;
  AsyncEvent& nudge;  // notified with the two below
  const bool& stop_requested;
  bool& progress_requested;
};

}  // namespace penstock::control
