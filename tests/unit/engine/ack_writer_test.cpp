#include "dataplane/engine/lane/ack_writer.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "common/bytes/interval_set.h"
#include "dataplane/engine/wire/frames.h"

namespace penstock::engine::test {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1s};
constexpr Duration rtt = 80ms;

/// What one datagram of `room` bytes told.
struct Told {
  bytes::IntervalSet numbers{ack_ranges_max};
  AckFields fields;
  bool marks = false;
  bool held = false;
};

Told next(AckWriter& writer, TimePoint now, std::size_t room, const HeldData& held = {}) {
  std::vector<std::byte> buffer(room);
  bytes::WireWriter out{buffer};
  writer.begin();
  writer.write(now, rtt, out, {.credit = {.credit = 7}}, held);
  REQUIRE(out.ok());
  Told told;
  FrameReader reader(out.written());
  std::vector<AckRange> ranges;
  std::vector<TransferRange> held_ranges;
  while (const auto frame = reader.next()) {
    REQUIRE(*frame);
    if ((*frame)->type == FrameType::ecn_counts) told.marks = true;
    if ((*frame)->type != FrameType::ack) continue;
    const auto ack = decode_ack((*frame)->body, ranges, held_ranges);
    REQUIRE(ack);
    told.fields = ack->fields;
    told.held = !held_ranges.empty();
    for (const auto& range : ranges) (void)told.numbers.insert({range.smallest.value, range.largest.value + 1});
  }
  return told;
}

/// Packets of which no two neighbours arrived, scattered so that no bitmap is small.
std::vector<std::uint64_t> receive_scattered(AckWriter& writer, std::size_t count) {
  std::vector<std::uint64_t> numbers;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < count; ++i) {
    number += 2 + (i * 37) % 200;
    writer.on_packet_received(start, {number}, true, EcnMark::none);
    numbers.push_back(number);
  }
  return numbers;
}

TEST_CASE("ack writer: an ACK too large for one datagram goes on in the next ones, until all of it is told") {
  AckWriter writer;
  const auto received = receive_scattered(writer, 400);
  bytes::IntervalSet told{ack_ranges_max};
  int datagrams = 0;
  while (writer.due(start, rtt)) {
    REQUIRE(++datagrams < 100);
    const Told one = next(writer, start, 200);
    CHECK_FALSE(one.numbers.empty());
    for (const auto& numbers : one.numbers.intervals()) {
      CHECK_FALSE(told.first_overlap(numbers));  // nothing is told twice in one ACK
      (void)told.insert(numbers);
    }
  }
  CHECK(datagrams > 2);
  for (const std::uint64_t number : received) CHECK(told.contains(number));
  CHECK_FALSE(writer.tracker().has_news());
}

TEST_CASE("ack writer: what came in meanwhile is for the next ACK, which is due in its turn") {
  AckWriter writer;
  (void)receive_scattered(writer, 400);
  const Told first = next(writer, start, 200);
  const std::uint64_t newest = first.numbers.intervals().back().end + 10;
  writer.on_packet_received(start, {newest}, true, EcnMark::none);
  while (writer.due(start, rtt)) CHECK_FALSE(next(writer, start, 200).numbers.contains(newest));
  CHECK(next(writer, start + rtt, 1200).numbers.contains(newest));
}

TEST_CASE("ack writer: credit goes with every datagram, what is held with the first that has room for it") {
  AckWriter writer;
  (void)receive_scattered(writer, 400);
  const std::array<TransferRange, 1> ranges{{{{100}, {200}}}};
  const HeldData held{.recovered = 1, .ranges = ranges};
  CHECK(next(writer, start, 200, held).held);
  CHECK(writer.told_held());
  CHECK(writer.told_credit());
  const Told second = next(writer, start, 200, held);
  CHECK_FALSE(second.held);
  CHECK_FALSE(writer.told_held());
  CHECK(writer.told_credit());
  CHECK(second.fields.credit.credit == 7);
  writer.begin();
  CHECK_FALSE(writer.told_credit());
}

TEST_CASE("ack writer: who saw no marks says nothing of them") {
  AckWriter writer;
  writer.on_packet_received(start, {1}, true, EcnMark::none);
  CHECK_FALSE(next(writer, start, 200).marks);
  writer.on_packet_received(start, {2}, true, EcnMark::ect0);
  CHECK(next(writer, start, 200).marks);
  CHECK(writer.marks().ect0 == 1);
}

}  // namespace
}  // namespace penstock::engine::test
