#pragma once

#include <cstddef>

#include "dataplane/engine/stream/stream_words.h"

namespace penstock::io {

/// Where a sending lane's stream goes (engine/stream): a reliable, ordered way that is no socket of the worker's.
/// Threads: the lane's worker. Must not block.
class StreamOutlet {
 public:
  virtual ~StreamOutlet() = default;
  /// Bytes that the next message may have; zero: none now. Whoever makes room again has the lane looked at
  /// (Worker::with_sender).
  [[nodiscard]] virtual std::size_t room() = 0;
  /// Takes one message of room() bytes at most. The payload is borrowed for the call.
  virtual void put(const engine::StreamChunk& chunk) = 0;
};

}  // namespace penstock::io
