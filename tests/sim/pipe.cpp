#include "tests/sim/pipe.h"

#include <utility>

namespace penstock::sim {

Pipe::Pipe(EventQueue& events, const netem::LinkSettings& settings, std::uint64_t seed, std::uint8_t direction,
           TraceHash& trace, std::function<void(Datagram)> deliver)
    : events_(events), link_(settings, seed), direction_(direction), trace_(trace), deliver_(std::move(deliver)) {}

void Pipe::send(std::span<const std::byte> datagram) {
  const Sighting sighting{events_.now(), index_++, read_clear_header(datagram).value_or(ClearHeader{}), datagram};
  // Sizes, times and what is in the clear: equal for every AEAD backend. Ciphertext differs between the suites.
  trace_.add(static_cast<std::uint64_t>(sighting.at.time_since_epoch().count()));
  trace_.add(direction_);
  trace_.add(datagram.size());
  trace_.add(sighting.header.first_byte);
  trace_.add(sighting.header.connection.value);
  trace_.add(sighting.header.number);
  trace_.add(sighting.header.offset ? sighting.header.offset->value : ~std::uint64_t{0});

  bool dropped = false;
  for (const Rule& rule : rules_) dropped = rule(sighting) || dropped;
  for (const Meddler& meddler : meddlers_) {
    for (Datagram& forged : meddler(sighting)) deliver_(std::move(forged));
  }
  if (dropped) {
    ++dropped_by_rule_;
    return;
  }
  for (const netem::Delivery& delivery : link_.offer(events_.now(), datagram.size())) {
    Datagram copy{datagram.begin(), datagram.end()};
    if (delivery.flipped_bit) copy[*delivery.flipped_bit / 8] ^= std::byte{1} << (*delivery.flipped_bit % 8);
    events_.schedule(delivery.at, [this, copy = std::move(copy)]() mutable { deliver_(std::move(copy)); });
  }
}

void Pipe::change_at(TimePoint at, const netem::LinkSettings& settings) {
  events_.schedule(at, [this, settings] { link_.change(settings); });
}

}  // namespace penstock::sim
