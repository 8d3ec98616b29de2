// The transfer's messages as a hostile peer writes them: decoded to storage's words or refused, and what is decoded is
// encoded and decoded to the same again.
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "control/gate/envelope.h"
#include "control/gate/framing.h"
#include "control/transfer/message_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::control;
  if (size > message_size_max) return 0;
  const auto parsed = decode_envelope(std::as_bytes(std::span{data, size}));
  if (!parsed) return 0;
  const proto::Envelope& envelope = *parsed;
  for (const auto& entry : envelope.manifest_segment().entries()) {
    const auto decoded = decode_entry(entry);
    if (!decoded) continue;
    proto::Entry again;
    encode_entry(*decoded, again);
    const auto second = decode_entry(again);
    PENSTOCK_CHECK(second && *second == *decoded);
  }
  for (const auto& verdict : envelope.verdicts().exceptions()) {
    const auto decoded = decode_verdict(verdict);
    if (!decoded) continue;
    proto::Verdict again;
    encode_verdict(*decoded, again);
    const auto second = decode_verdict(again);
    PENSTOCK_CHECK(second && second->held == decoded->held && second->action == decoded->action);
  }
  if (const auto decoded = decode_digests(envelope.block_digests())) {
    proto::BlockDigests again;
    encode_digests(*decoded, again);
    const auto second = decode_digests(again);
    PENSTOCK_CHECK(second && second->blocks == decoded->blocks && second->files == decoded->files);
  }
  if (const auto decoded = decode_repair(envelope.repair_list())) {
    proto::RepairList again;
    encode_repair(*decoded, again);
    const auto second = decode_repair(again);
    PENSTOCK_CHECK(second && *second == *decoded);
  }
  if (const auto decoded = decode_ratio(envelope.fec_ratio())) {
    proto::FecRatio again;
    encode_ratio(envelope.fec_ratio().number(), *decoded, again);
    const auto second = decode_ratio(again);
    PENSTOCK_CHECK(second && *second == *decoded);
  }
  if (envelope.has_move_extent()) {
    const auto move = decode_move(envelope.move_extent());
    proto::MoveExtent again;
    encode_move(move, again);
    const auto second = decode_move(again);
    PENSTOCK_CHECK(second.number == move.number && second.move == move.move);
    for (const std::size_t lanes : {2U, 64U}) {
      penstock::engine::ExtentDesk desk(lanes);
      if (!desk.on_move(move)) continue;
      const auto admitted = desk.poll();
      PENSTOCK_CHECK(admitted && admitted->move.from < lanes && admitted->move.to < lanes);
    }
  }
  return 0;
}
