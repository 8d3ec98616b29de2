#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/bytes/interval_set.h"
#include "common/random.h"
#include "dataplane/engine/wire/ack_frame.h"
#include "dataplane/engine/wire/frames.h"
#include "dataplane/engine/wire/packet_header.h"
#include "dataplane/engine/wire/repair_frame.h"
#include "tests/unit/engine/pair.h"

namespace penstock::engine {
namespace {

using bytes::Interval;
using bytes::IntervalSet;
using bytes::WireWriter;

std::vector<std::byte> encoded_header(const PacketHeader& header) {
  std::vector<std::byte> datagram(header_size(header.type) + crypto::aead_tag_size + 1);
  encode_packet_header(header, datagram);
  return datagram;
}

template <class Encode>
std::vector<std::byte> frame_of(Encode encode) {
  std::vector<std::byte> buffer(70'000);
  WireWriter out(buffer);
  encode(out);
  REQUIRE(out.ok());
  buffer.resize(out.size());
  return buffer;
}

std::span<const std::byte> only_body(const std::vector<std::byte>& frame, FrameType type) {
  FrameReader reader(frame);
  const auto first = reader.next();
  REQUIRE(first.has_value());
  REQUIRE(first->ok());
  CHECK((*first)->type == type);
  CHECK(!reader.next().has_value());
  return (*first)->body;
}

/// Every shorter body and every longer one is refused.
template <class Decode>
void check_exact_length(std::span<const std::byte> body, Decode decode) {
  for (std::size_t size = 0; size < body.size(); ++size) CHECK(!decode(body.first(size)).ok());
  std::vector<std::byte> longer(body.begin(), body.end());
  longer.push_back(std::byte{0});
  CHECK(!decode(longer).ok());
}

IntervalSet set_of(const AckFrame& ack) {
  IntervalSet set;
  for (const AckRange& range : ack.ranges) set.insert({range.smallest.value, range.largest.value + 1});
  return set;
}

}  // namespace

TEST_CASE("packet header: what was encoded is decoded, for both types and all epochs") {
  for (const PacketType type : {PacketType::data, PacketType::frames})
    for (std::uint8_t epoch = 0; epoch < 4; ++epoch) {
      const PacketHeader header{.type = type,
                                .epoch_bits = epoch,
                                .connection = {0x0123456789abcdef},
                                .number_low = 0xfedcba98,
                                .offset = {type == PacketType::data ? transfer_space_max : 0}};
      const auto decoded = decode_packet_header(encoded_header(header));
      REQUIRE(decoded.ok());
      CHECK(*decoded == header);
    }
}

TEST_CASE("packet header: every truncation, other version and other type is refused") {
  const auto whole = encoded_header({.type = PacketType::data, .connection = {1}, .offset = {5}});
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK(!decode_packet_header(std::span(whole).first(size)).ok());
  for (unsigned first = 0; first < 256; ++first) {
    auto datagram = whole;
    datagram[0] = static_cast<std::byte>(first);
    const bool known = first >> 6 == wire_version && ((first >> 2 & 0xf) == 1 || (first >> 2 & 0xf) == 2);
    CHECK(decode_packet_header(datagram).ok() == known);
  }
}

TEST_CASE("packet number: the low 32 bits find every number within 2^31 of the largest") {
  constexpr std::uint64_t half = std::uint64_t{1} << 31;
  for (const std::uint64_t largest :
       {std::uint64_t{0}, std::uint64_t{1}, half, 2 * half - 1, 2 * half, 5 * half + 7, (std::uint64_t{1} << 60) + 3}) {
    for (const std::uint64_t ahead : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, half - 1, half}) {
      const std::uint64_t number = largest + 1 + ahead;
      CHECK(reconstruct_packet_number(static_cast<std::uint32_t>(number), {largest}).value == number);
    }
    for (const std::uint64_t behind : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, half - 2}) {
      if (behind > largest) continue;
      const std::uint64_t number = largest - behind;
      CHECK(reconstruct_packet_number(static_cast<std::uint32_t>(number), {largest}).value == number);
    }
  }
}

