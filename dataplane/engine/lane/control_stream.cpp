#include "dataplane/engine/lane/control_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/bytes/wire_reader.h"
#include "common/bytes/wire_writer.h"
#include "common/check.h"

namespace penstock::engine {
namespace {
constexpr std::size_t length_size = 4;
constexpr std::uint64_t resend_size = 1024;  // fits every datagram, whatever else is in it
}  // namespace

bool ControlSender::queue(std::span<const std::byte> message) {
  if (message.empty() || message.size() > control_message_max) return false;
  if (queued() + length_size + message.size() > control_queue_max) return false;
  if (head_ > buffer_.size() / 2) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  std::array<std::byte, length_size> length;
  bytes::WireWriter out(length);
  out.u32(static_cast<std::uint32_t>(message.size()));
  buffer_.insert(buffer_.end(), length.begin(), length.end());
  buffer_.insert(buffer_.end(), message.begin(), message.end());
  return true;
}

std::optional<ControlSender::Chunk> ControlSender::next(std::size_t length_max) const {
  std::uint64_t begin = frontier_;
  std::uint64_t limit = std::min(end(), first_ + control_window);
  if (!lost_.empty()) {
    begin = lost_.front().begin;
    limit = lost_.front().end;
  }
  if (begin >= limit) return std::nullopt;
  const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(length_max, limit - begin));
  return Chunk{begin, std::span(buffer_).subspan(head_ + static_cast<std::size_t>(begin - first_), length)};
}

void ControlSender::on_sent(const Chunk& chunk) {
  const std::uint64_t chunk_end = chunk.offset + chunk.data.size();
  if (chunk.offset == frontier_) frontier_ = chunk_end;
  (void)lost_.erase({chunk.offset, chunk_end});
}

void ControlSender::on_acked(bytes::Interval range) {
  PENSTOCK_CHECK(range.end <= frontier_);
  range.begin = std::max(range.begin, first_);
  if (range.begin >= range.end) return;
  (void)lost_.erase(range);
  (void)acked_.insert(range);
  const std::uint64_t oldest = acked_.first_missing(first_).value_or(first_);
  head_ += static_cast<std::size_t>(oldest - first_);
  first_ = oldest;
  acked_.erase_below(first_);
  if (head_ == buffer_.size()) {
    buffer_.clear();
    head_ = 0;
  }
}

void ControlSender::on_lost(bytes::Interval range) {
  range.begin = std::max(range.begin, first_);
  while (range.begin < range.end) {
    const auto gap = acked_.first_gap(range);
    if (!gap) return;
    (void)lost_.insert(*gap);
    range.begin = gap->end;
  }
}

bool ControlSender::resend_oldest() {
  if (first_ == frontier_) return false;
  if (lost_.empty()) on_lost({first_, std::min(frontier_, first_ + resend_size)});
  return true;
}

TransportError ControlReceiver::on_data(std::uint64_t offset, std::span<const std::byte> data,
                                        std::vector<std::vector<std::byte>>& messages) {
  const std::uint64_t end = offset + data.size();
  if (end > delivered_ + control_window) return TransportError::control_overflow;
  if (end <= delivered_) return TransportError::none;
  if (offset < delivered_) {
    data = data.subspan(static_cast<std::size_t>(delivered_ - offset));
    offset = delivered_;
  }
  if (offset > delivered_) {
    if (!ahead_ranges_.insert({offset, end}).accepted) return TransportError::control_overflow;
    if (ahead_.empty()) ahead_.resize(control_window);
    for (std::size_t i = 0; i < data.size(); ++i) ahead_[(offset + i) % control_window] = data[i];
    return TransportError::none;
  }
  if (!deliver(data, messages)) return TransportError::control_overflow;
  ahead_ranges_.erase_below(delivered_);
  if (ahead_ranges_.empty()) return TransportError::none;
  if (const auto next = ahead_ranges_.front(); next.begin == delivered_) {
    // In two runs where the ring wraps.
    while (delivered_ != next.end) {
      const std::uint64_t at = delivered_ % control_window;
      const auto run = static_cast<std::size_t>(std::min(next.end - delivered_, control_window - at));
      if (!deliver(std::span(ahead_).subspan(static_cast<std::size_t>(at), run), messages))
        return TransportError::control_overflow;
    }
    ahead_ranges_.erase_below(delivered_);
  }
  return TransportError::none;
}

bool ControlReceiver::deliver(std::span<const std::byte> data, std::vector<std::vector<std::byte>>& messages) {
  delivered_ += data.size();
  while (!data.empty()) {
    const auto take = [&](std::size_t wanted) {
      const std::size_t count = std::min(wanted - message_.size(), data.size());
      message_.insert(message_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(count));
      data = data.subspan(count);
    };
    if (message_.size() < length_size) take(length_size);
    if (message_.size() < length_size) return true;
    const std::uint32_t length = bytes::WireReader(message_).u32();
    if (length == 0 || length > control_message_max) return false;
    take(length_size + length);
    if (message_.size() < length_size + length) return true;
    message_.erase(message_.begin(), message_.begin() + length_size);
    messages.push_back(std::exchange(message_, {}));
  }
  return true;
}

}  // namespace penstock::engine
