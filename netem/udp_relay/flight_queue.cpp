#include "netem/udp_relay/flight_queue.h"

#include <utility>

namespace penstock::netem {

void FlightQueue::push(const Delivery& delivery, Towards towards, const std::shared_ptr<Flow>& flow,
                       std::span<const std::byte> payload) {
  if (bytes_ + payload.size() > bytes_max_) {
    overflows_ += 1;
    return;
  }
  Flight flight{towards, flow, {payload.begin(), payload.end()}};
  if (delivery.flipped_bit) flight.bytes[*delivery.flipped_bit / 8] ^= std::byte{1} << (*delivery.flipped_bit % 8);
  bytes_ += payload.size();
  flights_.push(delivery.at, std::move(flight));
}

std::optional<Flight> FlightQueue::pop_due(TimePoint now) {
  auto due = flights_.pop_due(now);
  if (!due) return std::nullopt;
  bytes_ -= due->item.bytes.size();
  return std::move(due->item);
}

}  // namespace penstock::netem
