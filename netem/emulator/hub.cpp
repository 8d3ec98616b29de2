#include "netem/emulator/hub.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/random.h"
#include "netem/emulator/ip_ecn.h"

namespace penstock::netem {

Hub::Hub(HubConfig config)
    : router_(std::move(config.router)),
      reach_(config.reach),
      pool_(config.packet_size_max, config.in_flight_packets),
      overflow_room_(config.packet_size_max) {
  PENSTOCK_CHECK(config.packet_size_max > 0 && config.in_flight_packets > 0);
  Rng luck{config.seed};
  for (const LegSettings& leg : config.legs) {
    links_.emplace_back(leg.up, luck.next());
    links_.emplace_back(leg.down, luck.next());
  }
  in_flight_.reserve(config.in_flight_packets);
}

std::span<std::byte> Hub::inbox() {
  if (released_) pool_.give_back(*std::exchange(released_, std::nullopt));
  if (!inbox_) inbox_ = pool_.try_take();
  return inbox_ ? pool_.bytes(*inbox_) : std::span{overflow_room_};
}

bool Hub::take(TimePoint now, HostIndex from, std::size_t size) {
  const std::span<std::byte> packet = inbox().first(size);
  const auto to = router_.route(packet);
  if (!to || *to == from) return false;
  if (!inbox_) {
    overflows_ += 1;
    return true;
  }
  const auto slot = *std::exchange(inbox_, std::nullopt);
  offer(link_of(from, Direction::up), now, {slot, static_cast<std::uint32_t>(size), *to, Stage::to_hub});
  return true;
}

std::optional<Hub::Release> Hub::pop_due(TimePoint now) {
  if (released_) pool_.give_back(*std::exchange(released_, std::nullopt));
  while (const auto due = in_flight_.pop_due(now)) {
    const Transit& transit = due->item;
    if (transit.stage == Stage::to_host) {
      released_ = transit.slot;
      return Release{.at = due->at, .to = transit.to, .packet = pool_.bytes(transit.slot).first(transit.size)};
    }
    // The queue is in order of time, so this is never before the hub's last packet unless the caller's clock lied.
    hub_time_ = std::max(hub_time_, due->at);
    offer(link_of(transit.to, Direction::down), hub_time_, {transit.slot, transit.size, transit.to, Stage::to_host});
  }
  return std::nullopt;
}

const LinkModel& Hub::link(HostIndex host, Direction direction) const {
  return links_.at(std::size_t{host} * 2 + (direction == Direction::up ? 0 : 1));
}

LinkModel& Hub::link_of(HostIndex host, Direction direction) {
  return const_cast<LinkModel&>(std::as_const(*this).link(host, direction));
}

void Hub::change(HostIndex host, Direction direction, const LinkSettings& settings) {
  link_of(host, direction).change(settings);
}

/// Sends what `transit` describes through `link`: its slot goes on with the first copy, or back to the pool.
void Hub::offer(LinkModel& link, TimePoint now, const Transit& transit) {
  const auto offered = pool_.bytes(transit.slot).first(transit.size);
  const Deliveries copies = link.offer(now, transit.size, link.settings().mark_above && heeds_marks(offered));
  if (copies.empty()) {
    pool_.give_back(transit.slot);
    return;
  }
  if (copies[0].congested) mark_congested(offered);
  // The second copy is made before the first may be damaged: each has its own luck.
  std::array<std::optional<PacketPool::Slot>, 2> slots{transit.slot};
  const auto original = pool_.bytes(transit.slot).first(transit.size);
  if (copies.size() == 2) {
    slots[1] = pool_.try_take();
    if (slots[1]) {
      std::copy(original.begin(), original.end(), pool_.bytes(*slots[1]).begin());
    } else {
      overflows_ += 1;
    }
  }
  for (std::size_t i = 0; i < copies.size(); ++i) {
    if (!slots[i]) continue;
    if (copies[i].flipped_bit) flip_bit(pool_.bytes(*slots[i]).first(transit.size), *copies[i].flipped_bit, reach_);
    Transit copy = transit;
    copy.slot = *slots[i];
    in_flight_.push(copies[i].at, copy);
  }
}

}  // namespace penstock::netem
