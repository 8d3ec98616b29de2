#include "tests/sim/pipe.h"

#include <utility>

namespace penstock::sim {

Pipe::Pipe(EventQueue& events, const netem::LinkSettings& settings, std::uint64_t seed, std::uint8_t direction,
           TraceHash& trace, std::function<void(Datagram, engine::EcnMark)> deliver)
    : events_(events), link_(settings, seed), direction_(direction), trace_(trace), deliver_(std::move(deliver)) {}

std::string_view to_string(MarkBox box) {
  switch (box) {
    case MarkBox::honest:
      return "honest";
    case MarkBox::bleaches:
      return "bleaches marks";
    case MarkBox::drops_marked:
      return "drops what is marked";
    case MarkBox::rewrites:
      return "rewrites marks";
    case MarkBox::marks_all:
      return "says that all met a queue";
  }
  return "";
}

std::optional<engine::EcnMark> pass(MarkBox box, engine::EcnMark mark) {
  using engine::EcnMark;
  if (mark == EcnMark::none) return mark;
  switch (box) {
    case MarkBox::honest:
      return mark;
    case MarkBox::bleaches:
      return EcnMark::none;
    case MarkBox::drops_marked:
      return std::nullopt;
    case MarkBox::rewrites:
      return mark == EcnMark::ect0 ? EcnMark::ect1 : mark;
    case MarkBox::marks_all:
      return EcnMark::ce;
  }
  return mark;
}

void Pipe::send(std::span<const std::byte> datagram, engine::EcnMark mark) {
  const Sighting sighting{events_.now(), index_++, read_clear_header(datagram).value_or(ClearHeader{}), datagram, mark};
  // Sizes, times and what is in the clear: equal for every AEAD backend. Ciphertext differs between the suites.
  trace_.add(static_cast<std::uint64_t>(sighting.at.time_since_epoch().count()));
  trace_.add(direction_);
  trace_.add(datagram.size());
  trace_.add(sighting.header.first_byte);
  trace_.add(static_cast<std::uint64_t>(mark));
  trace_.add(sighting.header.connection.value);
  trace_.add(sighting.header.number);
  trace_.add(sighting.header.offset ? sighting.header.offset->value : ~std::uint64_t{0});

  bool dropped = false;
  for (const Rule& rule : rules_) dropped = rule(sighting) || dropped;
  for (const Meddler& meddler : meddlers_) {
    for (Datagram& forged : meddler(sighting)) deliver_(std::move(forged), mark);
  }
  if (dropped) {
    ++dropped_by_rule_;
    return;
  }
  for (const netem::Delivery& delivery : link_.offer(events_.now(), datagram.size(), mark != engine::EcnMark::none)) {
    const engine::EcnMark queued = delivery.congested ? engine::EcnMark::ce : mark;
    const auto arrives = pass(box_, queued);
    if (!arrives) {
      if (delivery.flipped_bit) ++damage_dropped_by_box_;
      continue;
    }
    Datagram copy{datagram.begin(), datagram.end()};
    if (delivery.flipped_bit) copy[*delivery.flipped_bit / 8] ^= std::byte{1} << (*delivery.flipped_bit % 8);
    events_.schedule(delivery.at,
                     [this, mark = *arrives, copy = std::move(copy)]() mutable { deliver_(std::move(copy), mark); });
  }
}

void Pipe::set_box_at(TimePoint at, MarkBox box) {
  events_.schedule(at, [this, box] { box_ = box; });
}

void Pipe::change_at(TimePoint at, const netem::LinkSettings& settings) {
  events_.schedule(at, [this, settings] { link_.change(settings); });
}

}  // namespace penstock::sim
