#pragma once

#include <asio/any_io_executor.hpp>
#include <atomic>
#include <cstddef>
#include <memory>

#include "common/units.h"
#include "control/session/session_link.h"
#include "dataplane/io/stream_outlet.h"
#include "dataplane/io/worker.h"

namespace penstock::control {

/// One lane's stream on its way from the worker to the link: makes Data frames, and lets only so many of them wait.
/// Threads: room and put on the lane's worker, on_written on the link's.
class DataOutlet final : public io::StreamOutlet {
 public:
  /// `worker` outlives this; `bytes_max` may wait for the link.
  DataOutlet(asio::any_io_executor control, std::shared_ptr<SessionLink> link, std::size_t lane, io::Worker& worker,
             ConnectionId own, std::size_t bytes_max);

  [[nodiscard]] std::size_t room() override;
  void put(const engine::StreamChunk& chunk) override;

  /// So much of what was put has left the link's queue; the lane is looked at again where it waits for that.
  void on_written(std::size_t bytes);

 private:
  asio::any_io_executor control_;
  std::shared_ptr<SessionLink> link_;
  std::size_t lane_;
  io::Worker& worker_;
  ConnectionId own_;
  std::size_t bytes_max_;
  std::atomic<std::size_t> waiting_{0};  // bytes put and not yet written
  std::atomic<bool> starved_{false};     // the worker found no room, and has to be told when there is
};

}  // namespace penstock::control
