#include "common/path/follow.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <utility>

#include "common/path/beneath.h"
#include "tests/printers.h"
#include "tests/temp_dir.h"

namespace penstock::path {
namespace {

namespace fs = std::filesystem;

SafePath relative(std::string_view text) {
  auto path = SafePath::parse_relative(text);
  REQUIRE(path.ok());
  return std::move(*path);
}

/// What is served, with a part of it granted: mine. Beside it stands what is not.
struct Served {
  tests::TempDir dir;
  UniqueFd root;
  FollowBounds bounds{.scope = relative("mine"), .covers = {}};

  Served() {
    fs::create_directories(at("mine/a/b"));
    fs::create_directories(at("private"));
    dir.write("root/private/secret", "secret");
    dir.write("root/mine/a/b/file", "content");
    auto opened = open_trusted_directory(dir.path() + "/root");
    REQUIRE(opened.ok());
    root = std::move(*opened);
  }
  [[nodiscard]] std::string at(const std::string& name) const { return dir.path() + "/root/" + name; }
  void link(const std::string& target, const std::string& name) const { fs::create_symlink(target, at(name)); }
  /// Where `rest` leads from mine, or the error's name.
  [[nodiscard]] std::string leads(const std::string& rest) const {
    const auto followed = follow_beneath(root.get(), relative("mine"), relative(rest), bounds);
    if (followed) return followed->text();
    CHECK(followed.error().path == "mine/" + rest);
    return std::string{error_traits(followed.error().code).name};
  }
};

TEST_CASE("follow: links inside the scope lead to a path without links") {
  const Served served;
  served.link("a/b", "mine/d");
  served.link("../d/./file", "mine/a/f");
  served.link("..", "mine/a/up");
  CHECK(served.leads("a/b/file") == "mine/a/b/file");
  CHECK(served.leads("d") == "mine/a/b");
  CHECK(served.leads("d/file") == "mine/a/b/file");
  CHECK(served.leads("a/f") == "mine/a/b/file");
  CHECK(served.leads("a/up") == "mine");
  CHECK(served.leads("a/up/a/f") == "mine/a/b/file");
}

TEST_CASE("follow: no link leads out of the scope, not even to come back") {
  const Served served;
  served.link("../../private", "mine/a/steal");
  served.link("../private/secret", "mine/secret");
  served.link("../../mine/a", "mine/a/back");
  served.link(served.at("mine/a"), "mine/absolute");
  served.link("/", "mine/slash");
  served.link("secret", "mine/by_way");
  for (const auto* name : {"a/steal", "a/steal/secret", "secret", "a/back", "absolute", "slash", "by_way"}) {
    CAPTURE(name);
    CHECK(served.leads(name) == "PATH_REFUSED");
  }
  // The scope itself as a link, and a link on the way to where the walk starts.
  served.link("private", "alias");
  const auto followed =
      follow_beneath(served.root.get(), SafePath{}, relative("alias"), {.scope = relative("alias"), .covers = {}});
  REQUIRE(!followed.ok());
  CHECK(followed.error().code == ErrorCode::PATH_REFUSED);
  served.link("mine", "other");
  CHECK(!follow_beneath(served.root.get(), relative("other"), relative("a"), {.scope = SafePath{}, .covers = {}}).ok());
}

TEST_CASE("follow: circles end, and so do dangling links and files with something beneath them") {
  const Served served;
  served.link("loop", "mine/loop");
  served.link("pong", "mine/ping");
  served.link("ping", "mine/pong");
  served.link("nothing", "mine/dangling");
  served.link("a/b/file/x", "mine/through");
  served.link("a/b/file/..", "mine/above");
  CHECK(served.leads("loop") == "PATH_REFUSED");
  CHECK(served.leads("ping") == "PATH_REFUSED");
  CHECK(served.leads("dangling") == "NOT_FOUND");
  CHECK(served.leads("through") == "NOT_A_DIRECTORY");
  CHECK(served.leads("above") == "NOT_A_DIRECTORY");
  const auto dangling = follow_beneath(served.root.get(), relative("mine"), relative("dangling"), served.bounds);
  CHECK(dangling.error().message == "cannot follow mine/dangling: No such file or directory");
  // As many links as are allowed, and one more.
  const auto nth = [](unsigned n) { return std::string(n, 'l'); };
  served.link("a", std::string{"mine/"}.append(nth(1)));
  for (unsigned i = 2; i <= links_followed_max + 1; ++i) served.link(nth(i - 1), std::string{"mine/"}.append(nth(i)));
  CHECK(served.leads(nth(links_followed_max)) == "mine/a");
  CHECK(served.leads(nth(links_followed_max + 1)) == "PATH_REFUSED");
}

TEST_CASE("follow: what the bounds do not cover is refused alike, there or not") {
  Served served;
  served.bounds.covers = [](const SafePath& path) { return !relative("mine/a/b").contains(path); };
  served.link("a/b/file", "mine/there");
  served.link("a/b/nothing", "mine/absent");
  served.link("a/b/file/x", "mine/beneath");
  served.link("a/b", "mine/directory");
  served.link("a", "mine/allowed");
  served.link("../..", "mine/a/b/out");
  for (const auto* name : {"there", "absent", "beneath", "directory", "a/b/out"}) {
    CAPTURE(name);
    CHECK(served.leads(name) == "PATH_REFUSED");
  }
  const auto told = [&](const char* name) {
    return follow_beneath(served.root.get(), relative("mine"), relative(name), served.bounds).error().message;
  };
  CHECK(told("absent").substr(std::string{"mine/absent"}.size()) ==
        told("there").substr(std::string{"mine/there"}.size()));
  CHECK(served.leads("allowed") == "mine/a");
}

}  // namespace
}  // namespace penstock::path
