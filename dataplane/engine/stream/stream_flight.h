#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "common/units.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::engine {

/// What a lane's stream has on its way: ranges in the order in which they left. Nothing of it is ever lost, so there is
/// no clock here; a message can only be refused by the far end, or be taken back by our own side. Bound:
/// stream_messages_max. Threads: one owner.
class StreamFlight {
 public:
  [[nodiscard]] bool has_room() const { return ranges_.size() < stream_messages_max; }
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// Requires: has_room().
  void on_sent(TransferRange range);
  /// The bytes are to be sent anew: what is on its way of them settles nothing any more. The messages that touched
  /// them, whole, since they are no longer told apart from what they carried.
  [[nodiscard]] std::vector<TransferRange> disown(TransferRange range);

  struct Outcome {
    std::vector<TransferRange> arrived;  // neighbours are joined
    std::vector<TransferRange> refused;
    std::uint64_t bytes_arrived = 0;
  };
  /// nullopt: it speaks of messages that were never sent, or goes back, or its list makes no sense.
  [[nodiscard]] std::optional<Outcome> on_ack(const StreamAck& ack);

 private:
  struct Message {
    TransferRange range;
    bool disowned = false;
  };
  std::deque<Message> ranges_;
  std::uint64_t first_ = 0;  // number of ranges_.front()
  std::uint64_t bytes_ = 0;
};

}  // namespace penstock::engine
