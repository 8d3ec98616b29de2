#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "common/bytes/wire_writer.h"
#include "common/units.h"
#include "common/wire_error.h"
#include "dataplane/engine/events.h"
#include "dataplane/engine/wire/ecn_mark.h"

namespace penstock::engine {

// Specification. A frame is type (1), length of the body (2), body. Types below `frame_type_optional` are mandatory:
// one that a receiver does not know ends the lane. Types from there on may be skipped by their length.
inline constexpr std::size_t frame_header_size = 3;
inline constexpr std::uint8_t frame_type_optional = 0x80;

enum class FrameType : std::uint8_t {
  padding = 0x00,        // any body
  ping = 0x01,           // empty: asks for an ACK
  ack = 0x02,            // see ack_frame.h
  credit = 0x03,         // credit, offset limit
  control = 0x04,        // stream offset, bytes
  oldest_needed = 0x05,  // the sender asks for no acknowledgement below this number
  key_update = 0x06,     // confirms that packets of this epoch arrived
  skip = 0x07,           // reserved for open and live sources: this range will never come
  final_offset = 0x08,   // reserved for open and live sources: the space ends here
  close = 0x09,          // the lane is over, and why
  repair = 0x80,         // see repair_frame.h
  path_challenge = 0x81,
  path_response = 0x82,
  ecn_counts = 0x83,  // goes with the ACK behind it in the same packet
};

/// One frame as it stands in an opened packet; the body is borrowed from it.
struct RawFrame {
  FrameType type;
  std::span<const std::byte> body;
};

/// Walks the frames of one opened packet. Unknown optional frames are skipped here; unknown mandatory ones, and frames
/// that run past the packet, are errors, after which nothing more is read.
class FrameReader {
 public:
  explicit FrameReader(std::span<const std::byte> packet) : rest_(packet) {}
  /// nullopt at the end of the packet.
  [[nodiscard]] std::optional<Decoded<RawFrame>> next();

 private:
  std::span<const std::byte> rest_;
};

/// New bytes that may have been sent in all, and the end of transfer space in which they may lie.
struct CreditFrame {
  std::uint64_t credit = 0;
  TransferOffset offset_limit = {};
  bool operator==(const CreditFrame&) const = default;
};
/// Bytes of the reliable control stream; at least one.
struct ControlFrame {
  std::uint64_t stream_offset = 0;
  std::span<const std::byte> data;
};
struct SkipFrame {
  TransferRange range;
  bool operator==(const SkipFrame&) const = default;
};
using PathData = std::array<std::byte, 8>;

// Each decoder takes a frame's body and wants its exact length. Each encoder writes the whole frame, header included,
// or overflows the writer.
[[nodiscard]] Decoded<CreditFrame> decode_credit(std::span<const std::byte> body);
void encode_credit(bytes::WireWriter& out, const CreditFrame& frame);

[[nodiscard]] Decoded<ControlFrame> decode_control(std::span<const std::byte> body);
void encode_control(bytes::WireWriter& out, const ControlFrame& frame);
inline constexpr std::size_t control_frame_overhead = frame_header_size + 8;

[[nodiscard]] Decoded<PacketNumber> decode_oldest_needed(std::span<const std::byte> body);
void encode_oldest_needed(bytes::WireWriter& out, PacketNumber number);

[[nodiscard]] Decoded<KeyEpoch> decode_key_update(std::span<const std::byte> body);
void encode_key_update(bytes::WireWriter& out, KeyEpoch epoch);

[[nodiscard]] Decoded<SkipFrame> decode_skip(std::span<const std::byte> body);
void encode_skip(bytes::WireWriter& out, const SkipFrame& frame);

[[nodiscard]] Decoded<TransferOffset> decode_final_offset(std::span<const std::byte> body);
void encode_final_offset(bytes::WireWriter& out, TransferOffset end);

[[nodiscard]] Decoded<TransportError> decode_close(std::span<const std::byte> body);
void encode_close(bytes::WireWriter& out, TransportError reason);

[[nodiscard]] Decoded<PathData> decode_path_data(std::span<const std::byte> body);
void encode_path_data(bytes::WireWriter& out, FrameType challenge_or_response, const PathData& data);

[[nodiscard]] Decoded<EcnCounts> decode_ecn_counts(std::span<const std::byte> body);
/// Requires: each count is below 2^48.
void encode_ecn_counts(bytes::WireWriter& out, const EcnCounts& counts);
inline constexpr std::size_t ecn_counts_frame_size = frame_header_size + 18;

[[nodiscard]] Decoded<std::monostate> decode_ping(std::span<const std::byte> body);
void encode_ping(bytes::WireWriter& out);
/// `size` bytes in all. Requires: size >= frame_header_size.
void encode_padding(bytes::WireWriter& out, std::size_t size);

}  // namespace penstock::engine