TEST_CASE("frames: each kind survives the round trip, and wants its exact length") {
  const CreditFrame credit{.credit = 1'234'567'890'123, .offset_limit = {transfer_space_max}};
  const auto credit_frame = frame_of([&](WireWriter& out) { encode_credit(out, credit); });
  CHECK(*decode_credit(only_body(credit_frame, FrameType::credit)) == credit);
  check_exact_length(only_body(credit_frame, FrameType::credit), decode_credit);

  const auto oldest = frame_of([&](WireWriter& out) { encode_oldest_needed(out, {77}); });
  CHECK(*decode_oldest_needed(only_body(oldest, FrameType::oldest_needed)) == PacketNumber{77});
  check_exact_length(only_body(oldest, FrameType::oldest_needed), decode_oldest_needed);

  const auto epoch = frame_of([&](WireWriter& out) { encode_key_update(out, {9}); });
  CHECK(*decode_key_update(only_body(epoch, FrameType::key_update)) == KeyEpoch{9});
  check_exact_length(only_body(epoch, FrameType::key_update), decode_key_update);

  const SkipFrame skip{{{100}, {transfer_space_max}}};
  const auto skip_frame = frame_of([&](WireWriter& out) { encode_skip(out, skip); });
  CHECK(*decode_skip(only_body(skip_frame, FrameType::skip)) == skip);
  check_exact_length(only_body(skip_frame, FrameType::skip), decode_skip);

  const auto final_offset = frame_of([&](WireWriter& out) { encode_final_offset(out, {42}); });
  CHECK(*decode_final_offset(only_body(final_offset, FrameType::final_offset)) == TransferOffset{42});
  check_exact_length(only_body(final_offset, FrameType::final_offset), decode_final_offset);

  const auto close = frame_of([&](WireWriter& out) { encode_close(out, TransportError::cancelled); });
  CHECK(*decode_close(only_body(close, FrameType::close)) == TransportError::cancelled);
  check_exact_length(only_body(close, FrameType::close), decode_close);

  const PathData data{std::byte{1}, std::byte{2}, std::byte{3}};
  const auto path = frame_of([&](WireWriter& out) { encode_path_data(out, FrameType::path_challenge, data); });
  CHECK(*decode_path_data(only_body(path, FrameType::path_challenge)) == data);
  check_exact_length(only_body(path, FrameType::path_challenge), decode_path_data);

  const EcnCounts counts{.ect0 = (std::uint64_t{1} << 48) - 1, .ect1 = 0, .ce = 3};
  const auto marks = frame_of([&](WireWriter& out) { encode_ecn_counts(out, counts); });
  CHECK(marks.size() == ecn_counts_frame_size);
  CHECK(*decode_ecn_counts(only_body(marks, FrameType::ecn_counts)) == counts);
  check_exact_length(only_body(marks, FrameType::ecn_counts), decode_ecn_counts);

  const auto payload = test::random_bytes(1, 100);
  const auto control = frame_of([&](WireWriter& out) { encode_control(out, {1 << 20, payload}); });
  const auto decoded = decode_control(only_body(control, FrameType::control));
  REQUIRE(decoded.ok());
  CHECK(decoded->stream_offset == 1 << 20);
  CHECK(std::equal(decoded->data.begin(), decoded->data.end(), payload.begin(), payload.end()));
  for (std::size_t size = 0; size <= 8; ++size)  // no bytes at all is not a CONTROL frame either
    CHECK(!decode_control(only_body(control, FrameType::control).first(size)).ok());
}

TEST_CASE("frames: values beyond their bound are refused") {
  std::array<std::byte, 12> skip;
  skip.fill(std::byte{0xff});
  CHECK(!decode_skip(skip).ok());
  const std::byte reason{static_cast<unsigned char>(static_cast<unsigned>(TransportError::cancelled) + 1)};
  CHECK(!decode_close({&reason, 1}).ok());
}

TEST_CASE("frames: unknown optional ones are skipped, unknown mandatory ones end the packet") {
  for (unsigned type = 0; type < 256; ++type) {
    auto packet = frame_of([&](WireWriter& out) {
      out.u8(static_cast<std::uint8_t>(type));
      out.u16(3);
      out.zeros(3);
      encode_ping(out);
    });
    FrameReader reader(packet);
    const auto first = reader.next();
    REQUIRE(first.has_value());
    const bool known = type <= 0x09 || (type >= 0x80 && type <= 0x83);
    if (known) {
      REQUIRE(first->ok());
      CHECK(static_cast<unsigned>((*first)->type) == type);
    } else if (type >= frame_type_optional) {
      REQUIRE(first->ok());
      CHECK((*first)->type == FrameType::ping);
    } else {
      REQUIRE(!first->ok());
      CHECK(first->error() == WireError::unknown_frame);
      CHECK(!reader.next().has_value());
    }
  }
}

