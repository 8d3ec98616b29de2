#include <optional>

#include "control/client/path_memory.h"
#include "control/client/transfer_session.h"
#include "control/session/wall_clock.h"

// What a transfer command knows of its path from those before it, and leaves to those after it.

namespace penstock::control {
namespace {

/// Whoever sent has measured it: on pull the daemon tells.
std::optional<engine::PathEstimate> estimate_of(const proto::SourceProgress& progress) {
  if (progress.path_rate_bps() == 0) return std::nullopt;
  return engine::PathEstimate{.rate = DataRate::bits_per_second(progress.path_rate_bps()),
                              .filled = progress.path_filled()};
}

}  // namespace

void TransferCommand::recall_path(const Pin& daemon, const TlsChannel& channel) {
  path_rtt_ = channel.smoothed_rtt();
  remembered_rate_.reset();
  if (!path_rtt_) return;
  const PathMemory memory{machinery_.home.directory()};
  const auto path = memory.find(daemon, channel.remote().address(), UnixSeconds{unix_now()});
  if (path) remembered_rate_ = rate_to_resume(*path, push(), channel.local().address(), *path_rtt_);
}

void TransferCommand::remember_path(const Session& session) const {
  if (!path_rtt_ || request_.options.dry_run) return;
  const auto& channel = session.opened.link->channel();
  const PathMemory memory{machinery_.home.directory()};
  const auto sender = session.sender(push());
  memory.remember({.daemon = session.opened.daemon.pin,
                   .remote = channel.remote().address(),
                   .local = channel.local().address(),
                   .rtt = *path_rtt_,
                   .sent = push(),
                   .estimate = push() ? session.run->stats().lane.estimate : estimate_of(session.source_progress),
                   .packets_sent = sender.packets_sent,
                   .packets_lost = sender.packets_lost},
                  UnixSeconds{unix_now()});
}

}  // namespace penstock::control
