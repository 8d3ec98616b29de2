#include "tools/cli/values.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>

namespace penstock::tools {
namespace {

using namespace std::chrono_literals;

TEST_CASE("values: rates are bits a second, with B bytes a second") {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"500M", 500'000'000},
      {"60MB", 480'000'000},
      {"8", 8},
      {"1B", 8},
      {"1k", 1'000},
      {"1kB", 8'000},
      {"1G", 1'000'000'000},
      {"1T", 1'000'000'000'000},
      {"1Ki", 1024},
      {"1KiB", 8192},
      {"100Mi", 104'857'600},
      {"1Gi", 1'073'741'824},
      {"2GiB", 17'179'869'184},
      {"1.5G", 1'500'000'000},
      {"0.5M", 500'000},
      {"2.5MB", 20'000'000},
      {"0.000001G", 1'000},
      {"007M", 7'000'000},
      {"125GB", 1'000'000'000'000},
  };
  for (const auto& each : cases) {
    const auto& text = each.first;
    const auto& bits = each.second;
    INFO(text);
    const auto rate = parse_rate(text);
    REQUIRE(rate);
    CHECK(rate->bits_per_second() == bits);
  }
}

TEST_CASE("values: what is no rate is refused with a way to write one") {
  const std::string_view cases[] = {
      "",
      "M",
      "-5M",
      "+5M",
      " 5M",
      "5M ",
      "5 M",
      "5m",
      "5K",
      "5g",
      "0",
      "0M",
      "7",
      "1.M",
      ".5M",
      "1..5M",
      "1,5",
      "5Mbit",
      "5MBs",
      "5BB",
      "5Mb",
      "5Ti",
      "5kk",
      "5e6",
      "0x10",
      "nan",
      "inf",
      "2T",
      "126GB",
      "1e3",
      "99999999999999999999",
      "9999999999999999999T",
      "0.0000000001T",
      std::string_view{"5\0M", 3},
      "\xff\xfe",
      "5\nM",
      "1.2.3M",
      "--",
  };
  for (const auto text : cases) {
    INFO(std::string{text});
    const auto rate = parse_rate(text);
    REQUIRE_FALSE(rate);
    CHECK(rate.error().code == ErrorCode::USAGE);
    CHECK(rate.error().message.find("500M") != std::string::npos);
    CHECK(rate.error().message.find('\n') == std::string::npos);
    CHECK(rate.error().message.find('\0') == std::string::npos);
  }
}

TEST_CASE("values: durations carry their unit, 0 needs none") {
  const std::pair<const char*, Duration> cases[] = {
      {"15s", 15s}, {"5m", 5min}, {"24h", 24h},     {"7d", 7 * 24h},  {"250ms", 250ms},
      {"0", 0s},    {"0s", 0s},   {"1.5s", 1500ms}, {"0.25h", 15min}, {"36500d", 36500 * 24h},
  };
  for (const auto& each : cases) {
    const auto& text = each.first;
    const auto& time = each.second;
    INFO(text);
    const auto duration = parse_duration(text);
    REQUIRE(duration);
    CHECK(*duration == time);
  }
  for (const std::string_view text : {"", "15", "s", "-1s", "+1s", "1 s", "1S", "1M", "1sec", "1s1m", "36501d",
                                      "99999999999999999d", "999999999999999999999s", "1.s", ".5s", "1ns", "1w"}) {
    INFO(std::string{text});
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("values: numbers stay within their bounds") {
  CHECK(*parse_number("1280", 1280, 65535) == 1280);
  CHECK(*parse_number("65535", 1280, 65535) == 65535);
  CHECK_FALSE(parse_number("1279", 1280, 65535));
  CHECK_FALSE(parse_number("65536", 1280, 65535));
  for (const std::string_view text : {"", "-1", "+5", "1.5", "1k", " 1", "1 ", "0x1", "18446744073709551616"})
    CHECK_FALSE(parse_number(text, 0, 100));
}

TEST_CASE("values: a long hostile word is not repeated at length") {
  const auto rate = parse_rate(std::string(1'000'000, 'x'));
  REQUIRE_FALSE(rate);
  CHECK(rate.error().message.size() < 500);
}

}  // namespace
}  // namespace penstock::tools
