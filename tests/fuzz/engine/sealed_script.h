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
#include "dataplane/engine/events.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/path/address_validation.h"

namespace penstock::engine::fuzz {

/// Makes well-sealed datagrams out of a fuzzer's input, so that what an authenticated peer can say is reached.
/// A step is: kind (1), milliseconds to wait (1), packet number to add to the last (1), length (2), then for DATA the
/// offset (3); then the plaintext. An even kind is FRAMES, an odd one DATA; bit 7 spoils a bit of the tag, bit 6 moves
/// to the next epoch first, bit 5 says that it comes from another address. Bit 4: no datagram, but something that
/// came by TCP; what, the target reads out of the plaintext.
class SealedScript {
 public:
  SealedScript(std::span<const std::byte> script, LaneKeys keys);

  struct Step {
    Duration wait;
    std::vector<std::byte> datagram;        // empty: by TCP
    bool from_elsewhere = false;            // the datagram
    std::uint32_t offset = 0;               // by TCP: as in the step
    std::span<const std::byte> plain = {};  // likewise; borrowed from the input
  };
  std::optional<Step> next();

 private:
  void next_epoch();

  std::span<const std::byte> script_;
  LaneKeys keys_;
  crypto::PacketKeys packet_keys_;
  std::unique_ptr<crypto::AeadKey> key_;
  std::uint64_t number_ = 0;
};

/// What the driver does with the address that a datagram came from (io/lane.cpp): proposes it, and counts what comes.
template <class Engine>
void follow_address(Engine& engine, TimePoint now, const SealedScript::Step& step, const BatchOutcome& outcome) {
  if (!step.from_elsewhere || outcome.authentic == 0) return;
  if (engine.asks_proposed()) return engine.on_bytes_from_proposed(step.datagram.size());
  if (outcome.newest_authentic) (void)engine.propose_address(now, AddressChange::host, step.datagram.size());
}

/// Fixed keys; `victim` chooses the end.
enum class Victim { sender, receiver };
LaneKeys victim_keys(Victim victim);
LaneKeys peer_keys(Victim victim);

}  // namespace penstock::engine::fuzz
