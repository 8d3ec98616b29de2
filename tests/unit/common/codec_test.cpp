#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "common/bytes/base64.h"
#include "common/bytes/hex.h"
#include "common/bytes/view.h"
#include "common/random.h"
#include "tests/printers.h"

namespace penstock::bytes {
namespace {

std::vector<std::byte> random_vector(Rng& rng, std::size_t size) {
  std::vector<std::byte> data(size);
  rng.fill(data);
  return data;
}

TEST_CASE("hex: known text, both cases, and nothing else") {
  CHECK(to_hex(as_bytes("\x01\xab\xff")) == "01abff");
  CHECK(from_hex("01aBFf") == from_hex("01abff"));
  CHECK(from_hex("")->empty());
  for (const auto* text : {"0", "0g", "g0", " 00", "0x00", "00 "}) CHECK_FALSE(from_hex(text).has_value());
  std::array<std::byte, 2> out{};
  CHECK(from_hex("abcd", out));
  CHECK_FALSE(from_hex("abcdef", out));
  CHECK_FALSE(from_hex("ab", out));
}

TEST_CASE("base64: the vectors of RFC 4648 section 10") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    CHECK(to_base64(as_bytes(plain)) == encoded);
    std::string unpadded{encoded};
    unpadded.erase(std::find(unpadded.begin(), unpadded.end(), '='), unpadded.end());
    CHECK(to_base64url(as_bytes(plain)) == unpadded);
    const auto back = from_base64url(unpadded);
    REQUIRE(back.has_value());
    CHECK(as_text(*back) == plain);
  }
  CHECK(to_base64(as_bytes("\xfb\xff")) == "+/8=");
  CHECK(to_base64url(as_bytes("\xfb\xff")) == "-_8");
}

TEST_CASE("base64url and hex: decode(encode(x)) == x for every size up to 100") {
  Rng rng{11};
  for (std::size_t size = 0; size <= 100; ++size) {
    const auto data = random_vector(rng, size);
    CHECK(from_base64url(to_base64url(data)) == data);
    CHECK(from_hex(to_hex(data)) == data);
    std::vector<std::byte> exact(size);
    CHECK(from_base64url(to_base64url(data), exact) == size);
    CHECK(exact == data);
    if (size > 0) CHECK_FALSE(from_base64url(to_base64url(data), std::span{exact}.first(size - 1)).has_value());
  }
}

TEST_CASE("base64url: one value has one text, so padding, spare bits, blanks and the other alphabet are refused") {
  for (const auto* text : {"Zg==", "Zg=", "Zh", "Zm9", "Zm8=", "Z", "Zm9vZ", "Zm 9v", "Zm9v\n", "+/8", "Zm9v="})
    CHECK_FALSE(from_base64url(text).has_value());
  // Of the 64 x 64 two-letter texts exactly 256 decode.
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  int accepted = 0;
  for (const char a : alphabet)
    for (const char b : alphabet) accepted += from_base64url(std::string{a, b}).has_value() ? 1 : 0;
  CHECK(accepted == 256);
}

}  // namespace
}  // namespace penstock::bytes
