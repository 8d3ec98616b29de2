#include "control/session/data_message.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "control/gate/framing.h"

namespace penstock::control {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

Error nonsense(std::string_view what) {
  return {ErrorCode::INTERNAL, "the other end broke the protocol: " + std::string{what}, {}, ErrorSide::remote};
}

constexpr std::uint32_t tag_of(int field, WireFormatLite::WireType type) {
  return WireFormatLite::MakeTag(field, type);
}

}  // namespace

std::string encode_data_frame(std::uint32_t lane, TransferOffset at, std::span<const std::byte> payload) {
  PENSTOCK_CHECK(!payload.empty() && payload.size() <= engine::stream_payload_max);
  constexpr auto varint = WireFormatLite::WIRETYPE_VARINT;
  constexpr auto delimited = WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
  const std::uint32_t lane_tag = tag_of(proto::Data::kLaneFieldNumber, varint);
  const std::uint32_t offset_tag = tag_of(proto::Data::kOffsetFieldNumber, varint);
  const std::uint32_t payload_tag = tag_of(proto::Data::kPayloadFieldNumber, delimited);
  const std::uint32_t data_tag = tag_of(proto::Envelope::kDataFieldNumber, delimited);
  const auto size = static_cast<std::uint32_t>(payload.size());
  // Zeros are left out, as the library does.
  std::size_t inner = CodedOutputStream::VarintSize32(payload_tag) + CodedOutputStream::VarintSize32(size) + size;
  if (lane != 0) inner += CodedOutputStream::VarintSize32(lane_tag) + CodedOutputStream::VarintSize32(lane);
  if (at.value != 0) inner += CodedOutputStream::VarintSize32(offset_tag) + CodedOutputStream::VarintSize64(at.value);
  const std::size_t outer = CodedOutputStream::VarintSize32(data_tag) +
                            CodedOutputStream::VarintSize32(static_cast<std::uint32_t>(inner)) + inner;

  std::string frame;
  frame.reserve(frame_prefix_size + outer);
  frame.resize(frame_prefix_size + outer - size);
  for (std::size_t i = 0; i < frame_prefix_size; ++i)
    frame[i] = static_cast<char>(outer >> (8 * (frame_prefix_size - 1 - i)) & 0xff);
  auto* to = reinterpret_cast<std::uint8_t*>(frame.data()) + frame_prefix_size;
  to = CodedOutputStream::WriteVarint32ToArray(data_tag, to);
  to = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(inner), to);
  if (lane != 0)
    to = CodedOutputStream::WriteVarint32ToArray(lane, CodedOutputStream::WriteVarint32ToArray(lane_tag, to));
  if (at.value != 0)
    to = CodedOutputStream::WriteVarint64ToArray(at.value, CodedOutputStream::WriteVarint32ToArray(offset_tag, to));
  to = CodedOutputStream::WriteVarint32ToArray(payload_tag, to);
  to = CodedOutputStream::WriteVarint32ToArray(size, to);
  PENSTOCK_CHECK(to == reinterpret_cast<std::uint8_t*>(frame.data()) + frame.size());
  frame.append(bytes::as_text(payload));
  return frame;
}

Result<DataMessage> take_data(proto::Data&& in, std::size_t lanes) {
  if (in.lane() >= lanes) return nonsense("data of a lane that is not there");
  if (in.payload().empty() || in.payload().size() > engine::stream_payload_max || in.offset() >= transfer_space_max)
    return nonsense("data of a size or place that is not allowed");
  return DataMessage{.lane = in.lane(), .at = {in.offset()}, .payload = std::move(*in.mutable_payload())};
}

void encode_stream_ack(std::size_t lane, const engine::StreamAck& ack, proto::DataAck& out) {
  out.set_lane(static_cast<std::uint32_t>(lane));
  out.set_messages(ack.messages);
  for (const auto number : ack.refused) out.add_refused(number);
  out.set_credit(ack.credit.credit);
  out.set_offset_limit(ack.credit.offset_limit.value);
}

