#include "control/transfer/message_order.h"

#include <algorithm>
#include <utility>

namespace penstock::control {

Status DualOrder::accept(proto::Envelope envelope, Way way) {
  const std::uint64_t id = envelope.id();
  if (way == Way::tcp) {
    // TCP carries every numbered message, in order: a gap or a repeat there is a fault of the peer, not of the network.
    if (id != tcp_last_ + 1)
      return Error{ErrorCode::INTERNAL, "the other end numbers its messages wrongly", {}, ErrorSide::remote};
    tcp_last_ = id;
  }
  if (id < next_ || early_.contains(id)) return {};  // the second copy
  const std::size_t size = envelope.ByteSizeLong();
  if (id != next_ && (early_.size() >= early_messages_max || early_bytes_ + size > early_bytes_max)) {
    if (way == Way::tcp)
      return Error{
          ErrorCode::INTERNAL, "the other end sends more messages than were waited for", {}, ErrorSide::remote};
    return {};
  }
  early_bytes_ += size;
  early_.emplace(id, std::move(envelope));
  return {};
}

std::optional<proto::Envelope> DualOrder::poll() {
  const auto first = early_.find(next_);
  if (first == early_.end()) return std::nullopt;
  proto::Envelope envelope = std::move(first->second);
  early_.erase(first);
  early_bytes_ -= std::min(early_bytes_, envelope.ByteSizeLong());
  ++next_;
  return envelope;
}

}  // namespace penstock::control
