#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/units.h"

namespace penstock::engine {

/// Memory into which the receiver opens payload, so that bytes are copied by the cipher alone.
/// The clear header says where a datagram belongs before it is authenticated. Opening scribbles over the target even
/// when the tag is wrong, so the receiver lends memory only for ranges of which it has accepted no byte, and opens all
/// else (duplicates, partial overlaps, slabs that are not there yet) into scratch and hands it over by `store`.
/// Threads: the lane's worker.
class SinkWindow {
 public:
  virtual ~SinkWindow() = default;

  /// Writable memory for exactly [at, at + length), when its slab is open already; empty otherwise. Never opens a slab,
  /// so forged headers cost no memory. Bytes written and not committed mean nothing. The view lives until the next
  /// call.
  [[nodiscard]] virtual std::span<std::byte> lend(TransferOffset at, std::size_t length) = 0;

  /// [at, at + length) was opened into lent memory and is authentic and new.
  virtual void commit(TransferOffset at, std::size_t length) = 0;

  /// Copies authentic, new bytes in, opening a slab if need be. False: no room now; the datagram then counts as never
  /// received, and the loss as the receiver's own, not the path's.
  [[nodiscard]] virtual bool store(TransferOffset at, std::span<const std::byte> bytes) = 0;

  /// FEC: committed or stored bytes from `at` on that are still in memory, contiguously, `length_max` at most; empty:
  /// none. Views live until lend, commit or store is called.
  [[nodiscard]] virtual std::span<const std::byte> resident(TransferOffset /*at*/, std::size_t /*length_max*/) {
    return {};
  }
  /// FEC: about so many of the bytes that came last are worth keeping in memory, where nothing else needs the room.
  virtual void retain(std::uint64_t /*bytes*/) {}

  /// Bytes that the window could take beyond those handed to it so far: free slabs. The receiver's credit follows it.
  [[nodiscard]] virtual std::uint64_t room() const = 0;

  /// Called by the driver when the lane has been quiet for some milliseconds: hand partly filled slabs on, so that what
  /// has arrived becomes durable.
  virtual void on_quiet() = 0;
};

}  // namespace penstock::engine
