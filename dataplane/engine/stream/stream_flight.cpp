#include "dataplane/engine/stream/stream_flight.h"

#include "common/check.h"

namespace penstock::engine {
namespace {

void append(std::vector<TransferRange>& ranges, TransferRange added) {
  if (!ranges.empty() && ranges.back().end == added.begin)
    ranges.back().end = added.end;
  else
    ranges.push_back(added);
}

}  // namespace

void StreamFlight::on_sent(TransferRange range) {
  PENSTOCK_CHECK(has_room());
  ranges_.push_back({range});
  bytes_ += range.size();
}

std::vector<TransferRange> StreamFlight::disown(TransferRange range) {
  std::vector<TransferRange> touched;
  for (Message& message : ranges_) {
    if (message.disowned || message.range.end <= range.begin || range.end <= message.range.begin) continue;
    message.disowned = true;
    append(touched, message.range);
  }
  return touched;
}

std::optional<StreamFlight::Outcome> StreamFlight::on_ack(const StreamAck& ack) {
  if (ack.messages < first_ || ack.messages - first_ > ranges_.size()) return std::nullopt;
  auto next = ack.refused.begin();
  Outcome outcome;
  while (first_ != ack.messages) {
    const Message message = ranges_.front();
    ranges_.pop_front();
    bytes_ -= message.range.size();
    const bool refused = next != ack.refused.end() && *next == first_;
    if (refused) ++next;
    ++first_;
    if (message.disowned) continue;
    append(refused ? outcome.refused : outcome.arrived, message.range);
    if (!refused) outcome.bytes_arrived += message.range.size();
  }
  if (next != ack.refused.end()) return std::nullopt;
  return outcome;
}

}  // namespace penstock::engine
