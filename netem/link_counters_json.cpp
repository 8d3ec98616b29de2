#include "netem/link_counters_json.h"

#include <fmt/format.h>

namespace penstock::netem {

std::string to_json(const LinkCounters& n) {
  return fmt::format(
      R"({{"offered_packets":{},"offered_bytes":{},"delivered_packets":{},"delivered_bytes":{},"lost_random":{},)"
      R"("lost_burst":{},"lost_queue":{},"lost_policer":{},"lost_down":{},"lost_mtu":{},"marked":{},"duplicated":{},"corrupted":{},"reordered":{},)"
      R"("queue_bytes_max":{}}})",
      n.offered_packets, n.offered_bytes, n.delivered_packets, n.delivered_bytes, n.lost_random, n.lost_burst,
      n.lost_queue, n.lost_policer, n.lost_down, n.lost_mtu, n.marked, n.duplicated, n.corrupted, n.reordered,
      n.queue_bytes_max);
}

}  // namespace penstock::netem
