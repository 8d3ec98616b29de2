#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::benchmarks {

/// Both ends' ids and keys of one lane. They protect nothing: the same in every run.
struct PairKeys {
  ConnectionId sender_id;
  ConnectionId receiver_id;
  engine::LaneKeys sender;
  engine::LaneKeys receiver;
};

/// `lane`: no two lanes that share sockets, one after the other either, may have the same: a straggler of the first
/// would be believed by the second.
inline PairKeys make_pair_keys(const crypto::AeadBackend& backend, std::uint64_t lane = 0) {
  const ConnectionId sender_id{2 * lane + 1};
  const ConnectionId receiver_id{2 * lane + 2};
  const auto secret = [](int fill) {
    crypto::SecretArray<crypto::traffic_secret_size> bytes;
    std::ranges::fill(bytes.writable(), static_cast<std::byte>(fill));
    return crypto::TrafficSecret(std::move(bytes));
  };
  return {.sender_id = sender_id,
          .receiver_id = receiver_id,
          .sender = {.backend = &backend,
                     .send_secret = secret(1),
                     .receive_secret = secret(2),
                     .peer_id = receiver_id,
                     .own_id = sender_id},
          .receiver = {.backend = &backend,
                       .send_secret = secret(2),
                       .receive_secret = secret(1),
                       .peer_id = sender_id,
                       .own_id = receiver_id}};
}

}  // namespace penstock::benchmarks
