#pragma once

#include "dataplane/engine/events.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::io {

/// Hears what becomes of one lane. Called on the worker's thread, in order; must neither block nor call back into a
/// Worker synchronously for an answer: implementers post to their own executor. Posting to the Worker is fine.
/// Never called after on_lane_gone.
class LaneObserver {
 public:
  virtual ~LaneObserver() = default;

  /// All events but Prefetch, which goes straight to the lane's SourceWindow.
  virtual void on_event(const engine::SenderEvent& /*event*/) {}
  virtual void on_event(const engine::ReceiverEvent& /*event*/) {}
  /// What the sender is to be told of the lane's stream.
  virtual void on_stream_ack(const engine::StreamAck& /*ack*/) {}
  /// About four times a second while the lane moves, and once more before on_lane_gone.
  virtual void on_stats(const engine::LaneStats& /*stats*/) {}
  /// The lane was removed, or its worker stopped: window and engine are let go of right after.
  virtual void on_lane_gone() {}
};

}  // namespace penstock::io
