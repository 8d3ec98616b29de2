#pragma once

#include <asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/unique_fd.h"
#include "control/gate/admission.h"
#include "control/gate/identity.h"
#include "control/gate/tls_context.h"
#include "control/gate/waiting_room.h"
#include "control/receipt/receipt_store.h"
#include "control/registry/registry.h"
#include "control/server/fec_counters.h"
#include "control/server/server.h"
#include "control/server/transfer_places.h"
#include "control/session/async_event.h"
#include "control/session/worker_door.h"
#include "dataplane/io/lane_placement.h"
#include "dataplane/io/worker_group.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/target_claims.h"

namespace penstock::control {

class ServerSession;

// Tuning: threads that may block. One a worker writes and reads for transfers, two at least; requests have their own,
// so that one client's `digest` of a huge file does not stop another's transfer.
inline constexpr std::size_t transfer_threads_min = 2;
inline constexpr std::size_t request_threads = 2;

/// What all sessions of one daemon share. One owner: the control thread, which runs `io`.
struct DaemonState {
  explicit DaemonState(ServerConfig configuration, ServerObserver& listener)
      : config(std::move(configuration)), observer(listener) {
    places.on_given_back = [this] { changed.notify(); };
  }

  ServerConfig config;
  ServerObserver& observer;
  UniqueFd root;
  std::optional<Identity> identity;
  std::optional<ReceiptKey> receipt_key;
  std::optional<TlsContext> tls;
  std::unique_ptr<Registry> registry;
  std::optional<ReceiptStore> receipts;
  std::unique_ptr<storage::JournalStore> journals;
  storage::TargetClaims claims;
  std::unique_ptr<storage::SlabPool> slabs;
  TransferPlaces places{config.transfers_max};
  asio::io_context io{1};  // below what suspended coroutines may still hold: slabs, journals, claims, places
  std::unique_ptr<storage::StorageExecutor> requests;
  std::unique_ptr<storage::StorageExecutor> transfers;
  std::unique_ptr<io::WorkerGroup> workers;
  std::vector<std::shared_ptr<WorkerDoor>> doors;  // storage's way to each worker
  std::unique_ptr<HandshakeExecutor> signer;
  Gatekeeper gatekeeper;
  FecCounters fec;

  std::optional<io::LanePlacement> lanes;  // connection ids in use, and the worker of each
  std::list<std::shared_ptr<ServerSession>> sessions;
  WaitingRoom waiting{config.unproven_max};  // connections before their proof
  bool draining = false;
  AsyncEvent changed{io.get_executor()};  // a session or transfer has ended

  /// Ends the threads in the one order in which none can reach for another that has gone.
  ~DaemonState() {
    places.on_given_back = nullptr;  // nobody waits any more
    for (const auto& door : doors) door->close();
    workers.reset();
    transfers.reset();
    requests.reset();
    signer.reset();
    sessions.clear();
  }
  DaemonState(const DaemonState&) = delete;
  DaemonState& operator=(const DaemonState&) = delete;

  /// The worker that has, or is to have, the lane of this id of ours, and storage's way there.
  [[nodiscard]] io::Worker& worker_of(ConnectionId own) const { return workers->at(lanes->worker_of(own)); }
  [[nodiscard]] const std::shared_ptr<WorkerDoor>& door_of(ConnectionId own) const {
    return doors.at(lanes->worker_of(own));
  }

  /// The id is nobody's any more: its lane, if there was one, has gone.
  void release(ConnectionId own) {
    worker_of(own).forget_awaited(own);
    lanes->release(own);
  }

  void log(LogLevel level, std::string_view event, std::string_view message,
           std::initializer_list<std::pair<std::string_view, std::string>> fields = {}) {
    observer.on_log(level, event, message, LogFields{fields.begin(), fields.size()});
  }
};

}  // namespace penstock::control
