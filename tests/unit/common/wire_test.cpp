#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "common/bytes/hex.h"
#include "common/bytes/wire_reader.h"
#include "common/bytes/wire_writer.h"
#include "tests/printers.h"

namespace penstock::bytes {
namespace {

TEST_CASE("wire: fields are in network byte order, and read back as written") {
  std::array<std::byte, 64> buffer{};
  WireWriter out{buffer};
  out.u8(0x01);
  out.u16(0x0203);
  out.u24(0x040506);
  out.u32(0x0708090a);
  out.u48(0x0b0c0d0e0f10);
  out.u64(0x1112131415161718);
  REQUIRE(out.ok());
  CHECK(to_hex(out.written()) == "0102030405060708090a0b0c0d0e0f101112131415161718");

  WireReader in{out.written()};
  CHECK(in.u8() == 0x01);
  CHECK(in.u16() == 0x0203);
  CHECK(in.u24() == 0x040506);
  CHECK(in.u32() == 0x0708090a);
  CHECK(in.u48() == 0x0b0c0d0e0f10);
  CHECK(in.u64() == 0x1112131415161718);
  CHECK(in.done());
}

TEST_CASE("wire reader: after one short read all reads fail and give nothing") {
  // What lies behind the end would show in the values.
  const std::array<std::byte, 16> memory{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  WireReader in{std::span{memory}.first(3)};
  CHECK(in.u16() == 0x0102);
  CHECK(in.u32() == 0);
  CHECK_FALSE(in.ok());
  CHECK(in.u8() == 0);  // the third byte is there, but the layout is already lost
  CHECK(in.bytes(1).empty());
  CHECK(in.varint() == 0);
  CHECK(in.rest().empty());
  CHECK(in.remaining() == 0);
  CHECK_FALSE(in.ok());
  CHECK_FALSE(in.done());
}

TEST_CASE("wire reader: a read of n bytes succeeds with n left and fails with n - 1") {
  const std::vector<std::byte> data(8);
  const auto read = [&](std::size_t size, auto field) {
    WireReader in{std::span{data}.first(size)};
    field(in);
    return in.ok();
  };
  const auto needs = [&](std::size_t size, auto field) { return read(size, field) && !read(size - 1, field); };
  CHECK(needs(1, [](WireReader& in) { in.u8(); }));
  CHECK(needs(2, [](WireReader& in) { in.u16(); }));
  CHECK(needs(3, [](WireReader& in) { in.u24(); }));
  CHECK(needs(4, [](WireReader& in) { in.u32(); }));
  CHECK(needs(6, [](WireReader& in) { in.u48(); }));
  CHECK(needs(8, [](WireReader& in) { in.u64(); }));
  CHECK(needs(5, [](WireReader& in) { in.bytes(5); }));
  CHECK(needs(7, [](WireReader& in) { in.skip(7); }));
}

TEST_CASE("wire reader: a length of nearly 2^64 is refused, not wrapped") {
  const std::array<std::byte, 4> data{};
  WireReader in{data};
  in.u8();
  CHECK(in.bytes(~std::uint64_t{0}).empty());
  CHECK_FALSE(in.ok());
}

TEST_CASE("wire reader: views show the input itself; fail() is final") {
  const std::array<std::byte, 4> data{};
  WireReader in{data};
  CHECK(in.bytes(2).data() == data.data());
  CHECK(in.position() == 2);
  CHECK(in.rest().size() == 2);
  CHECK(in.done());
  WireReader failed{data};
  failed.fail();
  CHECK(failed.u8() == 0);
  CHECK_FALSE(failed.ok());
}

TEST_CASE("wire: the variable-length examples of RFC 9000 appendix A.1") {
  const std::pair<const char*, std::uint64_t> examples[] = {
      {"c2197c5eff14e88c", 151288809941952652}, {"9d7f3e7d", 494878333}, {"7bbd", 15293}, {"25", 37}, {"4025", 37}};
  for (const auto& [text, value] : examples) {
    const auto data = from_hex(text);
    WireReader in{*data};
    CHECK(in.varint() == value);
    CHECK(in.done());
  }
}

TEST_CASE("wire: varints round-trip in the shortest form at every boundary, and every truncation is refused") {
  std::vector<std::uint64_t> values{0, 1, 37};
  for (int bits = 1; bits <= 62; ++bits) {
    const std::uint64_t power = std::uint64_t{1} << bits;
    values.insert(values.end(), {power - 2, power - 1});
    if (bits < 62) values.insert(values.end(), {power, power + 1});
  }
  for (const std::uint64_t value : values) {
    CAPTURE(value);
    std::array<std::byte, 8> buffer{};
    WireWriter out{buffer};
    out.varint(value);
    REQUIRE(out.ok());
    CHECK(out.size() == varint_size(value));
    WireReader in{out.written()};
    CHECK(in.varint() == value);
    CHECK(in.done());
    for (std::size_t cut = 0; cut < out.size(); ++cut) {
      WireReader short_in{out.written().first(cut)};
      CHECK(short_in.varint() == 0);
      CHECK_FALSE(short_in.ok());
    }
  }
  CHECK(varint_size(63) == 1);
  CHECK(varint_size(64) == 2);
  CHECK(varint_size(16383) == 2);
  CHECK(varint_size(16384) == 4);
  CHECK(varint_size((1U << 30) - 1) == 4);
  CHECK(varint_size(1U << 30) == 8);
}

TEST_CASE("wire writer: what does not fit is not written at all, nor is anything after it") {
  std::array<std::byte, 4> buffer;
  buffer.fill(std::byte{0xee});
  WireWriter out{std::span{buffer}.first(3)};
  out.u16(0x0102);
  CHECK(out.remaining() == 1);
  out.u16(0x0304);
  CHECK_FALSE(out.ok());
  out.u8(0x05);  // would fit, but comes after the gap
  out.bytes(std::array{std::byte{6}});
  out.zeros(1);
  CHECK(out.reserve(1).empty());
  CHECK(out.remaining() == 0);
  CHECK_FALSE(out.ok());
  CHECK(to_hex(out.written()) == "0102");
  CHECK(to_hex(buffer) == "0102eeee");
}

TEST_CASE("wire writer: bytes, zeros and reserved room land in order, up to the last byte") {
  std::array<std::byte, 6> buffer;
  buffer.fill(std::byte{0xee});
  WireWriter out{buffer};
  out.bytes(std::array{std::byte{1}, std::byte{2}});
  out.zeros(2);
  const auto room = out.reserve(2);
  REQUIRE(room.size() == 2);
  room[0] = std::byte{8};
  room[1] = std::byte{9};
  out.bytes({});
  CHECK(out.ok());
  CHECK(to_hex(out.written()) == "010200000809");
  out.bytes({});
  CHECK(out.ok());
  out.u8(0);
  CHECK_FALSE(out.ok());
}

}  // namespace
}  // namespace penstock::bytes
