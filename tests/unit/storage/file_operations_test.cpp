#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/bytes/view.h"
#include "dataplane/storage/file_operations.h"
#include "tests/unit/storage/scratch_directory.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

path::SafePath at(const std::string& text) { return std::move(*path::SafePath::parse_absolute(text)); }

std::vector<std::string> names(const DirectoryPage& page) {
  std::vector<std::string> result;
  for (const auto& entry : page.entries) result.push_back(entry.name);
  return result;
}

struct Fixture {
  ScratchDirectory scratch;
  UniqueFd root;
  Fixture() {
    fs::create_directory(scratch / "root");
    fs::create_directory(scratch / "outside");
    write_file(scratch / "outside/secret", "secret");
    fs::create_directory_symlink(scratch / "outside", scratch / "root/escape");
    root = scratch.open("root");
  }
};

}  // namespace

TEST_CASE("list: pages in name order, partials hidden, links as they are") {
  const Fixture f;
  for (const auto* const name : {"b", "a", "c", "-d", "\xff"})
    write_file(f.scratch / (std::string("root/") + name), "1");
  write_file(f.scratch / "root/.penstock-00112233445566778899aabbccddeeff.part", "partial");
  auto page = list_directory(f.root.get(), {}, "", 3);
  REQUIRE(page.ok());
  CHECK(names(*page) == std::vector<std::string>{"-d", "a", "b"});
  CHECK(page->more);
  page = list_directory(f.root.get(), {}, "b", 3);
  CHECK(names(*page) == std::vector<std::string>{"c", "escape", "\xff"});
  CHECK(!page->more);
  CHECK(page->entries[1].type == FileType::symlink);
  CHECK(page->entries[1].link_target == f.scratch / "outside");
  page = list_directory(f.root.get(), at("/a"), "", 3);
  CHECK(names(*page) == std::vector<std::string>{"a"});
}

TEST_CASE("file operations: no link leads out of the root") {
  const Fixture f;
  CHECK(!list_directory(f.root.get(), at("/escape"), "", 10).ok());
  CHECK(!stat_file(f.root.get(), at("/escape/secret")).ok());
  CHECK(!sum_file(f.root.get(), at("/escape/secret")).ok());
  CHECK(!make_directory(f.root.get(), at("/escape/new"), Parents::must_exist).ok());
  CHECK(!make_directory(f.root.get(), at("/escape/new/er"), Parents::create).ok());
  CHECK(!remove_file(f.root.get(), at("/escape/secret"), Depth::recursive).ok());
  CHECK(!rename_file({f.root.get(), at("/escape/secret")}, {f.root.get(), at("/mine")}).ok());
  CHECK(read_file(f.scratch / "outside/secret") == "secret");
  CHECK(stat_file(f.root.get(), at("/escape"))->type == FileType::symlink);
}

TEST_CASE("mkdir: one level, or all that are missing") {
  const Fixture f;
  CHECK(make_directory(f.root.get(), at("/d"), Parents::must_exist).ok());
  CHECK(make_directory(f.root.get(), at("/d"), Parents::must_exist).error().code == ErrorCode::FILE_EXISTS);
  CHECK(make_directory(f.root.get(), at("/x/y"), Parents::must_exist).error().code == ErrorCode::NOT_FOUND);
  CHECK(make_directory(f.root.get(), at("/x/y"), Parents::create).ok());
  CHECK(make_directory(f.root.get(), at("/x/y"), Parents::create).ok());
  CHECK(fs::is_directory(f.scratch / "root/x/y"));
}

TEST_CASE("mkdir: what is in the place, or in the way, is told by name and kind") {
  const Fixture f;
  write_file(f.scratch / "root/a", "a");
  CHECK(make_directory(f.root.get(), at("/"), Parents::must_exist).error().code == ErrorCode::FILE_EXISTS);
  CHECK(make_directory(f.root.get(), at("/"), Parents::create).ok());
  const auto taken = make_directory(f.root.get(), at("/a"), Parents::create);
  CHECK(taken.error().code == ErrorCode::TYPE_CONFLICT);
  CHECK(taken.error().message == "/a is a file, where a directory is needed");
  const auto no_way = make_directory(f.root.get(), at("/a/b/c"), Parents::create);
  CHECK(no_way.error().code == ErrorCode::NOT_A_DIRECTORY);
  CHECK(no_way.error().path == "/a");
}

