#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
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
/// the bounds of all ids together, is not kept, and counts as lost on the way. All bounds are of memory: a batch costs
/// its bytes and `batch_cost`.
/// Threads: one owner, the worker.
class EarlyDatagrams {
 public:
  // Tuning: of all ids of one worker. Four flights as large as the first may be (engine: careful_start.h), so whoever
  // fills it costs newcomers a round trip, and the daemon no memory to speak of.
  static constexpr std::size_t total_max = 8 * MiB;
  // Tuning: an id that may have no more is one of a peer that nobody knows yet. Those have a part of `total_max` to
  // themselves and no more than that, so that strangers can not take the room of the others.
  static constexpr std::size_t small_max = 128 * KiB;
  static constexpr std::size_t small_total_max = 2 * MiB;
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
  // What a batch takes beside its bytes: itself, the deque's share, and the allocator's of two blocks, rounded up.
  static constexpr std::size_t batch_cost = sizeof(Batch) + 64;

  /// From now on at most `bytes_max` are kept for `id`; said again it changes that. What it has moves with it from the
  /// small ids' part to the others', or is dropped where there is no room.
  void await(ConnectionId id, std::size_t bytes_max);
  /// Nobody waits for it any more.
  void forget(ConnectionId id);
  /// The same, and what came for it, in order.
  [[nodiscard]] std::deque<Batch> take(ConnectionId id);
  [[nodiscard]] bool awaits(ConnectionId id) const { return awaited_.contains(id.value); }

  /// A copy of `bytes`, as `batch` says of them, whose own are empty. False: it is not kept. `arrived` never decreases.
  [[nodiscard]] bool keep(Batch batch, ConnectionId id, std::span<const std::byte> bytes);
  /// What all ids' batches cost.
  [[nodiscard]] std::size_t bytes() const { return small_.bytes + large_.bytes; }

 private:
  struct Pool {
    std::size_t bytes_max = 0;
    std::size_t bytes = 0;
  };
  struct Awaited {
    std::size_t bytes_max = 0;
    std::size_t bytes = 0;
    std::deque<Batch> batches;
  };
  [[nodiscard]] Pool& pool_for(std::size_t bytes_max) { return bytes_max <= small_max ? small_ : large_; }
  /// Drops what is old where `cost` finds no room; whether it finds some then.
  [[nodiscard]] bool make_room(const Pool& pool, std::size_t cost, TimePoint now);
  void drop(Awaited& awaited);

  std::unordered_map<std::uint64_t, Awaited> awaited_;  // ids are random and our own: no crafted collisions
  Pool small_{.bytes_max = small_total_max};
  Pool large_{.bytes_max = total_max - small_total_max};
  TimePoint oldest_{};  // nothing that is kept came before; only while something is
  TimePoint newest_{};
};

}  // namespace penstock::io
