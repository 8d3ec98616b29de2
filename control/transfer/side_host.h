#pragma once

#include <span>
#include <string_view>

#include "common/error.h"
#include "common/units.h"
#include "control/proto/gate.pb.h"
#include "dataplane/storage/manifest_entry.h"
#include "dataplane/storage/sink.h"
#include "dataplane/storage/verdict.h"

namespace penstock::control {

/// What a side says about one entry to whoever shows it.
enum class EntryOutcome : std::uint8_t { finished, replaced, skipped, refused };

/// What a side of a transfer needs from the outside; given by the session, or by a test. All on the worker's thread.
class SideHost {
 public:
  virtual ~SideHost() = default;
  /// Sends a message of the ordered stream: on TCP and in the pipe. Never blocks; see has_room.
  virtual void send(proto::Envelope envelope) = 0;
  /// False: TCP has enough to do; what can wait should. Side::on_room is called when it has become true again.
  [[nodiscard]] virtual bool has_room() const = 0;
  /// One thing was left out; the transfer goes on.
  virtual void warn(Error warning) = 0;
  /// For -v and -n: files and links, never directories. `report.digest` means something for files that are `finished`
  /// or `replaced`, and not in a dry run.
  virtual void on_entry(const storage::FileReport& report, storage::FileType type, EntryOutcome outcome) = 0;
  /// Everything is durable under its names. Source: the sink said so; sink: it is so. Called once, nothing follows.
  virtual void on_committed() = 0;
  /// The side has given up; the session tells the peer and ends. Called once, nothing follows.
  virtual void on_failed(Error error) = 0;
};

/// The engine's sending half, as the source drives it (engine/sender.h).
class SenderLane {
 public:
  virtual ~SenderLane() = default;
  virtual void offer(TransferOffset end) = 0;
  virtual void finish(TransferOffset end) = 0;
  virtual void withhold(TransferRange range) = 0;
  virtual void resend(TransferRange range) = 0;
  virtual void on_source_ready() = 0;
};

/// The engine's receiving half, as the sink drives it (engine/receiver.h).
class ReceiverLane {
 public:
  virtual ~ReceiverLane() = default;
  virtual void expect(TransferOffset end) = 0;
  virtual void finish(TransferOffset end) = 0;
  virtual void withhold(TransferRange range) = 0;
  virtual void forget(TransferRange range) = 0;
  virtual void on_sink_room() = 0;
};

}  // namespace penstock::control