TEST_CASE("rename: nothing is moved into itself") {
  const Fixture f;
  fs::create_directory(f.scratch / "root/d");
  const auto moved = rename_file({f.root.get(), at("/d")}, {f.root.get(), at("/d/in")});
  CHECK(moved.error().code == ErrorCode::PATH_REFUSED);
  CHECK(moved.error().message == "/d can not be moved into itself, as /d/in; choose another name");
  CHECK(rename_file({f.root.get(), at("/d")}, {f.root.get(), at("/d2")}).ok());
}

TEST_CASE("file operations: errors name whole paths, of the thing or of the directory that is missing") {
  const Fixture f;
  write_file(f.scratch / "root/a", "a");
  const auto message = [](const auto& result) { return result.error().message; };
  CHECK(message(make_directory(f.root.get(), at("/x/y"), Parents::must_exist)) ==
        "cannot open the directory /x: No such file or directory");
  CHECK(message(stat_file(f.root.get(), at("/no"))) == "cannot examine /no: No such file or directory");
  CHECK(stat_file(f.root.get(), at("/a/b")).error().path == "/a/b");
  CHECK(message(stat_file(f.root.get(), at("/a/b"))) == "cannot open the directory /a: Not a directory");
  CHECK(message(make_directory(f.root.get(), at("/a"), Parents::must_exist)).starts_with("/a exists already; "));
}

TEST_CASE("rename: moves, and never replaces") {
  const Fixture f;
  write_file(f.scratch / "root/a", "a");
  write_file(f.scratch / "root/b", "b");
  CHECK(rename_file({f.root.get(), at("/a")}, {f.root.get(), at("/b")}).error().code == ErrorCode::FILE_EXISTS);
  CHECK(read_file(f.scratch / "root/b") == "b");
  CHECK(rename_file({f.root.get(), at("/a")}, {f.root.get(), at("/c")}).ok());
  CHECK(read_file(f.scratch / "root/c") == "a");
  CHECK(rename_file({f.root.get(), at("/nothing")}, {f.root.get(), at("/d")}).error().code == ErrorCode::NOT_FOUND);
  CHECK(rename_file({f.root.get(), at("/")}, {f.root.get(), at("/d")}).error().code == ErrorCode::PERMISSION_DENIED);
}

TEST_CASE("remove: a tree goes when asked for, its links are not followed, the root stays") {
  const Fixture f;
  fs::create_directories(f.scratch / "root/t/deep/er");
  write_file(f.scratch / "root/t/deep/f", "1");
  write_file(f.scratch / "root/t/.penstock-00112233445566778899aabbccddeeff.part", "partial");
  fs::create_directory_symlink(f.scratch / "outside", f.scratch / "root/t/deep/link");
  const auto full = remove_file(f.root.get(), at("/t"), Depth::single);
  CHECK(full.error().code == ErrorCode::IS_A_DIRECTORY);
  CHECK(full.error().message == "/t is a directory that is not empty; rm -r removes it with all that is in it");
  CHECK(exists(f.scratch / "root/t/deep/f"));
  CHECK(remove_file(f.root.get(), at("/t"), Depth::recursive).ok());
  CHECK(!exists(f.scratch / "root/t"));
  CHECK(remove_file(f.root.get(), at("/escape"), Depth::recursive).ok());
  CHECK(read_file(f.scratch / "outside/secret") == "secret");
  CHECK(remove_file(f.root.get(), {}, Depth::recursive).error().code == ErrorCode::PERMISSION_DENIED);
  CHECK(remove_file(f.root.get(), at("/nothing"), Depth::single).error().code == ErrorCode::NOT_FOUND);
}

TEST_CASE("digest: SHA-256 of a regular file, and of nothing else") {
  const Fixture f;
  write_file(f.scratch / "root/f", "abc");
  const auto sum = sum_file(f.root.get(), at("/f"));
  REQUIRE(sum.ok());
  CHECK(sum->size == 3);
  CHECK(digest::Digest{sum->sha256}.to_string() ==
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  REQUIRE(::mkfifo((f.scratch / "root/pipe").c_str(), 0600) == 0);
  CHECK(sum_file(f.root.get(), at("/pipe")).error().code == ErrorCode::SPECIAL_FILE);
  CHECK(!sum_file(f.root.get(), at("/escape")).ok());
  CHECK(sum_file(f.root.get(), {}).error().code == ErrorCode::IS_A_DIRECTORY);
}

}  // namespace penstock::storage::test
