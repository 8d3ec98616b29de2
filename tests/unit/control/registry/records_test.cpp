#include "control/registry/records.h"

#include <doctest/doctest.h>

#include "common/bytes/hex.h"

using namespace penstock;
using namespace penstock::control;

TEST_CASE("uuid: fresh ones are of version 4, differ, and print so that they parse again") {
  const auto a = make_uuid();
  const auto b = make_uuid();
  CHECK(a != b);
  CHECK(to_string(a).size() == 36);
  CHECK(to_string(a)[14] == '4');
  CHECK(std::string{"89ab"}.find(to_string(a)[19]) != std::string::npos);
  CHECK(parse_uuid(to_string(a)) == a);
}

TEST_CASE("uuid: only the one form is read") {
  CHECK(parse_uuid("01234567-89AB-4cde-8f01-23456789abcd"));
  for (const auto* text : {"", "01234567-89ab-4cde-8f01-23456789abc", "01234567-89ab-4cde-8f01-23456789abcde",
                           "0123456789ab4cde8f0123456789abcd", "0123456-789ab-4cde-8f01-23456789abcd",
                           "01234567-89ab-4cde-8f01-23456789abcg", "01234567-89ab-4cde-8f01-2345678-abcd"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_uuid(text));
  }
  const std::array<std::byte, 17> bytes{};
  CHECK(uuid_from_bytes(std::span{bytes}.first(16)));
  CHECK_FALSE(uuid_from_bytes(bytes));
  CHECK_FALSE(uuid_from_bytes(std::span{bytes}.first(15)));
}

TEST_CASE("token id: 16 hex digits, nothing else") {
  const auto id = parse_token_id("0011223344556677");
  REQUIRE(id);
  CHECK(to_string(*id) == "0011223344556677");
  CHECK_FALSE(parse_token_id("001122334455667"));
  CHECK_FALSE(parse_token_id("00112233445566778"));
  CHECK_FALSE(parse_token_id("001122334455667x"));
}
