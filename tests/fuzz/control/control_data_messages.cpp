// The messages of TCP data as a hostile peer writes them: refused, or words that the engine may be given, and what is
// decoded is encoded and decoded to the same again.
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "common/bytes/view.h"
#include "common/check.h"
#include "control/gate/envelope.h"
#include "control/gate/framing.h"
#include "control/session/data_message.h"

namespace {

using namespace penstock;
using namespace penstock::control;

constexpr std::size_t lanes = 3;

void check_data(const proto::Data& in) {
  const auto data = take_data(proto::Data{in}, lanes);
  if (!data) return;
  PENSTOCK_CHECK(data->lane < lanes && !data->payload.empty() && data->at.value < transfer_space_max);
  const auto frame =
      encode_data_frame(static_cast<std::uint32_t>(data->lane), data->at, bytes::as_bytes(data->payload));
  const auto again = decode_envelope(bytes::as_bytes(frame).subspan(frame_prefix_size));
  PENSTOCK_CHECK(again && again->has_data());
  const auto same = take_data(proto::Data{again->data()}, lanes);
  PENSTOCK_CHECK(same && same->lane == data->lane && same->at == data->at && same->payload == data->payload);
}

void check_ack(const proto::DataAck& in) {
  const auto ack = decode_stream_ack(in, lanes);
  if (!ack) return;
  PENSTOCK_CHECK(ack->lane < lanes && ack->ack.credit.offset_limit.value <= transfer_space_max);
  proto::DataAck again;
  encode_stream_ack(ack->lane, ack->ack, again);
  const auto same = decode_stream_ack(again, lanes);
  PENSTOCK_CHECK(same && same->lane == ack->lane && same->ack == ack->ack);
}

void check_switched(const proto::DataSwitched& in) {
  const auto holdings = decode_holdings(in, static_cast<std::size_t>(in.lanes_size()));
  if (!holdings) return;
  proto::DataSwitched again;
  for (const auto& holding : *holdings) {
    std::uint64_t end = 0;
    for (const TransferRange& range : holding.held) {
      PENSTOCK_CHECK(range.begin.value >= end && range.begin < range.end && range.end.value <= transfer_space_max);
      end = range.end.value;
    }
    encode_holding(holding, *again.add_lanes());
  }
  const auto same = decode_holdings(again, holdings->size());
  PENSTOCK_CHECK(same.ok());
  for (std::size_t lane = 0; lane < holdings->size(); ++lane)
    PENSTOCK_CHECK((*same)[lane].held == (*holdings)[lane].held && (*same)[lane].credit == (*holdings)[lane].credit);
}

void check_switch(const proto::SwitchData& in) {
  const auto turn = decode_switch(in);
  if (!turn) return;
  proto::SwitchData again;
  encode_switch(in.number(), *turn, again);
  const auto same = decode_switch(again);
  PENSTOCK_CHECK(same && same->way == turn->way && same->reason == turn->reason);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > message_size_max) return 0;
  const auto envelope = decode_envelope(std::as_bytes(std::span{data, size}));
  if (!envelope) return 0;
  if (envelope->has_data()) check_data(envelope->data());
  if (envelope->has_data_ack()) check_ack(envelope->data_ack());
  if (envelope->has_data_switched()) check_switched(envelope->data_switched());
  if (envelope->has_switch_data()) check_switch(envelope->switch_data());
  return 0;
}
