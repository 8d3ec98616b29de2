#include "control/client/progress_meter.h"

#include <algorithm>

namespace penstock::control {

std::uint64_t ProgressMeter::rate_at(TimePoint now, std::uint64_t moved) {
  // A new session counts from the beginning.
  if (!samples_.empty() && moved < samples_.back().bytes) samples_.clear();
  samples_.push_back({now, moved});
  while (samples_.size() > 2 && now - samples_.front().at > rate_window) samples_.pop_front();
  const auto elapsed = now - samples_.front().at;
  if (elapsed <= std::chrono::milliseconds{100}) return 0;
  return static_cast<std::uint64_t>(static_cast<double>(moved - samples_.front().bytes) * 8 /
                                    std::chrono::duration<double>(elapsed).count());
}

Progress ProgressMeter::sample(TimePoint now, const RunStats& stats, const SenderNumbers& sender,
                               std::string_view limited_by) {
  Progress progress;
  bytes_shown_ = std::max(bytes_shown_, stats.bytes);
  files_shown_ = std::max(files_shown_, stats.files);
  if (stats.bytes_total) bytes_shown_ = std::min(bytes_shown_, *stats.bytes_total);
  progress.bytes = bytes_shown_;
  progress.bytes_total = stats.bytes_total;
  progress.files = files_shown_;
  progress.files_total = stats.files_total;
  progress.rate_bps = rate_at(now, stats.bytes - std::min(stats.bytes, stats.bytes_withheld));
  if (progress.bytes_total && progress.rate_bps > 0)
    progress.eta_s = (*progress.bytes_total - std::min(*progress.bytes_total, progress.bytes)) * 8 / progress.rate_bps;
  if (sender.packets_sent > 0)
    progress.loss = static_cast<double>(sender.packets_lost) / static_cast<double>(sender.packets_sent);
  progress.rtt_ms = sender.rtt_ms;
  progress.limited_by = limited_by;
  return progress;
}

}  // namespace penstock::control
