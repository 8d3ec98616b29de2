#include "common/path/safe_path.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "common/random.h"
#include "tests/printers.h"

namespace penstock::path {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

SafePath relative(std::string_view text) {
  auto path = SafePath::parse_relative(text);
  REQUIRE(path.ok());
  return std::move(*path);
}

TEST_CASE("names: any bytes but slash and NUL make a name of 1 to 255 bytes") {
  for (const auto name : {"a"sv, "a b"sv, "a\nb"sv, "--rf"sv, "..."sv, ".hidden"sv, "\xff\xfe"sv, "\\"sv, "a."sv,
                          ".penstock"sv, ".penstock-x"sv, "penstock-x.part"sv, ".penstock-.par"sv})
    CHECK_FALSE(check_name(name).has_value());
  CHECK_FALSE(check_name(std::string(255, 'x')).has_value());
  for (int byte = 1; byte < 256; ++byte) {
    const std::string name{'x', static_cast<char>(byte)};
    CHECK(check_name(name).has_value() == (byte == '/'));
  }
}

TEST_CASE("names: what leaves a directory, names none, or is ours is refused") {
  CHECK(check_name("") == NameProblem::empty);
  CHECK(check_name(".") == NameProblem::dot);
  CHECK(check_name("..") == NameProblem::dot_dot);
  CHECK(check_name("a/b") == NameProblem::slash);
  CHECK(check_name("/") == NameProblem::slash);
  CHECK(check_name("a\0b"sv) == NameProblem::nul);
  CHECK(check_name(std::string(256, 'x')) == NameProblem::too_long);
  CHECK(check_name(".penstock-00.part") == NameProblem::reserved);
  CHECK(check_name(".penstock-.part") == NameProblem::reserved);
}

TEST_CASE("component: refusals carry the code and a sentence without raw control characters") {
  CHECK(Component::parse(std::string(256, 'x')).error().code == ErrorCode::NAME_TOO_LONG);
  for (const auto name : {""sv, "."sv, ".."sv, "a/b"sv, "a\0"sv, ".penstock-1.part"sv}) {
    const auto refused = Component::parse(name);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == ErrorCode::PATH_REFUSED);
    CHECK(refused.error().path == name);
  }
  const auto hostile = SafePath::parse_relative("\x1b[2J/..");
  CHECK(hostile.error().message.find('\x1b') == std::string::npos);
  CHECK(SafePath::parse_relative(std::string(1'000'000, '/')).error().message.size() < 500);
}

TEST_CASE("component: a partial's name is made of 128 bits and told from look-alikes") {
  std::array<std::byte, 16> bits{};
  bits[0] = std::byte{0xab};
  const Component partial = Component::partial(bits);
  CHECK(partial.text() == ".penstock-ab000000000000000000000000000000.part");
  CHECK(is_partial_name(partial.text()));
  CHECK_FALSE(Component::parse(partial.text()).ok());
  CHECK(Component::parse_partial(partial.text()) == partial);
  for (const auto name : {".penstock-ab.part"sv, ".penstock-AB000000000000000000000000000000.part"sv,
                          ".penstock-zb000000000000000000000000000000.part"sv, "x"sv,
                          ".penstock-../../../../../../../../etc/pass.part"sv})
    CHECK_FALSE(Component::parse_partial(name).has_value());
}

TEST_CASE("relative paths: exactly the manifest's form") {
  CHECK(relative("").is_root());
  CHECK(relative("a/b c/d").text() == "a/b c/d");
  CHECK(relative("a/b/c").depth() == 3);
  for (const auto text : {"/"sv, "/a"sv, "a/"sv, "a//b"sv, "./a"sv, "a/."sv, "a/./b"sv, ".."sv, "../a"sv, "a/.."sv,
                          "a/../b"sv, "a/b\0"sv, "a/.penstock-0.part/b"sv, "a/.penstock-0.part"sv})
    CHECK_FALSE(SafePath::parse_relative(text).ok());
  CHECK_FALSE(SafePath::parse_relative("a/" + std::string(256, 'b') + "/c").ok());
  CHECK(SafePath::parse_relative("a/" + std::string(255, 'b') + "/c").ok());
}

