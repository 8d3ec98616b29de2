#pragma once

#include <cstdint>

namespace penstock::io {

class Port;

/// What a socket has dropped in its life (SO_RXQ_OVFL), as seen with a batch that came by it.
struct SocketDrops {
  const Port* socket = nullptr;  // only compared
  std::uint64_t total = 0;
};

/// What sockets dropped while a lane's datagrams came by them. What a socket dropped before the lane met it was
/// others', and so is what it drops while the lane comes by another one.
class LaneDrops {
 public:
  /// The lane's running total.
  std::uint64_t on_batch(const SocketDrops& drops) {
    if (drops.socket == last_.socket) counted_ += drops.total - last_.total;
    last_ = drops;
    return counted_;
  }

 private:
  SocketDrops last_;
  std::uint64_t counted_ = 0;
};

}  // namespace penstock::io
