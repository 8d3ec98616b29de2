#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/units.h"
#include "control/proto/gate.pb.h"
#include "control/session/way_judge.h"
#include "dataplane/engine/receiver.h"
#include "dataplane/engine/stream/stream_words.h"

namespace penstock::control {

/// Ranges that all lanes of a DataSwitched may list together: 20 bytes each at most, so it stays one message.
inline constexpr std::size_t held_ranges_max = 32768;

// The messages of TCP data as the engine's words, each way. Decoding refuses what makes no sense: INTERNAL, side
// remote, which ends the session.

/// A Data message as it travels, prefix included, made without a message object: the payload is copied once.
/// Requires: 1 to stream_payload_max bytes.
std::string encode_data_frame(std::uint32_t lane, TransferOffset at, std::span<const std::byte> payload);

struct DataMessage {
  std::size_t lane = 0;
  TransferOffset at;
  std::string payload;
};
/// `lanes`: how many there are. Credit, slabs and sizes are the engine's to judge.
Result<DataMessage> take_data(proto::Data&& in, std::size_t lanes);

void encode_stream_ack(std::size_t lane, const engine::StreamAck& ack, proto::DataAck& out);
struct LaneAck {
  std::size_t lane = 0;
  engine::StreamAck ack;
};
Result<LaneAck> decode_stream_ack(const proto::DataAck& in, std::size_t lanes);

void encode_holding(const engine::Receiver::Holding& holding, proto::DataSwitched::Lane& out);
/// One for each of `lanes`.
Result<std::vector<engine::Receiver::Holding>> decode_holdings(const proto::DataSwitched& in, std::size_t lanes);

void encode_switch(std::uint64_t number, const WayOrder::Switch& turn, proto::SwitchData& out);
Result<WayOrder::Switch> decode_switch(const proto::SwitchData& in);

/// Is this one of the four messages of TCP data?
[[nodiscard]] bool is_about_data(const proto::Envelope& envelope);

}  // namespace penstock::control