TEST_CASE("absolute paths: as a user writes them, but never with dots") {
  const auto text_of = [](std::string_view text) { return SafePath::parse_absolute(text).value().text(); };
  CHECK(text_of("/").empty());
  CHECK(text_of("//a///b//") == "a/b");
  CHECK(SafePath::parse_absolute("/a/b").value().absolute_text() == "/a/b");
  for (const auto text : {""sv, "a"sv, "a/b"sv, "/a/../b"sv, "/.."sv, "/."sv, "/a/./b"sv, "/a\0"sv})
    CHECK_FALSE(SafePath::parse_absolute(text).ok());
  CHECK(SafePath::parse_absolute("data/x").error().message.find("/data/x") != std::string::npos);
}

TEST_CASE("paths: parent, name, child, joined, contains and relative fit together") {
  const SafePath path = relative("a/b/c");
  CHECK(path.parent().text() == "a/b");
  CHECK(path.name().text() == "c");
  CHECK(path.parent().child(path.name()) == path);
  CHECK(relative("x").parent().is_root());
  CHECK(SafePath{}.child(relative("x").name()) == relative("x"));
  CHECK(path.components() == std::vector<std::string_view>{"a", "b", "c"});
  CHECK(SafePath{}.components().empty());
  CHECK(SafePath{}.depth() == 0);
  CHECK(relative("a").joined(relative("b/c")) == path);
  CHECK(SafePath{}.joined(path) == path);
  CHECK(path.joined(SafePath{}) == path);
  CHECK(relative("a/b").contains(path));
  CHECK(path.contains(path));
  CHECK(SafePath{}.contains(path));
  CHECK_FALSE(path.contains(relative("a/b")));
  CHECK_FALSE(relative("a/b").contains(relative("a/bc")));  // a longer name is no descendant
  CHECK(relative("a").relative(path) == relative("b/c"));
  CHECK(path.relative(path).is_root());
  CHECK(SafePath{}.relative(path) == path);
}

TEST_CASE("order: a directory comes right before all that is beneath it, unlike in plain string order") {
  const std::vector<std::string> ascending{"",    "a",  "a/\x01", "a/b", "a/b/c", "a/b.d", "a\x01", "a\x01/b",
                                           "a.b", "a0", "aa",     "b",   "\x7f",  "\x80",  "\xff"};
  for (std::size_t i = 0; i < ascending.size(); ++i)
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      CAPTURE(ascending[i]);
      CAPTURE(ascending[j]);
      CHECK((compare_paths(ascending[i], ascending[j]) < 0) == (i < j));
      CHECK((compare_paths(ascending[i], ascending[j]) == 0) == (i == j));
    }
}

TEST_CASE("order: agrees with comparing lists of components, for random paths") {
  Rng rng{41};
  const auto random_path = [&] {
    std::vector<std::string> parts(1 + rng.below(4));
    for (auto& part : parts)
      for (std::uint64_t n = 1 + rng.below(3); n-- > 0;) part += "\x01.-0a\xff"[rng.below(6)];
    return parts;
  };
  const auto join = [](const std::vector<std::string>& parts) {
    std::string text;
    for (const auto& part : parts) text += (text.empty() ? "" : "/") + part;
    return text;
  };
  const auto less_bytes = [](const std::string& a, const std::string& b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      return static_cast<unsigned char>(x) < static_cast<unsigned char>(y);
    });
  };
  for (int i = 0; i < 20'000; ++i) {
    const auto a = random_path();
    const auto b = random_path();
    const bool expected = std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), less_bytes);
    REQUIRE((compare_paths(join(a), join(b)) < 0) == expected);
  }
}

}  // namespace
}  // namespace penstock::path
