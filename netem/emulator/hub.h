#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/time.h"
#include "netem/emulator/checksum_repair.h"
#include "netem/emulator/packet_pool.h"
#include "netem/emulator/packet_router.h"
#include "netem/link_model.h"
#include "netem/release_queue.h"

namespace penstock::netem {

enum class Direction : std::uint8_t { up, down };  // from the host to the hub, from the hub to the host

/// The two directions of one host's leg.
struct LegSettings {
  LinkSettings up;
  LinkSettings down;
};

struct HubConfig {
  std::vector<LegSettings> legs;  // one a host, in the order of HostIndex
  PacketRouter router;
  std::uint64_t seed = 1;
  CorruptReach reach = CorruptReach::kernel;
  std::size_t packet_size_max = 1500;  // at least 1
  std::size_t in_flight_packets = 1;   // bound; at least 1
};

/// The star in the middle of a lab: packets of hosts in, packets to hosts out, each at its time. A packet from A to C
/// goes through A's `up`, then C's `down`, which sees it at the very time at which `up` let it arrive. Pure. Bound:
/// `in_flight_packets`; a packet or copy beyond it is dropped and counted in overflows(). Threads: one owner. Time:
/// passed in, never decreasing over take() and pop_due() together; a packet's times do not depend on when pop_due is
/// called, if it is called with each take's `now` or later ones only.
class Hub {
 public:
  explicit Hub(HubConfig config);

  /// Room for the next packet: fill its beginning, then call take(). The same room until then.
  [[nodiscard]] std::span<std::byte> inbox();
  /// The first `size` bytes of inbox() came from `from` now. False when they are for no host (or for `from` itself).
  bool take(TimePoint now, HostIndex from, std::size_t size);

  struct Release {
    TimePoint at;  // when it should arrive
    HostIndex to;
    std::span<const std::byte> packet;  // until the next call of take, pop_due or inbox
  };
  /// The next packet whose time has come, in order of `at`; of equal times, in order of arrival.
  std::optional<Release> pop_due(TimePoint now);
  /// When to call pop_due again; nullopt when nothing is in flight. A packet may then only have reached the hub.
  [[nodiscard]] std::optional<TimePoint> next() const { return in_flight_.next(); }

  [[nodiscard]] const LinkModel& link(HostIndex host, Direction direction) const;
  /// Holds for packets that enter the link from then on.
  void change(HostIndex host, Direction direction, const LinkSettings& settings);

  [[nodiscard]] std::uint64_t overflows() const { return overflows_; }
  [[nodiscard]] const PacketPool& pool() const { return pool_; }

 private:
  enum class Stage : std::uint8_t { to_hub, to_host };
  struct Transit {
    PacketPool::Slot slot;
    std::uint32_t size;
    HostIndex to;
    Stage stage;
  };

  LinkModel& link_of(HostIndex host, Direction direction);
  void offer(LinkModel& link, TimePoint now, const Transit& transit);

  PacketRouter router_;
  CorruptReach reach_;
  std::vector<LinkModel> links_;  // up, down of host 0, then of host 1...
  PacketPool pool_;
  ReleaseQueue<Transit> in_flight_;
  std::vector<std::byte> overflow_room_;  // where a packet is read to when no slot is free
  std::optional<PacketPool::Slot> inbox_;
  std::optional<PacketPool::Slot> released_;  // lent out by pop_due
  TimePoint hub_time_{};                      // of the latest packet that reached the hub
  std::uint64_t overflows_ = 0;
};

}  // namespace penstock::netem