TEST_CASE("frames: one that runs past its packet is refused wherever the packet is cut") {
  const auto packet = frame_of([&](WireWriter& out) { encode_credit(out, {}); });
  for (std::size_t size = 1; size < packet.size(); ++size) {
    FrameReader reader(std::span<const std::byte>(packet).first(size));
    const auto first = reader.next();
    REQUIRE(first.has_value());
    CHECK(!first->ok());
  }
}

TEST_CASE("ack frame: any set of numbers survives, in the smaller of both forms") {
  Rng rng(7);
  std::vector<AckRange> ranges;
  for (int round = 0; round < 400; ++round) {
    IntervalSet received;
    const std::uint64_t base = rng.chance(1, 3) ? 0 : rng.below(std::uint64_t{1} << 50);
    const std::uint64_t span = 1 + rng.below(2000);
    const std::uint64_t percent = 1 + rng.below(100);
    for (std::uint64_t n = base; n < base + span; ++n)
      if (rng.chance(percent, 100)) received.insert({n, n + 1});
    if (received.empty()) continue;
    const AckFields fields{.delay = std::chrono::microseconds{rng.below(1'000'000)},
                           .credit = {rng.next() >> 3, {rng.below(transfer_space_max)}},
                           .socket_drops = static_cast<std::uint32_t>(rng.next()),
                           .sink_refusals = static_cast<std::uint32_t>(rng.next()),
                           .queue_fill = static_cast<std::uint8_t>(rng.below(256))};
    std::size_t covered = 0;
    const auto frame =
        frame_of([&](WireWriter& out) { covered = encode_ack(out, 60'000, fields, received.intervals(), {0}); });
    CHECK(covered == received.interval_count());
    const auto ack = decode_ack(only_body(frame, FrameType::ack), ranges);
    REQUIRE(ack.ok());
    CHECK(ack->fields == fields);
    CHECK(ack->largest.value == received.back().end - 1);
    CHECK(set_of(*ack) == received);
    // Never longer than either form: a bit for each number, or four bytes for each range and its gap.
    CHECK(frame.size() <= frame_header_size + ack_fields_size +
                              std::min<std::size_t>((received.back().end - received.front().begin + 7) / 8,
                                                    received.interval_count() * 4 + 4));
  }
}

TEST_CASE("ack frame: in a small room the newest ranges come first, and nothing is invented") {
  IntervalSet received;
  for (std::uint64_t i = 0; i < 3000; ++i) received.insert({i * 7, i * 7 + 1 + i % 5});
  std::vector<AckRange> ranges;
  for (std::size_t room = ack_frame_size_min; room < 400; room += 13) {
    std::size_t covered = 0;
    const auto frame =
        frame_of([&](WireWriter& out) { covered = encode_ack(out, room, {}, received.intervals(), {0}); });
    CHECK(frame.size() <= room);
    CHECK(covered >= 1);
    const auto ack = decode_ack(only_body(frame, FrameType::ack), ranges);
    REQUIRE(ack.ok());
    IntervalSet expected;
    for (const Interval& part : received.intervals().last(covered)) expected.insert(part);
    CHECK(set_of(*ack) == expected);
  }
}

TEST_CASE("ack frame: numbers below the floor may be left out, those above never are") {
  IntervalSet received;
  for (std::uint64_t n = 0; n < 1000; n += 2) received.insert({n, n + 1});
  std::vector<AckRange> ranges;
  for (const std::uint64_t floor : {0U, 1U, 2U, 500U, 501U, 997U, 998U, 999U}) {
    const auto frame = frame_of([&](WireWriter& out) { encode_ack(out, 1000, {}, received.intervals(), {floor}); });
    const auto ack = decode_ack(only_body(frame, FrameType::ack), ranges);
    REQUIRE(ack.ok());
    const IntervalSet told = set_of(*ack);
    for (std::uint64_t n = 0; n < 1000; ++n) {
      if (n >= floor) CHECK(told.contains(n) == received.contains(n));
      if (told.contains(n)) CHECK(received.contains(n));
    }
  }
}

TEST_CASE("ack frame: every truncation and every range below number 0 is refused") {
  IntervalSet received;
  received.insert({3, 5});
  received.insert({9, 20});
  std::vector<AckRange> ranges;
  const auto frame = frame_of([&](WireWriter& out) { encode_ack(out, 1000, {}, received.intervals(), {0}); });
  const auto body = only_body(frame, FrameType::ack);
  check_exact_length(body, [&](std::span<const std::byte> part) { return decode_ack(part, ranges); });

  const auto lie = [&](std::uint8_t flags, std::uint64_t largest, std::initializer_list<unsigned> part) {
    std::vector<std::byte> bytes(200);
    WireWriter out(bytes);
    out.u8(flags);
    out.u8(0);
    out.u64(largest);
    out.zeros(4 + 8 + 6 + 4 + 4);
    out.u16(static_cast<std::uint16_t>(part.size()));
    for (const unsigned byte : part) out.u8(static_cast<std::uint8_t>(byte));
    bytes.resize(out.size());
    return decode_ack(bytes, ranges).ok();
  };
  CHECK(lie(0, 5, {5}));               // 0 to 5
  CHECK(!lie(0, 5, {6}));              // one too many
  CHECK(lie(0, 5, {0, 0, 3}));         // 5, then 0 to 3
  CHECK(!lie(0, 5, {0, 0, 4}));        // down to -1
  CHECK(!lie(0, 5, {0, 4, 0}));        // a second range at -1
  CHECK(!lie(0, 5, {}));               // a range list names one range at least
  CHECK(!lie(0, 5, {0, 0}));           // a gap without its range
  CHECK(lie(ack_flag_bitmap, 5, {}));  // 5 alone
  CHECK(lie(ack_flag_bitmap, 5, {0x1f}));
  CHECK(!lie(ack_flag_bitmap, 5, {0x3f}));
  CHECK(!lie(4, 5, {0}));  // an unknown flag
}

TEST_CASE("ack frame: held data is what was written, to the byte, whatever the form of the ranges") {
  const std::vector<TransferRange> ranges[] = {
      {{{0}, {1}}},
      {{{0}, {1 * MiB}}, {{1 * MiB}, {5 * MiB}}},
      {{{7}, {8}}, {{1'000'000'000}, {1'000'001'412}}, {{transfer_space_max - 1}, {transfer_space_max}}},
  };
  for (const bool scattered : {false, true}) {
    IntervalSet received;
    received.insert({3, 5});
    for (std::uint64_t n = 9; n < 99; n += scattered ? 2 : 1) received.insert({n, n + 1});
    for (const auto& told : ranges) {
      const HeldData held{.recovered = 77, .ranges = told};
      std::size_t covered = 0;
      const auto frame = frame_of([&](WireWriter& out) {
        covered = encode_ack(out, ack_frame_size_min + 40 + held_data_size(held), {}, received.intervals(), {0}, held);
      });
      std::vector<AckRange> acked;
      std::vector<TransferRange> read;
      const auto body = only_body(frame, FrameType::ack);
      const auto ack = decode_ack(body, acked, read);
      REQUIRE(ack.ok());
      CHECK(ack->held.recovered == 77);
      CHECK(read == told);
      CHECK(set_of(*ack) == received);
      CHECK(covered == received.interval_count());
      for (std::size_t size = 0; size < body.size();
           ++size)  // a shorter list may be a list as well, never a longer one
        if (const auto part = decode_ack(body.first(size), acked, read); part.ok()) CHECK(read.size() < told.size());
      const auto ignored = decode_ack(body, acked);
      REQUIRE(ignored.ok());
      CHECK(ignored->held.ranges.empty());
    }
  }
}

TEST_CASE("ack frame: held data that is empty, overflows or has too many ranges is refused") {
  std::vector<AckRange> acked;
  std::vector<TransferRange> read;
  const auto lie = [&](std::initializer_list<std::uint64_t> varints, std::size_t repeat = 1) {
    std::vector<std::byte> bytes(20'000);
    WireWriter out(bytes);
    out.u8(ack_flag_recovered);
    out.u8(0);
    out.u64(5);
    out.zeros(4 + 8 + 6 + 4 + 4);
    out.u16(1);
    out.u8(2);
    out.varint(9);  // recovered
    for (std::size_t i = 0; i < repeat; ++i)
      for (const std::uint64_t value : varints) out.varint(value);
    return decode_ack(out.written(), acked, read).ok();
  };
  CHECK(lie({0, 1}));
  CHECK(!lie({}));
  CHECK(!lie({0, 0}));                      // an empty range
  CHECK(!lie({5}));                         // a distance without its length
  CHECK(lie({transfer_space_max - 1, 1}));  // up to the end of transfer space
  CHECK(!lie({transfer_space_max, 1}));     // and no further
  CHECK(!lie({bytes::varint_max, bytes::varint_max}));
  CHECK(lie({1, 1}, ack_frame_held_max));
  CHECK(!lie({1, 1}, ack_frame_held_max + 1));
}

TEST_CASE("repair layout: symbols tile every slab, and none crosses one") {
  for (const std::uint64_t size : {64U, 100U, 1138U, 1410U, 8910U, 65535U}) {
    CAPTURE(size);
    const SymbolGrid grid{size};
    std::uint64_t at = 0;
    for (std::uint64_t symbol = 0; at < 3 * slab_size; ++symbol) {
      REQUIRE(grid.begin_of(symbol) == at);
      REQUIRE(grid.symbol_at(at) == symbol);
      const std::uint64_t end = grid.end_of(symbol);
      REQUIRE(grid.symbol_at(end - 1) == symbol);
      REQUIRE((end - at == size || end % slab_size == 0));
      REQUIRE(at / slab_size == (end - 1) / slab_size);
      at = end;
    }
    CHECK(at == 3 * slab_size);
  }
}

namespace {

RepairFrame repair_of(std::span<const std::byte> symbol) {
  RepairFrame frame{.layout = {.base = {SymbolGrid{symbol.size()}.begin_of(1'000)},
                               .size = static_cast<std::uint16_t>(symbol.size()),
                               .stride = 34,
                               .last = 20,
                               .mask = {}},
                    .repairs = 14,
                    .index = 13,
                    .symbol = symbol};
  for (const std::size_t slot : {0U, 1U, 63U, 64U, 127U}) frame.layout.mask.add(slot);
  return frame;
}

}  // namespace

TEST_CASE("repair frame: what was written is read, and every other length is refused") {
  std::vector<std::byte> symbol(symbol_size_for(1472));
  Rng{5}.fill(symbol);
  const RepairFrame frame = repair_of(symbol);
  const auto bytes = frame_of([&](WireWriter& out) { encode_repair(out, frame); });
  CHECK(bytes.size() + frames_header_size + crypto::aead_tag_size == 1472);  // fills a datagram
  const auto body = only_body(bytes, FrameType::repair);
  const auto read = decode_repair(body);
  REQUIRE(read.ok());
  CHECK(read->layout == frame.layout);
  CHECK(read->repairs == 14);
  CHECK(read->index == 13);
  CHECK(std::equal(symbol.begin(), symbol.end(), read->symbol.begin(), read->symbol.end()));
  CHECK(read->layout.mask.count() == 5);
  CHECK(read->layout.mask.last() == 127);
  check_exact_length(body, [](std::span<const std::byte> part) { return decode_repair(part); });
}

TEST_CASE("repair frame: a layout that makes no sense is refused") {
  std::vector<std::byte> symbol(1410);
  const auto refused = [&](auto spoil) {
    const auto bytes = frame_of([&](WireWriter& out) { encode_repair(out, repair_of(symbol)); });
    std::vector<std::byte> body(bytes.begin() + frame_header_size, bytes.end());
    REQUIRE(decode_repair(body).ok());
    spoil(body);
    return !decode_repair(body).ok();
  };
  using Body = std::vector<std::byte>;
  CHECK(refused([](Body& b) { b[5] ^= std::byte{1}; }));  // base off the grid
  CHECK(refused([](Body& b) {
    b[6] = b[7] = std::byte{0};
    b.resize(30);
  }));  // S = 0
  CHECK(refused([](Body& b) {
    b[6] = std::byte{0};
    b[7] = std::byte{63};
    b.resize(30 + 63);
  }));
  CHECK(refused([](Body& b) { b[8] = b[9] = std::byte{0}; }));    // stride 0
  CHECK(refused([](Body& b) { b[8] = std::byte{0xff}; }));        // a stride of 65 314
  CHECK(refused([](Body& b) { b[10] = b[11] = std::byte{0}; }));  // an empty last symbol
  CHECK(refused([](Body& b) { b[10] = std::byte{0xff}; }));       // one longer than S
  CHECK(refused([](Body& b) { b[12] = std::byte{0}; }));          // m = 0
  CHECK(refused([](Body& b) { b[12] = std::byte{129}; }));        // m of which no code is made
  CHECK(refused([](Body& b) { b[13] = std::byte{14}; }));         // index m
  CHECK(refused([](Body& b) { b[14] ^= std::byte{1}; }));         // base not in it
  CHECK(refused([](Body& b) { std::fill(b.begin() + 14, b.begin() + 30, std::byte{0}); }));  // k = 0
  CHECK(refused([](Body& b) { std::fill(b.begin(), b.begin() + 6, std::byte{0xff}); }));     // beyond transfer space
}

}  // namespace penstock::engine
