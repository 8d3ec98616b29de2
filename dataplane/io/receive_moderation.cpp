#include "dataplane/io/receive_moderation.h"

#include <algorithm>

namespace penstock::io {

void ReceiveModeration::on_read(TimePoint now, const Read& read) {
  const Duration since_last = last_read_ ? now - *last_read_ : Duration::max();
  last_read_ = now;
  if (read.messages > 0) note_patience(now, read);
  gathered_messages_ += read.messages;
  gathered_bytes_ += read.bytes;

  if (rest_until_) {
    if (!read.emptied) {
      rest_until_ = now;  // more is there already
      return;
    }
    // A deadline that cuts a rest short says nothing about what the rest would have gathered.
    if (now < *rest_until_ && read.patience != Duration::zero()) return;
    if (gathered_messages_ < 2) return watch();
  } else {
    if (read.messages == 0 || !read.emptied || read.bytes / read.messages >= little || since_last >= patience_) {
      return watch();
    }
    if (busy_reads_++ == 0) {  // what this one brought had gathered before
      gathering_from_ = now;
      gathered_messages_ = 0;
      gathered_bytes_ = 0;
    }
    if (busy_reads_ < busy_reads_min) return;
  }
  const Duration rest = longest_rest(now);
  if (rest < rest_min) return watch();
  rest_until_ = now + rest;
  gathering_from_ = now;
  gathered_messages_ = 0;
  gathered_bytes_ = 0;
}

void ReceiveModeration::note_patience(TimePoint now, const Read& read) {
  if (read.patience > patience_ && now < patience_until_) return;
  patience_ = std::min(read.patience, rest_max);
  patience_until_ = now + patience_memory;
}

void ReceiveModeration::watch() {
  rest_until_.reset();
  busy_reads_ = 0;
}

Duration ReceiveModeration::longest_rest(TimePoint now) const {
  const auto gathered_in = static_cast<std::uint64_t>(std::max<Duration>(now - gathering_from_, Duration{1}).count());
  const std::uint64_t cost = gathered_bytes_ + gathered_messages_ * message_overhead;
  if (cost == 0) return patience_;
  // The product stays far below 2^64: at most 1 GiB of buffer, and a second.
  const std::uint64_t fills_in =
      receive_buffer_ / buffer_divisor * std::min<std::uint64_t>(gathered_in, 1'000'000'000) / cost;
  return std::min(patience_, Duration{static_cast<Duration::rep>(std::min<std::uint64_t>(fills_in, 1'000'000'000))});
}

}  // namespace penstock::io
