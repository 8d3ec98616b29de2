#include "control/gate/token.h"

#include <doctest/doctest.h>

#include "common/bytes/base64.h"
#include "common/bytes/view.h"
#include "common/crypto/random.h"
#include "tests/printers.h"

using namespace penstock;
using namespace penstock::control;

namespace {

Token some_token(std::string address = "") { return make_token(Pin{crypto::random_array<32>()}, std::move(address)); }

}  // namespace

TEST_CASE("token: what is encoded is decoded") {
  for (const std::string& address : {std::string{}, std::string{"host.example:7440"},
                                     std::string{"[fe80::1%eth0]:7440"}, std::string(token_address_max, 'a')}) {
    const auto token = some_token(address);
    const auto text = encode_token(token);
    CHECK(text.starts_with("pt1_"));
    CHECK(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
          std::string::npos);
    const auto read = decode_token(text);
    REQUIRE(read.ok());
    CHECK(read->id == token.id);
    CHECK(read->secret == token.secret);
    CHECK(read->pin == token.pin);
    CHECK(read->address == token.address);
  }
}

TEST_CASE("token: white space around it, as files and terminals add, is ignored; inside it is not") {
  const auto text = encode_token(some_token());
  CHECK(decode_token("  " + text + "\r\n").ok());
  CHECK(!decode_token(text.substr(0, 20) + "\n" + text.substr(20)).ok());
}

TEST_CASE("token: every truncation and every appended character is refused, without repeating the text") {
  for (const auto* address : {"", "h:1", "host.example:7440"}) {
    const auto text = encode_token(some_token(address));
    for (std::size_t size = 0; size < text.size(); ++size) {
      const auto read = decode_token(std::string_view{text}.substr(0, size));
      REQUIRE(!read.ok());
      CHECK(read.error().code == ErrorCode::TOKEN_REFUSED);
      if (size > 10) CHECK(read.error().message.find(text.substr(4, size - 4)) == std::string::npos);
    }
    for (const char c : {'A', '_', 'z'}) CHECK(!decode_token(text + c).ok());
  }
}

TEST_CASE("token: a changed character either gives another token or is refused, never the same one") {
  const auto token = some_token("h:1");
  const auto text = encode_token(token);
  for (std::size_t i = 4; i < text.size(); ++i) {
    auto changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const auto read = decode_token(changed);
    if (read.ok())
      CHECK_FALSE((read->id == token.id && read->secret == token.secret && read->pin == token.pin &&
                   read->address == token.address));
  }
}

TEST_CASE("token: other versions, other prefixes and addresses with control characters are refused") {
  const auto text = encode_token(some_token("h:1"));
  CHECK(!decode_token("pt2_" + text.substr(4)).ok());
  CHECK(!decode_token("PT1_" + text.substr(4)).ok());
  CHECK(!decode_token(text.substr(4)).ok());
  auto raw = *bytes::from_base64url(text.substr(4));
  raw[0] = std::byte{2};
  CHECK(!decode_token("pt1_" + bytes::to_base64url(raw)).ok());
  raw[0] = std::byte{1};
  CHECK(decode_token("pt1_" + bytes::to_base64url(raw)).ok());
  for (const auto bad : {std::byte{0}, std::byte{'\n'}, std::byte{0x1b}, std::byte{0x80}, std::byte{' '}}) {
    raw.back() = bad;
    CHECK(!decode_token("pt1_" + bytes::to_base64url(raw)).ok());
  }
}

TEST_CASE("token: fresh ones never repeat, and a text with a secret can be wiped") {
  const auto a = some_token();
  const auto b = some_token();
  CHECK(a.id != b.id);
  CHECK_FALSE(a.secret == b.secret);
  auto text = encode_token(a);
  const char* place = text.data();
  const auto size = text.size();
  wipe_text(text);
  CHECK(text.empty());
  CHECK(std::all_of(place + 1, place + size, [](char c) { return c == 0; }));  // still the string's own buffer
}

TEST_CASE("pin: prints and parses, with and without colons, and nothing else parses") {
  const Pin pin{crypto::random_array<32>()};
  const auto text = to_string(pin);
  CHECK(text.size() == 7 + 64);
  CHECK(parse_pin(text) == pin);
  std::string colons = "sha256:";
  for (std::size_t i = 0; i < 32; ++i) colons.append(i == 0 ? "" : ":").append(text, 7 + 2 * i, 2);
  CHECK(parse_pin(colons) == pin);
  CHECK_FALSE(parse_pin(text.substr(7)));
  for (std::size_t size = 0; size < text.size(); ++size) CHECK_FALSE(parse_pin(text.substr(0, size)));
  for (std::size_t size = 0; size < colons.size(); ++size) CHECK_FALSE(parse_pin(colons.substr(0, size)));
  CHECK_FALSE(parse_pin(text + "0"));
  CHECK_FALSE(parse_pin("MD5:" + text.substr(7)));
}
