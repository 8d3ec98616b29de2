#include "dataplane/engine/wire/frames.h"

#include <algorithm>

#include "common/bytes/wire_reader.h"

namespace penstock::engine {
namespace {

using bytes::WireReader;
using bytes::WireWriter;

bool is_known(std::uint8_t type) {
  return type <= static_cast<std::uint8_t>(FrameType::close) ||
         (type >= frame_type_optional && type <= static_cast<std::uint8_t>(FrameType::ecn_counts));
}

void encode_frame_header(WireWriter& out, FrameType type, std::size_t body_size) {
  out.u8(static_cast<std::uint8_t>(type));
  out.u16(static_cast<std::uint16_t>(body_size));
}

WireError length_error(const WireReader& in) { return in.ok() ? WireError::trailing_bytes : WireError::truncated; }

}  // namespace

std::optional<Decoded<RawFrame>> FrameReader::next() {
  while (!rest_.empty()) {
    WireReader in(rest_);
    const std::uint8_t type = in.u8();
    const std::uint16_t length = in.u16();
    const auto body = in.bytes(length);
    if (!in.ok()) {
      rest_ = {};
      return Decoded<RawFrame>{WireError::truncated};
    }
    rest_ = rest_.subspan(in.position());
    if (is_known(type)) return Decoded<RawFrame>{RawFrame{static_cast<FrameType>(type), body}};
    if (type < frame_type_optional) {
      rest_ = {};
      return Decoded<RawFrame>{WireError::unknown_frame};
    }
  }
  return std::nullopt;
}

Decoded<CreditFrame> decode_credit(std::span<const std::byte> body) {
  WireReader in(body);
  const CreditFrame frame{.credit = in.u64(), .offset_limit = TransferOffset{in.u48()}};
  if (!in.done()) return length_error(in);
  return frame;
}
void encode_credit(WireWriter& out, const CreditFrame& frame) {
  encode_frame_header(out, FrameType::credit, 14);
  out.u64(frame.credit);
  out.u48(frame.offset_limit.value);
}

Decoded<ControlFrame> decode_control(std::span<const std::byte> body) {
  WireReader in(body);
  const ControlFrame frame{.stream_offset = in.u64(), .data = in.rest()};
  if (!in.done()) return length_error(in);
  if (frame.data.empty()) return WireError::truncated;
  if (frame.stream_offset > bytes::varint_max) return WireError::value_out_of_range;  // so that the end never wraps
  return frame;
}
void encode_control(WireWriter& out, const ControlFrame& frame) {
  encode_frame_header(out, FrameType::control, 8 + frame.data.size());
  out.u64(frame.stream_offset);
  out.bytes(frame.data);
}

Decoded<PacketNumber> decode_oldest_needed(std::span<const std::byte> body) {
  WireReader in(body);
  const PacketNumber number{in.u64()};
  if (!in.done()) return length_error(in);
  return number;
}
void encode_oldest_needed(WireWriter& out, PacketNumber number) {
  encode_frame_header(out, FrameType::oldest_needed, 8);
  out.u64(number.value);
}

Decoded<KeyEpoch> decode_key_update(std::span<const std::byte> body) {
  WireReader in(body);
  const KeyEpoch epoch{in.u32()};
  if (!in.done()) return length_error(in);
  return epoch;
}
void encode_key_update(WireWriter& out, KeyEpoch epoch) {
  encode_frame_header(out, FrameType::key_update, 4);
  out.u32(epoch.value);
}

Decoded<SkipFrame> decode_skip(std::span<const std::byte> body) {
  WireReader in(body);
  const std::uint64_t begin = in.u48();
  const std::uint64_t length = in.u48();
  if (!in.done()) return length_error(in);
  if (begin + length > transfer_space_max) return WireError::value_out_of_range;
  return SkipFrame{{TransferOffset{begin}, TransferOffset{begin + length}}};
}
void encode_skip(WireWriter& out, const SkipFrame& frame) {
  encode_frame_header(out, FrameType::skip, 12);
  out.u48(frame.range.begin.value);
  out.u48(frame.range.size());
}

Decoded<TransferOffset> decode_final_offset(std::span<const std::byte> body) {
  WireReader in(body);
  const TransferOffset end{in.u48()};
  if (!in.done()) return length_error(in);
  return end;
}
void encode_final_offset(WireWriter& out, TransferOffset end) {
  encode_frame_header(out, FrameType::final_offset, 6);
  out.u48(end.value);
}

Decoded<TransportError> decode_close(std::span<const std::byte> body) {
  WireReader in(body);
  const std::uint8_t reason = in.u8();
  if (!in.done()) return length_error(in);
  if (reason > static_cast<std::uint8_t>(TransportError::cancelled)) return WireError::value_out_of_range;
  return static_cast<TransportError>(reason);
}
void encode_close(WireWriter& out, TransportError reason) {
  encode_frame_header(out, FrameType::close, 1);
  out.u8(static_cast<std::uint8_t>(reason));
}

Decoded<PathData> decode_path_data(std::span<const std::byte> body) {
  PathData data;
  if (body.size() != data.size()) return body.size() < data.size() ? WireError::truncated : WireError::trailing_bytes;
  std::copy(body.begin(), body.end(), data.begin());
  return data;
}
void encode_path_data(WireWriter& out, FrameType challenge_or_response, const PathData& data) {
  encode_frame_header(out, challenge_or_response, data.size());
  out.bytes(data);
}

Decoded<EcnCounts> decode_ecn_counts(std::span<const std::byte> body) {
  WireReader in(body);
  const EcnCounts counts{.ect0 = in.u48(), .ect1 = in.u48(), .ce = in.u48()};
  if (!in.done()) return length_error(in);
  return counts;
}
void encode_ecn_counts(WireWriter& out, const EcnCounts& counts) {
  encode_frame_header(out, FrameType::ecn_counts, 18);
  out.u48(counts.ect0);
  out.u48(counts.ect1);
  out.u48(counts.ce);
}

Decoded<std::monostate> decode_ping(std::span<const std::byte> body) {
  if (!body.empty()) return WireError::trailing_bytes;
  return std::monostate{};
}
void encode_ping(WireWriter& out) { encode_frame_header(out, FrameType::ping, 0); }

void encode_padding(WireWriter& out, std::size_t size) {
  PENSTOCK_CHECK(size >= frame_header_size);
  encode_frame_header(out, FrameType::padding, size - frame_header_size);
  out.zeros(size - frame_header_size);
}

}  // namespace penstock::engine
