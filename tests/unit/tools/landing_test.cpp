#include "tools/cli/landing.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/unit/tools/words.h"

namespace penstock::tools {
namespace {

using Texts = std::vector<std::string>;

struct Case {
  Texts sources;
  std::string destination;
  std::string shown;  // DEST[*container]: path>name[/. contents] ...
};

std::string show(const control::TransferWords& words) {
  std::string out = words.destination + (words.container ? "*" : "") + ":";
  for (const auto& source : words.sources)
    out += " " + source.path + ">" + (source.contents ? "." : source.last_name.empty() ? "?" : source.last_name);
  return out;
}

TEST_CASE("landing: what lands where follows from the words alone") {
  const Case cases[] = {
      {{"a"}, "/x", "/x: a>a"},
      {{"a"}, "/x/", "/x*: a>a"},
      {{"a/"}, "/x/", "/x*: a>a"},
      {{"a///"}, "/x///", "/x*: a>a"},
      {{"dir/a"}, "/x/", "/x*: dir/a>a"},
      {{"a", "b"}, "/x/", "/x*: a>a b>b"},
      {{"a/."}, "/x", "/x: a>."},
      {{"a/."}, "/x/", "/x*: a>."},
      {{"a/./"}, "/x", "/x: a>."},
      {{"a/./."}, "/x", "/x: a>."},
      {{"a//."}, "/x", "/x: a>."},
      {{"."}, "/x/", "/x*: .>."},
      {{"./"}, "/x", "/x: .>."},
      {{"./."}, "/x", "/x: .>."},
      {{"./a"}, "/x/", "/x*: ./a>a"},
      {{"/."}, "/x", "/x: />."},
      {{"/"}, "/x", "/x: />?"},
      {{".."}, "/x", "/x: ..>?"},
      {{"../."}, "/x/", "/x*: ..>."},
      {{"a"}, ".", ".*: a>a"},
      {{"a"}, "..", "..*: a>a"},
      {{"a"}, "b/.", "b/.*: a>a"},
      {{"a"}, "b/..", "b/..*: a>a"},
      {{"a"}, "./", ".*: a>a"},
      {{"a"}, "/", "/*: a>a"},
      {{"a"}, "b", "b: a>a"},
      {{"a"}, "b.", "b.: a>a"},
      {{"a"}, "b/...", "b/...: a>a"},
      {{"a."}, "b/", "b*: a.>a."},
      {{"..."}, "b/", "b*: ...>..."},
      {{"-rf"}, "b/", "b*: -rf>-rf"},
      {{"a\nb"}, "c/", "c*: a\nb>a\nb"},
      {{"a/.", "b/."}, "c/", "c*: a>. b>."},
      {{"a/.", "a"}, "c/", "c*: a>. a>a"},
      {{"a:b"}, "c/", "c*: a:b>a:b"},
  };
  for (const auto& each : cases) {
    const auto& sources = each.sources;
    const auto& destination = each.destination;
    const auto& shown = each.shown;
    INFO(shown);
    const auto words = plan_landing(sources, destination);
    REQUIRE(words);
    CHECK(show(*words) == shown);
  }
}

TEST_CASE("landing: what the words leave open is refused before anything is connected") {
  const std::pair<Texts, std::string> cases[] = {
      {{"a", "b"}, "/x"},         // several need a directory
      {{"a/.", "b/."}, "/x"},     //
      {{"a", "x/a"}, "/x/"},      // one last name twice
      {{"a", "b", "a/"}, "/x/"},  //
      {{"/"}, "/x/"},             // no name to go under
      {{".."}, "/x/"},            //
      {{"a/.."}, "/x/"},          //
      {{""}, "/x/"},              //
      {{"a"}, ""},                //
      {{"-"}, "/x"},              // pipes come later
      {{"a"}, "-"},               //
      {{"a", "-"}, "/x/"},        //
      {{}, "/x/"},
  };
  for (const auto& each : cases) {
    const auto& sources = each.first;
    const auto& destination = each.second;
    INFO(destination, " ", sources.size());
    const auto words = plan_landing(sources, destination);
    REQUIRE_FALSE(words);
    CHECK(words.error().code == ErrorCode::USAGE);
  }
  CHECK(plan_landing(Texts{"a", "b"}, "/x").error().message.find("`/x/`") != std::string::npos);
  CHECK(plan_landing(Texts{".."}, "/x/").error().message.find("`../.`") != std::string::npos);
  CHECK(plan_landing(Texts{"/"}, "/x/").error().message.find("`/.`") != std::string::npos);
}

TEST_CASE("landing: a remote path is normal, absolute and never above its root") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"/", "/"},         {"//", "/"},        {"/a", "/a"},       {"/a/", "/a"},    {"//a//b//", "/a/b"},
      {"/a/./b", "/a/b"}, {"/./.", "/"},      {"/a/../b", "/b"},  {"/a/..", "/"},   {"/a/b/../../c", "/c"},
      {"/...", "/..."},   {"/a\nb", "/a\nb"}, {"/\xff", "/\xff"}, {"/a b", "/a b"}, {"/.hidden", "/.hidden"},
  };
  for (const auto& each : cases) {
    const auto& path = each.first;
    const auto& normal = each.second;
    INFO(std::string{path});
    const auto got = normal_remote_path(path);
    REQUIRE(got);
    CHECK(*got == normal);
  }
  for (const std::string_view path : {"/..", "/../etc", "/a/../../b", "/./..", "/a/../.."}) {
    INFO(std::string{path});
    const auto got = normal_remote_path(path);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == ErrorCode::PATH_REFUSED);
  }
  CHECK(normal_remote_path("/" + std::string(256, 'a')).error().code == ErrorCode::NAME_TOO_LONG);
  CHECK(normal_remote_path("/" + std::string(255, 'a')));
  CHECK_FALSE(normal_remote_path(std::string_view{"/a\0b", 4}));
}

}  // namespace
}  // namespace penstock::tools
