// Where links lead a walk: on the daemon within bounds, on the user's own machine anywhere; and several roots.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/storage/posix_source.h"
#include "tests/unit/storage/scratch_directory.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

path::SafePath at(std::string_view text) { return *path::SafePath::parse_absolute(text); }

struct Walked {
  std::vector<std::string> listed;  // "root:path", regular files with what they hold
  std::vector<SourceWarning> warnings;
  std::optional<Error> failed;
};

Walked walk(std::vector<SourceRoot> roots, Links links) {
  PosixSource source{std::move(roots), {.links = links}};
  Walked walked;
  for (bool end = false; !end;) {
    auto batch = source.walk(3);
    if (!batch) {
      walked.failed = batch.error();
      break;
    }
    for (const auto& entry : batch->entries) {
      std::string line = std::to_string(entry.root) + ":" + entry.path;
      if (entry.type == FileType::symlink) line += " -> " + entry.link_target;
      if (entry.type == FileType::regular) {
        auto file = source.open(entry);
        std::string held(static_cast<std::size_t>(entry.size), '\0');
        const bool read = file && (*file)->read(0, std::as_writable_bytes(std::span{held})).ok();
        line += read ? " = " + held : " unreadable";
      }
      walked.listed.push_back(std::move(line));
    }
    for (auto& warning : batch->warnings) walked.warnings.push_back(std::move(warning));
    end = batch->end;
  }
  return walked;
}

