#include "netem/udp_relay/flight_queue.h"

#include <algorithm>
#include <utility>

namespace penstock::netem {
namespace {

bool is_later(const Flight& a, const Flight& b) { return std::pair{a.at, a.sequence} > std::pair{b.at, b.sequence}; }

}  // namespace

void FlightQueue::push(const Delivery& delivery, Towards towards, const std::shared_ptr<Flow>& flow,
                       std::span<const std::byte> payload) {
  if (bytes_ + payload.size() > bytes_max_) {
    overflows_ += 1;
    return;
  }
  Flight flight{delivery.at, sequence_++, towards, flow, {payload.begin(), payload.end()}};
  if (delivery.flipped_bit) flight.bytes[*delivery.flipped_bit / 8] ^= std::byte{1} << (*delivery.flipped_bit % 8);
  bytes_ += payload.size();
  heap_.push_back(std::move(flight));
  std::push_heap(heap_.begin(), heap_.end(), is_later);
}

std::optional<Flight> FlightQueue::pop_due(TimePoint now) {
  if (heap_.empty() || heap_.front().at > now) return std::nullopt;
  std::pop_heap(heap_.begin(), heap_.end(), is_later);
  Flight flight = std::move(heap_.back());
  heap_.pop_back();
  bytes_ -= flight.bytes.size();
  return flight;
}

std::optional<TimePoint> FlightQueue::next() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.front().at;
}

}  // namespace penstock::netem
