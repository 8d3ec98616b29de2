#include <doctest/doctest.h>

#include <chrono>
#include <vector>

#include "common/random.h"
#include "netem/probe/measurement.h"
#include "netem/probe/probe_packet.h"

namespace penstock::netem::probe {
namespace {

using namespace std::chrono_literals;

TimePoint at(Duration since_zero) { return TimePoint{since_zero}; }

const ProbeHeader example{.kind = ProbeHeader::Kind::data,
                          .run = 0x0123456789abcdef,
                          .number = 77,
                          .total = 1000,
                          .sent_at = TimePoint{123456789ns},
                          .body_checksum = 0xdeadbeef};

TEST_CASE("probe packet: a header reads back as it was written") {
  for (const auto kind : {ProbeHeader::Kind::data, ProbeHeader::Kind::finish}) {
    ProbeHeader header = example;
    header.kind = kind;
    std::vector<std::byte> bytes(probe_header_size + 10);
    encode_header(header, bytes);
    CHECK(decode_header(bytes) == header);
  }
}

TEST_CASE("probe packet: any flipped bit and any cut of a header is seen") {
  std::vector<std::byte> bytes(probe_header_size);
  encode_header(example, bytes);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] ^= std::byte{1} << static_cast<unsigned>(bit % 8);
    REQUIRE_FALSE(decode_header(damaged));
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) REQUIRE_FALSE(decode_header(std::span{bytes}.first(size)));
}

TEST_CASE("probe packet: any flipped bit of a body changes its checksum") {
  for (const std::size_t size : {1U, 7U, 8U, 9U, 1424U}) {
    std::vector<std::byte> body(size);
    Rng{size}.fill(body);
    const std::uint32_t sound = body_checksum(body);
    for (std::size_t bit = 0; bit < 8 * size; ++bit) {
      auto damaged = body;
      damaged[bit / 8] ^= std::byte{1} << static_cast<unsigned>(bit % 8);
      REQUIRE(body_checksum(damaged) != sound);
    }
  }
}

Measurement::Arrival arrival(std::uint64_t number, Duration sent, Duration delay) {
  return {.number = number, .sent_at = at(sent), .received_at = at(sent + delay), .bytes = 1500};
}

TEST_CASE("measurement: a perfect link") {
  Measurement measurement{4};
  for (std::uint64_t i = 0; i < 4; ++i) {
    REQUIRE(measurement.on_arrival(arrival(i, static_cast<std::int64_t>(i) * 1ms, 10ms)));
  }
  const Figures figures = measurement.figures();
  CHECK(figures.sent == 4);
  CHECK(figures.received == 4);
  CHECK(figures.lost == 0);
  CHECK(figures.bursts == 0);
  CHECK(figures.duplicates + figures.reordered + figures.corrupted == 0);
  REQUIRE(figures.delay);
  CHECK(figures.delay->min == 10'000'000);
  CHECK(figures.delay->max == 10'000'000);
  CHECK(figures.delay->stddev == 0);
  CHECK(figures.jitter_ns == 0);
  CHECK(figures.duration == Duration{3ms});
  CHECK(*figures.rate_bps == doctest::Approx(12e6));  // 3 x 1500 bytes in 3 ms
}

TEST_CASE("measurement: losses are counted in runs, to the very ends") {
  Measurement measurement{10};
  for (const std::uint64_t number : {2U, 3U, 5U}) {
    REQUIRE(measurement.on_arrival(arrival(number, 0ms, 1ms)));
  }
  measurement.on_finish(9);  // number 9 was never sent
  const Figures figures = measurement.figures();
  CHECK(figures.sent == 9);
  CHECK(figures.lost == 6);  // 0 1 | 4 | 6 7 8
  CHECK(figures.bursts == 3);
  CHECK(figures.burst_length_mean == doctest::Approx(2));
  CHECK(figures.burst_length_max == 3);
}

TEST_CASE("measurement: reordered is what comes after a higher number, and a copy is no reordering") {
  Measurement measurement{6};
  for (const std::uint64_t number : {0U, 3U, 1U, 2U, 3U, 4U, 0U, 5U}) {
    REQUIRE(measurement.on_arrival(arrival(number, 0ms, 1ms)));
  }
  const Figures figures = measurement.figures();
  CHECK(figures.reordered == 2);
  CHECK(figures.duplicates == 2);
  CHECK(figures.received == 6);
  CHECK(figures.lost == 0);
}

TEST_CASE("measurement: quantiles are nearest ranks, jitter the mean step between arrivals") {
  Measurement measurement{100};
  for (std::uint64_t i = 0; i < 100; ++i) {
    REQUIRE(measurement.on_arrival(arrival(i, 0ms, Duration{static_cast<std::int64_t>(i) + 1})));
  }
  const Figures figures = measurement.figures();
  CHECK(figures.delay->median == 50);
  CHECK(figures.delay->p90 == 90);
  CHECK(figures.delay->p99 == 99);
  CHECK(figures.delay->max == 100);
  CHECK(figures.delay->mean == doctest::Approx(50.5));
  CHECK(*figures.jitter_ns == doctest::Approx(1));
}

TEST_CASE("measurement: what arrives damaged is not lost, with its name or without") {
  Measurement measurement{3};
  auto damaged = arrival(0, 0ms, 1ms);
  damaged.damaged = true;
  REQUIRE(measurement.on_arrival(damaged));
  measurement.on_unidentified(at(2ms), 1500);
  const Figures figures = measurement.figures();
  CHECK(figures.corrupted == 2);
  CHECK(figures.unidentified == 1);
  CHECK(figures.received == 1);
  CHECK(figures.lost == 1);
}

TEST_CASE("measurement: impossible numbers and empty runs are harmless") {
  Measurement measurement{2};
  CHECK_FALSE(measurement.on_arrival(arrival(2, 0ms, 1ms)));
  const Figures figures = measurement.figures();
  CHECK(figures.received == 0);
  CHECK(figures.lost == 2);
  CHECK_FALSE(figures.delay);
  CHECK_FALSE(figures.rate_bps);
  const Figures nothing = Measurement{0}.figures();
  CHECK(nothing.sent == 0);
}

}  // namespace
}  // namespace penstock::netem::probe
