#include "dataplane/storage/naming.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/unit/storage/scratch_directory.h"

namespace penstock::storage::test {

namespace {

path::SafePath path_of(const std::string& text) { return path::SafePath::parse_relative(text).value(); }

/// A partial of `target` with this content, as a sink leaves it; `number` makes its name.
Naming partial_of(const ScratchDirectory& scratch, const std::string& target, const std::string& content, char number) {
  const std::string name = ".penstock-" + std::string(32, number) + ".part";
  const auto place = path_of(target);
  const std::string parent = scratch / place.parent().text();
  std::filesystem::create_directories(parent);
  write_file(parent + "/" + name, content);
  struct stat status {};
  REQUIRE(::stat(parent.c_str(), &status) == 0);
  return {.index = 0,
          .target = place,
          .partial = *path::Component::parse_partial(name),
          .parent_device = status.st_dev,
          .parent_inode = status.st_ino};
}

}  // namespace

TEST_CASE("naming: each gets its name, and one that can not keeps nobody else from it") {
  ScratchDirectory scratch;
  const auto base = scratch.open();
  std::vector<Naming> namings{partial_of(scratch, "a/one", "1", '1'), partial_of(scratch, "a/taken", "2", '2'),
                              partial_of(scratch, "a/two", "3", '3'), partial_of(scratch, "b/one", "4", '4')};
  write_file(scratch / "a/taken", "theirs");
  give_names(base.get(), namings);
  CHECK(namings[0].result);
  REQUIRE_FALSE(namings[1].result);
  CHECK(namings[1].result.error().code == ErrorCode::FILE_EXISTS);
  CHECK(namings[2].result);
  CHECK(namings[3].result);
  CHECK(read_file(scratch / "a/one") == "1");
  CHECK(read_file(scratch / "a/taken") == "theirs");
  CHECK(read_file(scratch / "a/two") == "3");
  CHECK(read_file(scratch / "b/one") == "4");
  CHECK(exists(scratch / ("a/" + namings[1].partial.text())));
}

TEST_CASE("naming: a directory or a link in the place of the one that was written to gets nothing") {
  ScratchDirectory scratch;
  const auto base = scratch.open();
  std::vector<Naming> namings{partial_of(scratch, "moved/f", "1", '1'), partial_of(scratch, "linked/f", "2", '2'),
                              partial_of(scratch, "kept/f", "3", '3')};
  for (const std::string name : {"moved", "linked"}) {
    std::filesystem::rename(scratch / name, scratch / (name + "-away"));
  }
  std::filesystem::create_directory(scratch / "moved");
  write_file((scratch / "moved/") + namings[0].partial.text(), "somebody's");
  std::filesystem::create_directory_symlink(scratch / "linked-away", scratch / "linked");
  give_names(base.get(), namings);
  REQUIRE_FALSE(namings[0].result);
  CHECK(namings[0].result.error().code == ErrorCode::PATH_REFUSED);
  REQUIRE_FALSE(namings[1].result);
  CHECK(namings[1].result.error().code == ErrorCode::PATH_REFUSED);
  CHECK(namings[2].result);
  CHECK_FALSE(exists(scratch / "moved/f"));
  CHECK_FALSE(exists(scratch / "linked-away/f"));
  CHECK(exists(scratch / "kept/f"));
}

}  // namespace penstock::storage::test
