#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "dataplane/engine/wire/frames.h"
#include "dataplane/engine/wire/repair_frame.h"
#include "tests/sim/under_attack.h"

namespace penstock::sim {
namespace {

using namespace std::chrono_literals;
using engine::TransportError;

TEST_CASE("hostile peer: a mandatory frame of unknown type ends the session, an optional one is skipped") {
  SenderUnderAttack skips{5};
  skips.hear(skips.peer.frames([](bytes::WireWriter& out) {
    out.u8(0xfe);
    out.u16(3);
    out.zeros(3);
  }));
  CHECK(!skips.closed);
  SenderUnderAttack ends{6};
  ends.hear(ends.peer.frames([](bytes::WireWriter& out) {
    out.u8(0x7e);
    out.u16(3);
    out.zeros(3);
  }));
  REQUIRE(ends.closed);
  CHECK(ends.closed->error == TransportError::protocol_violation);
}

TEST_CASE("hostile peer: to confirm an epoch that never was ends the session") {
  SenderUnderAttack honest{7};
  honest.hear(honest.peer.frames([](bytes::WireWriter& out) { engine::encode_key_update(out, {0}); }));
  CHECK(!honest.closed);
  SenderUnderAttack lied_to{8};
  lied_to.hear(lied_to.peer.frames([](bytes::WireWriter& out) { engine::encode_key_update(out, {1}); }));
  REQUIRE(lied_to.closed);
  CHECK(lied_to.closed->error == TransportError::protocol_violation);
}

TEST_CASE(
    "hostile peer: answers to challenges that nobody sent move nothing, and many challenges get one answer at a time") {
  SenderUnderAttack victim{9};
  for (int i = 0; i < 100; ++i)
    victim.hear(victim.peer.frames([&](bytes::WireWriter& out) {
      const engine::PathData data{static_cast<std::byte>(i)};
      engine::encode_path_data(out, engine::FrameType::path_response, data);
      for (int k = 0; k < 50; ++k) engine::encode_path_data(out, engine::FrameType::path_challenge, data);
    }));
  CHECK(!victim.closed);
  CHECK(victim.sender.stats().peer_moves == 0);
  const auto before = victim.sender.stats().bytes_sent - victim.sender.stats().payload_bytes_sent;
  victim.sender.withhold({{0}, {attacked_bytes}});  // nothing else leaves
  (void)victim.send_for(2ms);
  CHECK(victim.sender.stats().bytes_sent - victim.sender.stats().payload_bytes_sent <= before + 2000);
}

TEST_CASE("hostile peer: counts of marks that can not be end the marking and nothing else, whatever they are") {
  constexpr std::uint64_t most = (std::uint64_t{1} << 48) - 1;
  struct Lie {
    engine::EcnCounts counts;
    engine::EcnFault fault;
  };
  for (const Lie& lie :
       {Lie{{most, 0, most}, engine::EcnFault::impossible}, Lie{{0, 0, most}, engine::EcnFault::impossible},
        Lie{{most, most, most}, engine::EcnFault::rewritten}, Lie{{1, 0, 0}, engine::EcnFault::bleached},
        Lie{{0, 0, 0}, engine::EcnFault::bleached}}) {
    CAPTURE(lie.counts.ect0);
    CAPTURE(lie.counts.ce);
    SenderUnderAttack victim{10, engine::Congestion::cubic};
    victim.acknowledge(victim.send_for(30ms), lie.counts);
    CHECK(!victim.closed);
    CHECK(victim.sender.stats().ecn_fault == lie.fault);
    const std::uint64_t marked = victim.sender.stats().packets_marked;
    (void)victim.send_for(30ms);
    CHECK(victim.sender.stats().packets_marked == marked);
  }
}

TEST_CASE("hostile peer: counts without an acknowledgement, and many in one packet, change nothing by themselves") {
  SenderUnderAttack victim{11, engine::Congestion::cubic};
  (void)victim.send_for(20ms);
  for (int i = 0; i < 100; ++i)
    victim.hear(victim.peer.frames([&](bytes::WireWriter& out) {
      for (std::uint64_t k = 0; k < 50; ++k) engine::encode_ecn_counts(out, {.ect0 = k, .ect1 = k, .ce = k});
    }));
  CHECK(!victim.closed);
  CHECK(victim.sender.stats().ecn == engine::EcnState::unknown);
}

TEST_CASE("hostile peer: a frame that runs past its packet ends the session, at either end") {
  const auto write = [](bytes::WireWriter& out) {
    out.u8(0x04);
    out.u16(5000);
    out.zeros(10);
  };
  SenderUnderAttack sender{7};
  sender.hear(sender.peer.frames(write));
  REQUIRE(sender.closed);
  CHECK(sender.closed->error == TransportError::protocol_violation);
  ReceiverUnderAttack receiver{8};
  receiver.hear(receiver.peer.frames(write));
  REQUIRE(receiver.closed);
  CHECK(receiver.closed->error == TransportError::protocol_violation);
}

TEST_CASE("hostile peer: honest DATA is taken, a second packet with the same bytes changes nothing") {
  ReceiverUnderAttack victim{9};
  const std::vector<std::byte> payload(1000);
  CHECK(victim.hear(victim.peer.data({0}, payload)).authentic == 1);
  CHECK(victim.bytes_accepted() == 1000);
  CHECK(victim.hear(victim.peer.data({0}, payload)).authentic == 1);
  CHECK(victim.bytes_accepted() == 1000);
  CHECK(!victim.closed);
}

TEST_CASE("hostile peer: DATA beyond the end of the transfer ends the session and is not stored") {
  ReceiverUnderAttack victim{10};
  const std::vector<std::byte> payload(1000);
  victim.hear(victim.peer.data({attacked_bytes - 999}, payload));
  REQUIRE(victim.closed);
  CHECK(victim.closed->error == TransportError::credit_exceeded);
  CHECK(victim.bytes_accepted() == 0);
}

TEST_CASE("hostile peer: more new bytes than the credit end the session") {
  ReceiverUnderAttack victim{11, 64 * KiB};
  const std::vector<std::byte> payload(1024);
  // No ACK is polled, so no credit beyond the initial one was ever granted.
  for (std::uint64_t i = 0; i < 64; ++i) victim.hear(victim.peer.data({i * 1024}, payload));
  CHECK(!victim.closed);
  victim.hear(victim.peer.data({64 * 1024}, payload));
  REQUIRE(victim.closed);
  CHECK(victim.closed->error == TransportError::credit_exceeded);
  CHECK(victim.bytes_accepted() == 64 * KiB);
}

TEST_CASE("hostile peer: DATA across a slab boundary ends the session") {
  ReceiverUnderAttack victim{12, 2 * MiB};
  const std::vector<std::byte> payload(1000);
  victim.hear(victim.peer.data({engine::slab_size - 500}, payload));
  REQUIRE(victim.closed);
  CHECK(victim.closed->error == TransportError::protocol_violation);
  CHECK(victim.bytes_accepted() == 0);
}

TEST_CASE("hostile peer: CONTROL bytes without end are bounded") {
  ReceiverUnderAttack victim{13};
  const std::vector<std::byte> piece(10'000);
  // A hole at the front keeps everything from being delivered.
  std::uint64_t offset = 1;
  for (int i = 0; i < 10'000 && !victim.closed; ++i) {
    victim.hear(victim.peer.frames([&](bytes::WireWriter& out) { engine::encode_control(out, {offset, piece}); }));
    offset += piece.size();
  }
  REQUIRE(victim.closed);
  CHECK(victim.closed->error == TransportError::control_overflow);
}

TEST_CASE("hostile peer: a replayed datagram is dropped before it is opened") {
  ReceiverUnderAttack victim{14};
  const Datagram datagram = victim.peer.data({0}, std::vector<std::byte>(1000));
  CHECK(victim.hear(datagram).authentic == 1);
  CHECK(victim.hear(datagram).authentic == 0);
  CHECK(victim.receiver.stats().packets_duplicate == 1);
}

TEST_CASE("hostile peer: any flipped bit of a datagram is refused, and the whole one still taken afterwards") {
  ReceiverUnderAttack victim{15};
  const Datagram datagram = victim.peer.data({0}, std::vector<std::byte>(40));
  for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
    Datagram damaged = datagram;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    CAPTURE(bit);
    CHECK(victim.hear(damaged).authentic == 0);
  }
  CHECK(!victim.closed);
  CHECK(victim.bytes_accepted() == 0);
  CHECK(victim.hear(datagram).authentic == 1);
  CHECK(victim.bytes_accepted() == 40);
}

TEST_CASE("hostile peer: garbage of every size is dropped") {
  ReceiverUnderAttack victim{16};
  Rng luck{16};
  for (std::size_t size = 0; size < 200; ++size) {
    Datagram garbage(size);
    luck.fill(garbage);
    if (garbage.empty()) continue;  // a driver hands on no empty batch
    CHECK(victim.hear(garbage).authentic == 0);
  }
  CHECK(!victim.closed);
}

/// One of a generation of so many symbols of 1000 bytes from `base` on.
engine::RepairFrame repair_of(TransferOffset base, std::size_t symbols, std::uint8_t index,
                              std::span<const std::byte> symbol) {
  engine::RepairFrame frame{.layout = {.base = base, .size = 1000, .stride = 1, .last = 1000, .mask = {}},
                            .repairs = 128,
                            .index = index,
                            .symbol = symbol};
  for (std::size_t slot = 0; slot < symbols; ++slot) frame.layout.mask.add(slot);
  return frame;
}

constexpr engine::RepairRatio agreed{.sources = 128, .repairs = 128, .loss_ppm = 0, .window = 1 * MiB};

TEST_CASE("hostile peer: repair symbols that nobody agreed to change nothing, whatever they say") {
  ReceiverUnderAttack victim{17};
  const std::vector<std::byte> symbol(1000);
  victim.hear(
      victim.peer.frames([&](bytes::WireWriter& out) { engine::encode_repair(out, repair_of({0}, 1, 0, symbol)); }));
  victim.hear(victim.peer.frames([&](bytes::WireWriter& out) {
    out.u8(static_cast<std::uint8_t>(engine::FrameType::repair));
    out.u16(1);
    out.u8(7);
  }));
  CHECK(!victim.closed);
  CHECK(victim.bytes_accepted() == 0);
}

TEST_CASE("hostile peer: recovered bytes take credit as arrived ones do, and none beyond it is stored") {
  ReceiverUnderAttack victim{18, 64 * KiB};
  victim.receiver.on_repair_agreed(agreed);
  const std::vector<std::byte> symbol(1000);
  std::uint64_t at = 0;
  for (; at + 1000 <= 64 * KiB; at += 1000) {
    victim.hear(
        victim.peer.frames([&](bytes::WireWriter& out) { engine::encode_repair(out, repair_of({at}, 1, 0, symbol)); }));
    REQUIRE(!victim.closed);
  }
  CHECK(victim.bytes_accepted() == at);
  victim.hear(
      victim.peer.frames([&](bytes::WireWriter& out) { engine::encode_repair(out, repair_of({at}, 1, 0, symbol)); }));
  REQUIRE(victim.closed);
  CHECK(victim.closed->error == TransportError::credit_exceeded);
  CHECK(victim.bytes_accepted() == at);
}

TEST_CASE(
    "hostile peer: a repair symbol of bytes beyond the transfer, a malformed one, and two at once end the session") {
  const std::vector<std::byte> symbol(1000);
  const std::uint64_t beyond = (attacked_bytes / engine::slab_size + 1) * engine::slab_size;
  const auto ends = [&](std::uint64_t seed, TransportError why, const auto& write) {
    ReceiverUnderAttack victim{seed, 1 * MiB};
    victim.receiver.on_repair_agreed(agreed);
    victim.hear(victim.peer.frames(write));
    REQUIRE(victim.closed);
    CHECK(victim.closed->error == why);
    CHECK(victim.bytes_accepted() == 0);
  };
  ends(19, TransportError::credit_exceeded,
       [&](bytes::WireWriter& out) { engine::encode_repair(out, repair_of({beyond}, 1, 0, symbol)); });
  ends(20, TransportError::protocol_violation, [](bytes::WireWriter& out) {  // k = 0
    out.u8(static_cast<std::uint8_t>(engine::FrameType::repair));
    out.u16(30 + 64);
    out.zeros(6);
    out.u16(64);
    out.u16(1);
    out.u16(64);
    out.u16(0x0100);
    out.zeros(16 + 64);
  });
  ends(21, TransportError::protocol_violation, [](bytes::WireWriter& out) {
    const std::vector<std::byte> small(100);
    engine::RepairFrame frame = repair_of({0}, 2, 0, small);
    frame.layout.size = frame.layout.last = 100;
    engine::encode_repair(out, frame);
    engine::encode_repair(out, frame);
  });
}

TEST_CASE("hostile peer: a flood of generations that can not be decoded leaves honest DATA alone") {
  ReceiverUnderAttack victim{22, 1 * MiB};
  victim.receiver.on_repair_agreed(agreed);
  const std::vector<std::byte> lie(1000, std::byte{0x5a});
  const std::vector<std::byte> honest(1000);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    victim.hear(victim.peer.frames([&](bytes::WireWriter& out) {
      engine::encode_repair(out, repair_of({i % 500 * 1000}, 3 + i % 90, static_cast<std::uint8_t>(i % 128), lie));
    }));
    victim.hear(victim.peer.data({900'000 + i % 100 * 1000}, honest));
    REQUIRE(!victim.closed);
  }
  CHECK(victim.bytes_accepted() >= 100'000);
}

TEST_CASE("hostile peer: held data that was never sent settles nothing that is still to be sent") {
  SenderUnderAttack victim{23};
  const auto sent = victim.send_for(10ms);
  const std::uint64_t frontier = victim.sender.frontier().value;
  REQUIRE(frontier < attacked_bytes);
  bytes::IntervalSet first;
  first.insert({sent.front().begin, sent.front().begin + 1});
  const TransferRange everything[] = {{{0}, {transfer_space_max}}};
  victim.hear(victim.peer.frames([&](bytes::WireWriter& out) {
    engine::encode_ack(out, 1000, {.credit = {attacked_bytes, {attacked_bytes}}}, first.intervals(), {},
                       {.recovered = 1, .ranges = everything});
  }));
  CHECK(!victim.closed);
  CHECK(victim.sender.stats().bytes_settled <= frontier);
  CHECK(victim.sender.frontier().value <= frontier);
}

}  // namespace
}  // namespace penstock::sim