/// What a daemon serves: /mine is granted, /mine/drop is a drop box within it, /private is somebody else's.
struct Served {
  ScratchDirectory scratch;
  Served() {
    for (const auto* name : {"mine/tree/d", "mine/other", "mine/drop", "private"})
      fs::create_directories(scratch / name);
    write_file(scratch / "private/secret", "secret");
    write_file(scratch / "mine/drop/left", "left");
    write_file(scratch / "mine/tree/d/f", "f");
    write_file(scratch / "mine/other/g", "g");
  }
  void link(const std::string& target, const std::string& name) const { fs::create_symlink(target, scratch / name); }
  [[nodiscard]] SourceRoot root(const std::string& word, bool contents = false) const {
    SourceRoot root;
    root.base = scratch.open();
    root.path = at(word);
    root.contents = contents;
    root.bounds = path::FollowBounds{
        .scope = at("/mine"), .covers = [](const path::SafePath& path) { return !at("/mine/drop").contains(path); }};
    root.display = word;
    return root;
  }
  [[nodiscard]] Walked walked(const std::string& word, Links links) const {
    std::vector<SourceRoot> roots;
    roots.push_back(root(word));
    return walk(std::move(roots), links);
  }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("source links: a daemon follows none that leads out of the grant, and names each") {
  const Served served;
  served.link("../../private", "mine/tree/steal");
  served.link("../../private/secret", "mine/tree/secret");
  served.link("/etc/passwd", "mine/tree/passwd");
  served.link("../../mine/other/g", "mine/tree/there_and_back");
  const auto walked = served.walked("/mine/tree", Links::follow);
  CHECK(walked.listed == Lines{"0:", "0:d", "0:d/f = f"});
  REQUIRE(walked.warnings.size() == 4);
  for (const auto& warning : walked.warnings) {
    CHECK(warning.code == ErrorCode::PATH_REFUSED);
    CHECK(warning.path.starts_with("/mine/tree/"));
    CHECK(warning.message.starts_with(warning.path + " is a link that leads out of what is granted"));
  }
}

TEST_CASE("source links: a daemon follows those that stay beneath the grant, to what is granted") {
  const Served served;
  served.link("../other", "mine/tree/dir");
  served.link("dir/g", "mine/tree/file");
  served.link("../drop", "mine/tree/drop");
  served.link("../drop/left", "mine/tree/left");
  served.link("../drop/absent", "mine/tree/absent");
  served.link("..", "mine/tree/up");
  served.link("nothing", "mine/tree/dangling");
  const auto walked = served.walked("/mine/tree", Links::follow);
  // up leads to /mine, which has the tree itself in it, and the drop box.
  CHECK(walked.listed == Lines{"0:", "0:d", "0:d/f = f", "0:dir", "0:dir/g = g", "0:file = g", "0:up", "0:up/other",
                               "0:up/other/g = g"});
  std::map<std::string, Error> warnings;
  for (const auto& warning : walked.warnings) warnings.emplace(warning.path, warning);
  REQUIRE(warnings.size() == 6);
  for (const auto* name : {"/drop", "/left", "/absent", "/up/drop", "/up/tree"})
    CHECK(warnings.at(std::string{"/mine/tree"} + name).code == ErrorCode::PATH_REFUSED);
  CHECK(warnings.at("/mine/tree/up/tree").message.find("leads back to a directory above it") != std::string::npos);
  CHECK(warnings.at("/mine/tree/dangling").message == "cannot follow /mine/tree/dangling: No such file or directory");
}

TEST_CASE("source links: a root that is a link is followed within the grant, whatever --links says of the tree") {
  const Served served;
  served.link("tree/d", "mine/ld");
  served.link("tree/d/f", "mine/lf");
  served.link("f", "mine/tree/d/kept");
  for (const bool contents : {false, true}) {
    std::vector<SourceRoot> roots;
    roots.push_back(served.root("/mine/ld", contents));
    CHECK(walk(std::move(roots), Links::keep).listed == Lines{"0:", "0:f = f", "0:kept -> f"});
  }
  CHECK(served.walked("/mine/ld", Links::skip).listed == Lines{"0:", "0:f = f"});
  CHECK(served.walked("/mine/lf", Links::keep).listed == Lines{"0: = f"});
  // Through a link on the way, nothing is found.
  const auto through = served.walked("/mine/ld/f", Links::follow);
  REQUIRE(through.failed);
  CHECK(through.failed->code == ErrorCode::PATH_REFUSED);
  served.link("../private", "mine/out");
  served.link("drop", "mine/box");
  for (const auto* word : {"/mine/out", "/mine/box"}) {
    const auto refused = served.walked(word, Links::keep);
    REQUIRE(refused.failed);
    CHECK(refused.failed->code == ErrorCode::PATH_REFUSED);
    CHECK(refused.failed->path == word);
    CHECK(refused.failed->message.starts_with(word));
    CHECK(refused.listed.empty());
  }
  // What is granted less is not sent by way of a root that leads above it.
  served.link(".", "mine/all");
  const auto all = served.walked("/mine/all", Links::keep);
  REQUIRE(all.warnings.size() == 1);
  CHECK(all.warnings[0].path == "/mine/all/drop");
}

TEST_CASE("source links: on the user's own machine they are followed anywhere, but in no circle") {
  const Served served;
  served.link(served.scratch / "private", "mine/tree/absolute");
  served.link("../../private/secret", "mine/tree/secret");
  served.link("nothing", "mine/tree/dangling");
  served.link("loop", "mine/tree/loop");
  served.link("..", "mine/tree/d/up");
  served.link("../..", "mine/other/top");
  served.link("../other", "mine/tree/other");
  std::vector<SourceRoot> roots;
  auto root = open_local_root(served.scratch / "mine/tree");
  REQUIRE(root.ok());
  roots.push_back(std::move(*root));
  const auto walked = walk(std::move(roots), Links::follow);
  const auto has = [&](const std::string& line) { return std::ranges::count(walked.listed, line) == 1; };
  CHECK(has("0:absolute/secret = secret"));
  CHECK(has("0:secret = secret"));
  CHECK(has("0:other/top/private/secret = secret"));
  std::map<std::string, std::string> warnings;
  for (const auto& warning : walked.warnings) {
    REQUIRE(warning.path.starts_with(served.scratch / "mine/tree/"));
    warnings.emplace(warning.path.substr((served.scratch / "mine/tree/").size()), warning.message);
  }
  CHECK(warnings.size() == 5);
  CHECK(warnings["dangling"].ends_with("dangling: No such file or directory"));
  CHECK(warnings["loop"].ends_with("Too many levels of symbolic links"));
  for (const auto* name : {"d/up", "other/top/mine/other", "other/top/mine/tree"})
    CHECK(warnings[name].find("leads back to a directory above it") != std::string::npos);
}

TEST_CASE("source roots: of several those that can not be sent are warnings, a missing one ends all at once") {
  const Served served;
  REQUIRE(::mkfifo((served.scratch / "mine/pipe").c_str(), 0600) == 0);
  served.link("../private", "mine/out");
  const auto words = [&](const std::vector<const char*>& names) {
    std::vector<SourceRoot> roots;
    for (const auto* name : names) roots.push_back(served.root(name));
    return walk(std::move(roots), Links::keep);
  };
  const auto some = words({"/mine/pipe", "/mine/tree/d", "/mine/out", "/mine/other/g"});
  CHECK_FALSE(some.failed);
  CHECK(some.listed == Lines{"1:", "1:f = f", "3: = g"});
  REQUIRE(some.warnings.size() == 2);
  CHECK(some.warnings[0].code == ErrorCode::SPECIAL_FILE);
  CHECK(some.warnings[0].path == "/mine/pipe");
  CHECK(some.warnings[1].code == ErrorCode::PATH_REFUSED);
  const auto missing = words({"/mine/tree", "/mine/nothing"});
  REQUIRE(missing.failed);
  CHECK(missing.failed->code == ErrorCode::NOT_FOUND);
  CHECK(missing.failed->path == "/mine/nothing");
  CHECK(missing.listed.empty());
  for (const auto& alone : {words({"/mine/pipe"}), words({"/mine/pipe", "/mine/out"})}) {
    REQUIRE(alone.failed);
    CHECK(alone.failed->code == ErrorCode::SPECIAL_FILE);
  }
}

TEST_CASE("source roots: local words that can not be opened are told in their turn, missing ones before anything") {
  const Served served;
  const std::string file = served.scratch / "mine/tree/d/f";
  const std::string through = file + "/.";  // the contents of a file
  CHECK(open_local_roots({file, served.scratch / "nothing"}).error().code == ErrorCode::NOT_FOUND);
  CHECK(open_local_roots({through}).error().code == ErrorCode::NOT_A_DIRECTORY);
  auto roots = open_local_roots({through, file});
  REQUIRE(roots.ok());
  const auto walked = walk(std::move(*roots), Links::keep);
  CHECK(walked.listed == Lines{"1: = f"});
  REQUIRE(walked.warnings.size() == 1);
  CHECK(walked.warnings[0].code == ErrorCode::NOT_A_DIRECTORY);
  CHECK(walked.warnings[0].path == through);
}

}  // namespace penstock::storage::test
