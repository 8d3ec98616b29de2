#include "control/registry/grant.h"

#include <doctest/doctest.h>

#include <random>

using namespace penstock;
using namespace penstock::control;

namespace {

Grant grant(std::string_view text) { return parse_grant(text).value(); }
path::SafePath at(std::string_view text) { return path::SafePath::parse_absolute(text).value(); }
std::vector<Grant> grants(std::initializer_list<std::string_view> texts) {
  std::vector<Grant> all;
  for (const auto text : texts) all.push_back(grant(text));
  return all;
}

}  // namespace

TEST_CASE("grant: every mode parses, and prints as it was written") {
  for (const auto* text : {"r:/", "rw:/", "w:/in", "r:/a/b c/d:e", "rw:/\xff\xfe"})
    CHECK(to_string(grant(text)) == text);
  CHECK(to_string(grant("rw://a//b/")) == "rw:/a/b");
}

TEST_CASE("grant: what is not a grant is refused with USAGE") {
  for (const auto* text :
       {"", "r", "rw", "r:", "rw:projects", "x:/", "wr:/", "R:/", "r:/a/../b", "r:/./a", "/a", " r:/"}) {
    CAPTURE(text);
    const auto parsed = parse_grant(text);
    REQUIRE(!parsed);
    CHECK(parsed.error().code == ErrorCode::USAGE);
  }
  CHECK(!parse_grant("r:/" + std::string(256, 'a')));
  CHECK(!parse_grant(std::string_view{"r:/a\0b", 6}));
  std::string deep = "r:";
  for (int i = 0; i < 3000; ++i) deep += "/d";
  CHECK(!parse_grant(deep));
}

TEST_CASE("grant: a path is covered by whole components, never by a prefix of a name") {
  const auto mine = grants({"rw:/pro"});
  CHECK(allows(mine, at("/pro"), Operation::read));
  CHECK(allows(mine, at("/pro/a/b"), Operation::modify));
  CHECK_FALSE(allows(mine, at("/projects"), Operation::read));
  CHECK_FALSE(allows(mine, at("/"), Operation::list));
  CHECK_FALSE(allows({}, at("/"), Operation::list));
}

TEST_CASE("grant: modes allow exactly their operations") {
  struct Row {
    const char* grant;
    bool read, list, create, modify;
  };
  for (const auto& row : {Row{"r:/d", true, true, false, false}, Row{"rw:/d", true, true, true, true},
                          Row{"w:/d", false, false, true, false}}) {
    CAPTURE(row.grant);
    const auto mine = grants({row.grant});
    CHECK(allows(mine, at("/d/x"), Operation::read) == row.read);
    CHECK(allows(mine, at("/d/x"), Operation::list) == row.list);
    CHECK(allows(mine, at("/d/x"), Operation::create) == row.create);
    CHECK(allows(mine, at("/d/x"), Operation::modify) == row.modify);
  }
}

TEST_CASE("grant: the longest matching grant decides alone, so a narrower one can take away") {
  const auto mine = grants({"rw:/", "r:/archive", "rw:/archive/incoming"});
  CHECK(allows(mine, at("/x"), Operation::modify));
  CHECK_FALSE(allows(mine, at("/archive/x"), Operation::modify));
  CHECK(allows(mine, at("/archive/x"), Operation::read));
  CHECK(allows(mine, at("/archive/incoming/x"), Operation::modify));
  CHECK(covering_grant(mine, at("/archive/x")) == &mine[1]);
}

TEST_CASE("grant: of several grants on one path the most generous decides, in any order") {
  for (const auto& mine : {grants({"r:/d", "rw:/d", "w:/d"}), grants({"w:/d", "rw:/d", "r:/d"})})
    CHECK(allows(mine, at("/d"), Operation::modify));
  CHECK(allows(grants({"w:/d", "r:/d"}), at("/d"), Operation::read));
}

TEST_CASE("grant: what lies above grants shows only the way to them") {
  const auto mine = grants({"r:/b/deep/x", "rw:/a", "w:/b/deep/y", "r:/b/c"});
  CHECK(visible_children(mine, at("/")) == std::vector<std::string>{"a", "b"});
  CHECK(visible_children(mine, at("/b")) == std::vector<std::string>{"c", "deep"});
  CHECK(visible_children(mine, at("/b/deep")) == std::vector<std::string>{"x", "y"});
  CHECK(visible_children(mine, at("/z")).empty());
  CHECK(visible_children(grants({"rw:/"}), at("/")).empty());
}

TEST_CASE("grant: roots of grants are known, what lies beside them is not") {
  const auto mine = grants({"rw:/a/b"});
  CHECK(is_grant_root(mine, at("/a/b")));
  CHECK_FALSE(is_grant_root(mine, at("/a")));
  CHECK_FALSE(is_grant_root(mine, at("/a/b/c")));
}

TEST_CASE("grant: the decision equals a naive search over random grants") {
  std::mt19937 random{7};
  const auto random_path = [&] {
    std::string text;
    for (auto depth = random() % 4; depth > 0; --depth)
      text += std::string{"/"} + static_cast<char>('a' + random() % 2);
    return text.empty() ? std::string{"/"} : text;
  };
  for (int round = 0; round < 2000; ++round) {
    std::vector<Grant> mine;
    for (auto count = random() % 5; count > 0; --count)
      mine.push_back(grant(std::array{"r:", "rw:", "w:"}[random() % 3] + random_path()));
    const auto path = random_path();
    // Naive: every prefix of the path by characters, longest first.
    bool expected = false;
    for (std::string prefix = path;; prefix = prefix.substr(0, prefix.rfind('/'))) {
      bool any = false;
      for (const auto& g : mine) {
        if (to_string(g).substr(to_string(g).find('/')) != (prefix.empty() ? "/" : prefix)) continue;
        any = true;
        expected = expected || g.mode != GrantMode::drop_box;
      }
      if (any || prefix.empty() || prefix == "/") break;
    }
    CAPTURE(path);
    CHECK(allows(mine, at(path), Operation::read) == expected);
  }
}