Result<LaneAck> decode_stream_ack(const proto::DataAck& in, std::size_t lanes) {
  if (in.lane() >= lanes) return nonsense("an acknowledgement of a lane that is not there");
  if (in.offset_limit() > transfer_space_max) return nonsense("credit beyond all space");
  return LaneAck{.lane = in.lane(),
                 .ack = {.messages = in.messages(),
                         .refused = {in.refused().begin(), in.refused().end()},
                         .credit = {.credit = in.credit(), .offset_limit = {in.offset_limit()}}}};
}

void encode_holding(const engine::Receiver::Holding& holding, proto::DataSwitched::Lane& out) {
  out.set_credit(holding.credit.credit);
  out.set_offset_limit(holding.credit.offset_limit.value);
  std::uint64_t end = 0;
  for (const TransferRange& range : holding.held) {
    out.add_held(range.begin.value - end);
    out.add_held(range.size());
    end = range.end.value;
  }
}

Result<std::vector<engine::Receiver::Holding>> decode_holdings(const proto::DataSwitched& in, std::size_t lanes) {
  if (static_cast<std::size_t>(in.lanes_size()) != lanes)
    return nonsense("a switch of data of other lanes than there are");
  std::vector<engine::Receiver::Holding> holdings;
  for (const auto& lane : in.lanes()) {
    if (lane.held_size() % 2 != 0 || lane.offset_limit() > transfer_space_max)
      return nonsense("a switch of data whose ranges make no sense");
    auto& holding = holdings.emplace_back();
    holding.credit = {.credit = lane.credit(), .offset_limit = {lane.offset_limit()}};
    std::uint64_t end = 0;
    for (int i = 0; i < lane.held_size(); i += 2) {
      const std::uint64_t gap = lane.held(i);
      const std::uint64_t size = lane.held(i + 1);
      if (size == 0 || gap > transfer_space_max - end || size > transfer_space_max - end - gap)
        return nonsense("a switch of data whose ranges make no sense");
      holding.held.push_back({{end + gap}, {end + gap + size}});
      end += gap + size;
    }
  }
  return holdings;
}

void encode_switch(std::uint64_t number, const WayOrder::Switch& turn, proto::SwitchData& out) {
  out.set_number(number);
  out.set_way(turn.way == DataWay::tcp ? proto::SwitchData::TCP : proto::SwitchData::UDP);
  switch (turn.reason) {
    case SwitchReason::asked:
      return out.set_reason(proto::SwitchData::ASKED);
    case SwitchReason::dark:
      return out.set_reason(proto::SwitchData::DARK);
    case SwitchReason::poor:
      return out.set_reason(proto::SwitchData::POOR);
    case SwitchReason::back:
      return out.set_reason(proto::SwitchData::BACK);
    case SwitchReason::better:
      return out.set_reason(proto::SwitchData::BETTER);
  }
}

Result<WayOrder::Switch> decode_switch(const proto::SwitchData& in) {
  WayOrder::Switch turn;
  if (in.way() != proto::SwitchData::TCP && in.way() != proto::SwitchData::UDP)
    return nonsense("a switch of data to nowhere");
  turn.way = in.way() == proto::SwitchData::TCP ? DataWay::tcp : DataWay::udp;
  switch (in.reason()) {
    case proto::SwitchData::DARK:
      turn.reason = SwitchReason::dark;
      break;
    case proto::SwitchData::POOR:
      turn.reason = SwitchReason::poor;
      break;
    case proto::SwitchData::BACK:
      turn.reason = SwitchReason::back;
      break;
    case proto::SwitchData::BETTER:
      turn.reason = SwitchReason::better;
      break;
    default:  // a newer peer's reason is none that we could tell
      turn.reason = SwitchReason::asked;
      break;
  }
  return turn;
}

bool is_about_data(const proto::Envelope& envelope) {
  return envelope.has_data() || envelope.has_data_ack() || envelope.has_switch_data() || envelope.has_data_switched();
}

}  // namespace penstock::control
