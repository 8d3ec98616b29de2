#include "common/escape.h"

#include <doctest/doctest.h>

#include "common/utf8.h"
#include "tests/printers.h"

namespace penstock {
namespace {

using namespace std::string_view_literals;

TEST_CASE("utf8: well-formed text of every length passes") {
  for (const auto text : {""sv, "plain"sv, "\x7f"sv, "\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv, "\xed\x9f\xbf"sv,
                          "\xee\x80\x80"sv, "\xef\xbf\xbf"sv, "\xf0\x90\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv, "\0"sv})
    CHECK(is_valid_utf8(text));
}

TEST_CASE("utf8: overlong forms, surrogates, values past U+10FFFF and cut sequences are refused") {
  for (const auto text : {"\x80"sv, "\xbf"sv, "\xc0\x80"sv, "\xc1\xbf"sv, "\xc2"sv, "\xe0\x9f\xbf"sv, "\xe0\xa0"sv,
                          "\xed\xa0\x80"sv, "\xed\xbf\xbf"sv, "\xf0\x8f\xbf\xbf"sv, "\xf4\x90\x80\x80"sv,
                          "\xf5\x80\x80\x80"sv, "\xff"sv, "\xf0\x90\x80"sv, "a\xffz"sv, "\xc2\xc2"sv})
    CHECK_FALSE(is_valid_utf8(text));
}

TEST_CASE("utf8: every code point round-trips through its encoding") {
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else if (c < 0x800) {
      text += static_cast<char>(0xc0 | c >> 6);
      text += static_cast<char>(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
      text += static_cast<char>(0xe0 | c >> 12);
      text += static_cast<char>(0x80 | (c >> 6 & 0x3f));
      text += static_cast<char>(0x80 | (c & 0x3f));
    } else {
      text += static_cast<char>(0xf0 | c >> 18);
      text += static_cast<char>(0x80 | (c >> 12 & 0x3f));
      text += static_cast<char>(0x80 | (c >> 6 & 0x3f));
      text += static_cast<char>(0x80 | (c & 0x3f));
    }
    const Utf8Step step = utf8_step(text);
    if (step.code_point != c || step.length != text.size()) FAIL("code point " << static_cast<std::uint32_t>(c));
  }
}

TEST_CASE("utf8: each maximal ill-formed part becomes one replacement character (Unicode table 3-8)") {
  CHECK(utf8_with_replacements("\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64") ==
        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\x62\xef\xbf\xbd\x63\xef\xbf\xbd\xef\xbf\xbd\x64");
  CHECK(utf8_with_replacements("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
}

TEST_CASE("escape: ordinary names in any script stay as they are") {
  for (const auto text :
       {"a file.txt"sv, "--rf"sv, "gr\xc3\xbc\xc3\x9f"sv, "\xe6\x96\x87\xe5\xad\x97"sv, "\xf0\x9f\x8e\xac"sv})
    CHECK(escape_for_display(text) == text);
}

TEST_CASE("escape: nothing that moves a cursor, hides or reorders text gets through") {
  CHECK(escape_for_display("a\nb\rc\td") == "a\\nb\\rc\\td");
  CHECK(escape_for_display("\x1b[2J"sv) == "\\x1b[2J");
  CHECK(escape_for_display("\0\x7f"sv) == "\\x00\\x7f");
  CHECK(escape_for_display("\xc2\x9b"
                           "31m") == "\\u{009b}31m");                                // C1: CSI
  CHECK(escape_for_display("photo\xe2\x80\xaegnp.exe") == "photo\\u{202e}gnp.exe");  // right-to-left override
  CHECK(escape_for_display("\xe2\x81\xa6\xe2\x81\xa9") == "\\u{2066}\\u{2069}");     // isolates
  CHECK(escape_for_display("\xd8\x9c") == "\\u{061c}");
  CHECK(escape_for_display("a\xe2\x80\x8b"
                           "b\xef\xbb\xbf") == "a\\u{200b}b\\u{feff}");           // zero width
  CHECK(escape_for_display("\xe2\x80\xa8\xe2\x80\xa9") == "\\u{2028}\\u{2029}");  // line separators
  CHECK(escape_for_display("\xf3\xa0\x81\xa1") == "\\u{e0061}");                  // a tag character
  CHECK(escape_for_display("\xf0\x9f\xbf\xbe") == "\\u{1fffe}");                  // a noncharacter
}

TEST_CASE("escape: bytes that are not UTF-8 show as hexadecimal") {
  CHECK(escape_for_display("caf\xe9") == "caf\\xe9");
  CHECK(escape_for_display("\xed\xa0\x80") == "\\xed\\xa0\\x80");
  CHECK(escape_for_display("\xe2\x80") == "\\xe2\\x80");
}

TEST_CASE("escape: a name that imitates an escape is told from the real one") {
  CHECK(escape_for_display("a\\nb") == "a\\\\nb");
  CHECK(escape_for_display("\\x1b") == "\\\\x1b");
}

TEST_CASE("escape: a sentence keeps the escapes of the names in it, and gains those that are missing") {
  CHECK(escape_sentence("/a\\x1b[2J exists") == "/a\\x1b[2J exists");
  CHECK(escape_sentence("/a\033[2J\\") == "/a\\x1b[2J\\");
  CHECK(escape_sentence("") == "");
  CHECK(escape_sentence("aaaa\\bbbb", 6).size() <= 6 + 3);
}

TEST_CASE("escape: every byte pair comes out as printable UTF-8 on one line") {
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) {
      const std::string raw{static_cast<char>(a), static_cast<char>(b)};
      const std::string shown = escape_for_display(raw);
      bool clean = is_valid_utf8(shown);
      for (const char c : shown) clean = clean && (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
      if (!clean) FAIL("bytes " << a << " " << b);
    }
}

TEST_CASE("escape: a long name is cut at a whole piece and says so") {
  CHECK(escape_for_display("abcdef", 6) == "abcdef");
  CHECK(escape_for_display("abcdef", 5) == "abcde...");
  CHECK(escape_for_display("ab\n", 3) == "ab...");
  CHECK(escape_for_display("a\xc3\xbc", 2) == "a...");
  CHECK(escape_for_display(std::string(1'000'000, 'x'), 10).size() == 13);
}

}  // namespace
}  // namespace penstock
