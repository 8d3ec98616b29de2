#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/crypto/aead.h"
#include "common/crypto/key_schedule.h"
#include "common/time.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::engine::fuzz {

/// Makes well-sealed datagrams out of a fuzzer's input, so that what an authenticated peer can say is reached.
/// A step is: kind (1), milliseconds to wait (1), packet number to add to the last (1), length (2), then for DATA the
/// offset (3); then the plaintext. An even kind is FRAMES, an odd one DATA; bit 7 spoils a bit of the tag.
class SealedScript {
 public:
  SealedScript(std::span<const std::byte> script, LaneKeys keys);

  struct Step {
    Duration wait;
    std::vector<std::byte> datagram;
  };
  std::optional<Step> next();

 private:
  std::span<const std::byte> script_;
  LaneKeys keys_;
  crypto::PacketKeys packet_keys_;
  std::unique_ptr<crypto::AeadKey> key_;
  std::uint64_t number_ = 0;
};

/// Fixed keys; `victim` chooses the end.
enum class Victim { sender, receiver };
LaneKeys victim_keys(Victim victim);
LaneKeys peer_keys(Victim victim);

}  // namespace penstock::engine::fuzz
