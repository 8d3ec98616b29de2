#include "tests/sim/repair_tap.h"

#include "common/crypto/nonce.h"
#include "dataplane/engine/lane_config.h"
#include "dataplane/engine/wire/frames.h"
#include "dataplane/engine/wire/repair_frame.h"
#include "tests/sim/datagram.h"

namespace penstock::sim {

RepairTap::RepairTap(const crypto::TrafficSecret& secret, const crypto::AeadBackend& backend)
    : keys_(secret.packet_keys()), key_(backend.make_key(keys_.key.view())) {}

std::optional<SeenRepair> RepairTap::read(TimePoint at, std::span<const std::byte> datagram) {
  const auto header = read_clear_header(datagram);
  if (!header || header->offset) return std::nullopt;
  const auto sealed = datagram.subspan(engine::frames_header_size);
  if (sealed.size() < crypto::aead_tag_size) return std::nullopt;
  plaintext_.resize(sealed.size() - crypto::aead_tag_size);
  const PacketNumber number{header->number};
  if (!key_->open(crypto::packet_nonce(keys_.iv, number), datagram.first(engine::frames_header_size), sealed,
                  plaintext_.data()))
    return std::nullopt;
  engine::FrameReader reader(plaintext_);
  while (const auto frame = reader.next()) {
    if (!*frame) return std::nullopt;
    if ((*frame)->type != engine::FrameType::repair) continue;
    const auto repair = engine::decode_repair((*frame)->body);
    if (!repair) return std::nullopt;
    return SeenRepair{.at = at, .sources = repair->layout.mask.count(), .repairs = repair->repairs};
  }
  return std::nullopt;
}

}  // namespace penstock::sim
