#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/time.h"
#include "common/units.h"
#include "dataplane/engine/wire/ecn_mark.h"
#include "dataplane/io/endpoint.h"
#include "dataplane/io/udp_socket.h"

namespace penstock::io {

/// Datagrams that came before their lane: sealed as they came, looked at by nobody, for the few milliseconds that it
/// takes to open it. Only those of ids that somebody waits for, who says how many bytes; what is beyond that, or beyond
/// `total_max`, is not kept, and counts as lost on the way.
/// Threads: one owner, the worker.
class EarlyDatagrams {
 public:
  // Tuning: of all ids of one worker. Four flights as large as the first may be (engine: careful_start.h), so strangers
  // who fill it cost newcomers a round trip, and the daemon no memory to speak of.
  static constexpr std::size_t total_max = 8 * MiB;
  // Tuning: whoever has not got his lane by then has lost a round trip anyway, and others want the room.
  static constexpr Duration kept_max = std::chrono::seconds{2};

  /// One batch, of equal segments; the last may be shorter.
  struct Batch {
    TimePoint arrived;
    std::size_t port = 0;  // which of the worker's sockets
    std::size_t segment_size = 0;
    Endpoint from;
    engine::EcnMark mark = engine::EcnMark::none;
    std::optional<LocalAddress> to;
    std::vector<std::byte> bytes;
  };

  /// From now on at most `bytes_max` are kept for `id`; said again it changes that.
  void await(ConnectionId id, std::size_t bytes_max) { awaited_[id.value].bytes_max = bytes_max; }
  /// Nobody waits for it any more.
  void forget(ConnectionId id);
  /// The same, and what came for it, in order.
  [[nodiscard]] std::vector<Batch> take(ConnectionId id);
  [[nodiscard]] bool awaits(ConnectionId id) const { return awaited_.contains(id.value); }

  /// A copy of `bytes`, as `batch` says of them, whose own are empty. False: it is not kept. `arrived` never decreases.
  [[nodiscard]] bool keep(Batch batch, ConnectionId id, std::span<const std::byte> bytes);
  /// Of all ids.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Awaited {
    std::size_t bytes_max = 0;
    std::size_t bytes = 0;
    std::vector<Batch> batches;
  };
  void drop_old(TimePoint now);
  void drop(Awaited& awaited);

  std::unordered_map<std::uint64_t, Awaited> awaited_;  // ids are random and our own: no crafted collisions
  std::size_t bytes_ = 0;
};

}  // namespace penstock::io
