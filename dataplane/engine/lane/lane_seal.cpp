#include <algorithm>

#include "common/check.h"
#include "dataplane/engine/lane/lane_core.h"

// What leaves a lane: numbered, sealed, and entered in the accounts.

namespace penstock::engine {

PacketHeader LaneCore::header_for(PacketType type, PacketNumber number) const {
  return {.type = type,
          .epoch_bits = static_cast<std::uint8_t>(seal_keys_.epoch().value & 3),
          .connection = peer_id_,
          .number_low = static_cast<std::uint32_t>(number.value),
          .offset = {}};
}

Transmit LaneCore::seal_frames(TimePoint now, std::span<const std::byte> frames, const SentPacket& sent,
                               std::span<std::byte> buffer) {
  const PacketNumber number = recovery_.take_number();
  seal_keys_.update_if_due(number);
  const std::size_t size = frames_header_size + frames.size() + crypto::aead_tag_size;
  encode_packet_header(header_for(PacketType::frames, number), buffer);
  seal_keys_.seal(number, buffer.first(frames_header_size), frames, buffer.data() + frames_header_size);
  if (sent.kind == SentKind::none) {
    recovery_.on_unacknowledged_sent();
  } else {
    SentPacket recorded = sent;
    recorded.size = static_cast<std::uint16_t>(size);
    if (sent.kind == SentKind::path_probe) {
      recovery_.on_size_probe_sent(now, recorded);
    } else {
      recovery_.on_packet_sent(recorded);
      recovery_.on_batch_sent(now, 1, size);
    }
  }
  ++stats_.packets_sent;
  stats_.bytes_sent += size;
  return {size, size};
}

void LaneCore::seal_data(TimePoint now, TransferOffset at, std::span<const std::byte> payload, std::span<std::byte> out,
                         std::uint8_t attempt, EcnMark mark) {
  const PacketNumber number = recovery_.take_number();
  seal_keys_.update_if_due(number);
  PacketHeader header = header_for(PacketType::data, number);
  header.offset = at;
  encode_packet_header(header, out);
  seal_keys_.seal(number, out.first(data_header_size), payload, out.data() + data_header_size);
  recovery_.on_packet_sent(
      {.sent_at = now,
       .offset = at.value,
       .length = static_cast<std::uint16_t>(payload.size()),
       .size = static_cast<std::uint16_t>(data_header_size + payload.size() + crypto::aead_tag_size),
       .kind = SentKind::data,
       .attempt = attempt,
       .marked = mark != EcnMark::none});
}

std::size_t LaneCore::seal_repair(TimePoint now, const RepairFrame& frame, std::uint64_t generation,
                                  std::span<std::byte> out, EcnMark mark) {
  const PacketNumber number = recovery_.take_number();
  seal_keys_.update_if_due(number);
  scratch_.resize(std::max(scratch_.size(), repair_frame_overhead + frame.symbol.size()));
  bytes::WireWriter frames(scratch_);
  encode_repair(frames, frame);
  PENSTOCK_CHECK(frames.ok());
  const std::size_t size = frames_header_size + frames.size() + crypto::aead_tag_size;
  encode_packet_header(header_for(PacketType::frames, number), out);
  seal_keys_.seal(number, out.first(frames_header_size), frames.written(), out.data() + frames_header_size);
  recovery_.on_packet_sent({.sent_at = now,
                            .offset = generation,
                            .length = 0,
                            .size = static_cast<std::uint16_t>(size),
                            .kind = SentKind::repair,
                            .marked = mark != EcnMark::none});
  ++stats_.repairs_sent;
  return size;
}

void LaneCore::on_data_batch(TimePoint now, std::size_t packets, const Transmit& batch) {
  recovery_.on_batch_sent(now, packets, batch.size);
  if (batch.mark != EcnMark::none) recovery_.on_marked_sent(now, packets);
  stats_.packets_sent += packets;
  stats_.bytes_sent += batch.size;
}

}  // namespace penstock::engine
