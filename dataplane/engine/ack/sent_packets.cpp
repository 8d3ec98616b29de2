#include "dataplane/engine/ack/sent_packets.h"

namespace penstock::engine {

void SentPackets::grow() {
  PENSTOCK_CHECK(!full());
  std::vector<SentPacket> wider(ring_.size() * 2);
  for (std::uint64_t n = first_; n != end_; ++n) wider[n & (wider.size() - 1)] = ring_[n & (ring_.size() - 1)];
  ring_.swap(wider);
}

}  // namespace penstock::engine
