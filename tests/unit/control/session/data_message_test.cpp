#include "control/session/data_message.h"

#include <doctest/doctest.h>

#include <array>

#include "common/bytes/view.h"
#include "control/gate/framing.h"

namespace penstock::control {
namespace {

proto::Data data_of(std::uint32_t lane, std::uint64_t offset, std::size_t size) {
  proto::Data data;
  data.set_lane(lane);
  data.set_offset(offset);
  data.set_payload(std::string(size, 'x'));
  return data;
}

constexpr TransferRange range(std::uint64_t begin, std::uint64_t end) { return {{begin}, {end}}; }

}  // namespace

TEST_CASE("data message: the frame is what the library would write, and never above 64 KiB") {
  for (const std::uint32_t lane : {0U, 1U, 200U, ~0U}) {
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 33, transfer_space_max}) {
      for (const std::size_t size :
           {std::size_t{1}, std::size_t{127}, std::size_t{128}, std::size_t{16384}, engine::stream_payload_max}) {
        const std::string payload(size, 'p');
        const auto frame = encode_data_frame(lane, {at}, bytes::as_bytes(payload));
        proto::Envelope envelope;
        envelope.mutable_data()->set_lane(lane);
        envelope.mutable_data()->set_offset(at);
        envelope.mutable_data()->set_payload(payload);
        CHECK(frame == encode_frame(envelope));
        CHECK(frame.size() <= 65536);
      }
    }
  }
}

TEST_CASE("data message: what is too long, empty, out of space or of no lane is refused") {
  CHECK(take_data(data_of(0, 0, 1), 1));
  CHECK(take_data(data_of(3, 1 << 20, engine::stream_payload_max), 4));
  CHECK_FALSE(take_data(data_of(0, 0, 0), 1));
  CHECK_FALSE(take_data(data_of(0, 0, engine::stream_payload_max + 1), 1));
  CHECK_FALSE(take_data(data_of(0, transfer_space_max, 1), 1));
  CHECK_FALSE(take_data(data_of(1, 0, 1), 1));
}

TEST_CASE("data message: acknowledgements and holdings come back as they went") {
  const engine::StreamAck ack{.messages = 7, .refused = {3, 5}, .credit = {.credit = 12, .offset_limit = {99}}};
  proto::DataAck message;
  encode_stream_ack(2, ack, message);
  const auto decoded = decode_stream_ack(message, 3);
  REQUIRE(decoded);
  CHECK(decoded->lane == 2);
  CHECK(decoded->ack == ack);
  CHECK_FALSE(decode_stream_ack(message, 2));

  engine::Receiver::Holding holding;
  holding.credit = {.credit = 5, .offset_limit = {6}};
  holding.held = {range(0, 10), range(20, 25), range(transfer_space_max - 1, transfer_space_max)};
  proto::DataSwitched switched;
  encode_holding(holding, *switched.add_lanes());
  encode_holding({}, *switched.add_lanes());
  const auto holdings = decode_holdings(switched, 2);
  REQUIRE(holdings);
  CHECK(holdings->front().held == holding.held);
  CHECK(holdings->front().credit == holding.credit);
  CHECK(holdings->back().held.empty());
  CHECK_FALSE(decode_holdings(switched, 1));
}

TEST_CASE("data message: holdings that overlap all space, are empty or cut short are refused") {
  const auto refused = [](std::initializer_list<std::uint64_t> held) {
    proto::DataSwitched switched;
    auto* lane = switched.add_lanes();
    for (const auto number : held) lane->add_held(number);
    return !decode_holdings(switched, 1).ok();
  };
  CHECK_FALSE(refused({0, transfer_space_max}));
  CHECK(refused({1, transfer_space_max}));
  CHECK(refused({transfer_space_max, 1}));
  CHECK(refused({~std::uint64_t{0}, 1}));
  CHECK(refused({0, ~std::uint64_t{0}}));
  CHECK(refused({5, 0}));
  CHECK(refused({5}));
}

TEST_CASE("data message: a switch to nowhere is refused, a reason that is not known is not") {
  for (const auto way : {DataWay::udp, DataWay::tcp}) {
    for (const auto reason :
         {SwitchReason::asked, SwitchReason::dark, SwitchReason::poor, SwitchReason::back, SwitchReason::better}) {
      proto::SwitchData message;
      encode_switch(4, {.way = way, .reason = reason}, message);
      const auto turn = decode_switch(message);
      REQUIRE(turn);
      CHECK(turn->way == way);
      CHECK(turn->reason == reason);
      CHECK(message.number() == 4);
    }
  }
  proto::SwitchData message;
  CHECK_FALSE(decode_switch(message));
  message.set_way(proto::SwitchData::TCP);
  message.set_reason(static_cast<proto::SwitchData::Reason>(77));
  CHECK(decode_switch(message));
}

}  // namespace penstock::control
