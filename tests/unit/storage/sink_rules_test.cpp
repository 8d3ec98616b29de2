// What lands where, and what may be replaced.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>

#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

using Fixture = TransferFixture;

ErrorCode refusal(const Outcome& outcome) {
  for (const auto& verdict : outcome.exceptions) {
    if (verdict.error) return verdict.error->code;
  }
  return ErrorCode::INTERNAL;
}

}  // namespace

TEST_CASE("landing: a container takes the source's last name, another target is the name itself") {
  const Fixture at;
  write_file(at.source + "/f", "1");
  CHECK(run_transfer(at.plan(at.source, at.target + "/new/")).totals);
  CHECK(exists(at.target + "/new/source/f"));
  CHECK(run_transfer(at.plan(at.source, at.target + "/named")).totals);
  CHECK(exists(at.target + "/named/f"));
  CHECK(run_transfer(at.plan(at.source + "/", at.target + "/slash")).totals);
  CHECK(exists(at.target + "/slash/f"));
  CHECK(run_transfer(at.plan(at.source + "/.", at.target)).totals);
  CHECK(exists(at.target + "/f"));
  CHECK(run_transfer(at.plan(at.source + "/f", at.target + "/deep/er/name")).totals);
  CHECK(read_file(at.target + "/deep/er/name") == "1");
}

TEST_CASE("landing: a single file goes into a directory that exists, a directory does not without --overwrite") {
  const Fixture at;
  write_file(at.source + "/f", "1");
  fs::create_directory(at.target + "/there");
  CHECK(run_transfer(at.plan(at.source + "/f", at.target + "/there")).totals);
  CHECK(exists(at.target + "/there/f"));
  CHECK(refusal(run_transfer(at.plan(at.source, at.target + "/there"))) == ErrorCode::FILE_EXISTS);
  Plan merge = at.plan(at.source, at.target + "/there");
  merge.identity.transfer[0] = std::byte{1};
  merge.overwrite = Overwrite::skip;
  const auto outcome = run_transfer(merge);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files_skipped == 1);
}

TEST_CASE("landing: a target that is a link to a directory is followed on this machine, any other link is the target") {
  const Fixture at;
  write_file(at.source + "/f", "new");
  fs::create_directory(at.target + "/real");
  fs::create_symlink("real", at.target + "/link");
  CHECK(run_transfer(at.plan(at.source + "/f", at.target + "/link/")).totals);
  CHECK(read_file(at.target + "/real/f") == "new");
  write_file(at.target + "/victim", "old");
  fs::create_symlink("victim", at.target + "/file-link");
  CHECK(refusal(run_transfer(at.plan(at.source + "/f", at.target + "/file-link"))) == ErrorCode::FILE_EXISTS);
  Plan plan = at.plan(at.source + "/f", at.target + "/file-link");
  plan.overwrite = Overwrite::always;
  plan.identity.resume_key[0] = std::byte{1};
  plan.identity.transfer[0] = std::byte{1};
  CHECK(run_transfer(plan).totals);
  CHECK(read_file(at.target + "/victim") == "old");
  CHECK(!fs::is_symlink(at.target + "/file-link"));
  CHECK(read_file(at.target + "/file-link") == "new");
}

TEST_CASE("overwrite: never refuses, skip leaves alone, changed compares, always replaces") {
  const Fixture at;
  write_file(at.source + "/same", "same");
  write_file(at.source + "/size", "longer");
  write_file(at.source + "/mode", "mode");
  write_file(at.source + "/time", "time");
  REQUIRE(::symlink("a", (at.source + "/link").c_str()) == 0);
  const auto prepare = [&] {
    fs::remove_all(at.target);
    fs::copy(at.source, at.target, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    for (const auto* const name : {"/same", "/size", "/mode", "/time"}) {
      fs::last_write_time(at.target + name, fs::last_write_time(at.source + name));
    }
    write_file(at.target + "/size", "s");
    fs::last_write_time(at.target + "/size", fs::last_write_time(at.source + "/size"));
    ::chmod((at.target + "/mode").c_str(), 0751);
    fs::last_write_time(at.target + "/time", fs::file_time_type::clock::now() - std::chrono::hours{5});
  };
  const auto run = [&](Overwrite overwrite, std::uint8_t number) {
    prepare();
    Plan plan = at.plan(at.source + "/.", at.target);
    plan.overwrite = overwrite;
    plan.identity.transfer[0] = std::byte{number};
    plan.identity.resume_key[0] = std::byte{number};
    return run_transfer(plan);
  };
  CHECK(refusal(run(Overwrite::never, 1)) == ErrorCode::FILE_EXISTS);
  CHECK(read_file(at.target + "/size") == "s");

  auto outcome = run(Overwrite::skip, 2);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files_skipped == 4);
  CHECK(outcome.bytes_on_wire == 0);
  CHECK(read_file(at.target + "/size") == "s");

  outcome = run(Overwrite::changed, 3);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files_skipped == 2);
  CHECK(outcome.bytes_on_wire == 6 + 4);
  CHECK(read_file(at.target + "/size") == "longer");
  CHECK(fs::status(at.target + "/mode").permissions() == fs::status(at.source + "/mode").permissions());
  CHECK(fs::last_write_time(at.target + "/time") == fs::last_write_time(at.source + "/time"));

  outcome = run(Overwrite::always, 4);
  REQUIRE(outcome.totals);
  CHECK(outcome.bytes_on_wire == 4 + 6 + 4 + 4);
  CHECK(read_file(at.target + "/size") == "longer");
}

TEST_CASE("overwrite: under `changed` times alone are corrected to the nanosecond, of links too, without sending") {
  const Fixture at;
  write_file(at.source + "/f", "same");
  fs::create_symlink("f", at.source + "/link");
  write_file(at.target + "/f", "same");
  fs::create_symlink("f", at.target + "/link");
  const auto set_time = [](const std::string& path, long nanoseconds) {
    const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, {.tv_sec = 1'000'000'000, .tv_nsec = nanoseconds}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
  };
  const auto nanoseconds = [](const std::string& path) {
    struct stat status {};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    return status.st_mtim.tv_nsec;
  };
  set_time(at.source + "/f", 500'000'000);
  set_time(at.source + "/link", 123);
  set_time(at.target + "/f", 0);
  set_time(at.target + "/link", 0);
  Plan plan = at.plan(at.source + "/.", at.target);
  plan.overwrite = Overwrite::changed;
  plan.dry_run = true;
  REQUIRE(run_transfer(plan).finished);
  CHECK(nanoseconds(at.target + "/f") == 0);
  CHECK(nanoseconds(at.target + "/link") == 0);
  plan.dry_run = false;
  const auto outcome = run_transfer(plan);
  REQUIRE(outcome.totals);
  CHECK(outcome.bytes_on_wire == 0);
  CHECK(outcome.totals->files_skipped == 1);
  CHECK(nanoseconds(at.target + "/f") == 500'000'000);
  CHECK(nanoseconds(at.target + "/link") == 123);
}

TEST_CASE("landing: a file where a directory is needed is named as one") {
  const Fixture at;
  write_file(at.source + "/f", "1");
  write_file(at.target + "/a", "2");
  const auto refused = [&](const std::string& where) {
    const auto outcome = run_transfer(at.plan(at.source, where));
    if (outcome.sink_error) return *outcome.sink_error;
    REQUIRE(!outcome.exceptions.empty());
    return *outcome.exceptions[0].error;
  };
  for (const auto* where : {"/a/", "/a/b", "/a/b/c"}) {
    const auto error = refused(at.target + where);
    CHECK(error.code == ErrorCode::NOT_A_DIRECTORY);
    CHECK(error.message == at.target + "/a is a file, where a directory is needed");
  }
  CHECK(refused(at.target + "/a").code == ErrorCode::TYPE_CONFLICT);
}

TEST_CASE("overwrite: a file is never put where a directory stands, nor the reverse") {
  const Fixture at;
  write_file(at.source + "/a", "file");
  fs::create_directory(at.source + "/b");
  write_file(at.source + "/b/inside", "x");
  fs::create_directories(at.target + "/a/precious");
  write_file(at.target + "/b", "precious");
  Plan plan = at.plan(at.source + "/.", at.target);
  plan.overwrite = Overwrite::always;
  const auto outcome = run_transfer(plan);
  REQUIRE(outcome.exceptions.size() == 3);
  CHECK(outcome.exceptions[0].error->code == ErrorCode::TYPE_CONFLICT);
  CHECK(outcome.exceptions[1].error->code == ErrorCode::TYPE_CONFLICT);
  CHECK(outcome.exceptions[2].error->code == ErrorCode::PATH_REFUSED);
  CHECK(fs::is_directory(at.target + "/a/precious"));
  CHECK(read_file(at.target + "/b") == "precious");
}

TEST_CASE("collision: two sources with one name end in NAME_COLLISION, under any --overwrite, and the first stays") {
  for (const auto overwrite : {Overwrite::never, Overwrite::always}) {
    const Fixture at;
    fs::create_directories(at.scratch / "one");
    fs::create_directories(at.scratch / "two");
    write_file(at.scratch / "one/x", std::string(3 * MiB, '1'));
    write_file(at.scratch / "two/x", std::string(3 * MiB, '2'));
    if (overwrite == Overwrite::always) write_file(at.target + "/x", "older");
    Plan plan = at.plan(at.scratch / "one/x", at.target + "/");
    plan.sources.push_back(at.scratch / "two/x");
    plan.overwrite = overwrite;
    const auto outcome = run_transfer(plan);
    REQUIRE(outcome.totals);
    CHECK(outcome.totals->files_failed == 1);
    CHECK(entry_error(outcome) == ErrorCode::NAME_COLLISION);
    CHECK(!at.has_partials());
    CHECK(read_file(at.target + "/x").size() == 3 * MiB);
  }
}

TEST_CASE("dry run: says what would be done and touches nothing") {
  const Fixture at;
  fs::create_directory(at.source + "/d");
  write_file(at.source + "/d/new", "1");
  write_file(at.source + "/old", "1");
  write_file(at.target + "/old", "2");
  Plan plan = at.plan(at.source + "/.", at.target);
  plan.dry_run = true;
  plan.overwrite = Overwrite::skip;
  const auto outcome = run_transfer(plan);
  CHECK(outcome.finished);
  REQUIRE(outcome.exceptions.size() == 1);
  CHECK(outcome.exceptions[0].action == Action::skip);
  CHECK(!exists(at.target + "/d"));
  CHECK(read_file(at.target + "/old") == "2");
}

TEST_CASE("publishing: a parent that became a link, or another directory, between create and publish is refused") {
  for (const bool link : {false, true}) {
    const Fixture at;
    fs::create_directory(at.source + "/d");
    write_file(at.source + "/d/f", std::string(2 * MiB, 'x'));
    fs::create_directory(at.scratch / "outside");
    struct Swapping final : FileCalls {
      std::string directory;
      std::string aside;
      std::string outside;
      bool link = false;
      std::atomic<bool> done{false};
      // Right after the first byte is written: the partial exists, its file is not published.
      ssize_t pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset) override {
        const auto written = FileCalls::pwrite(fd, data, offset);
        if (data.size() > 64 * 1024 && !done.exchange(true)) {
          fs::rename(directory, aside);
          if (link) {
            fs::create_directory_symlink(outside, directory);
          } else {
            fs::create_directory(directory);
          }
        }
        return written;
      }
    } calls;
    calls.directory = at.target + "/copy/d";
    calls.aside = at.target + "/copy/aside";
    calls.outside = at.scratch / "outside";
    calls.link = link;
    Plan plan = at.plan(at.source, at.target + "/copy");
    plan.sink_calls = &calls;
    const auto outcome = run_transfer(plan);
    CHECK(calls.done);
    REQUIRE(!outcome.entry_errors.empty());
    CHECK(fs::is_empty(at.scratch / "outside"));
    CHECK(!exists(at.target + "/copy/aside/f"));
  }
}

TEST_CASE("publishing: a target that appears meanwhile is not overwritten") {
  const Fixture at;
  write_file(at.source + "/f", std::string(2 * MiB, 'x'));
  struct Planting final : FileCalls {
    std::string target;
    ssize_t pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset) override {
      if (data.size() > 64 * 1024 && !exists(target)) REQUIRE(::symlink("/etc/passwd", target.c_str()) == 0);
      return FileCalls::pwrite(fd, data, offset);
    }
  } calls;
  calls.target = at.target + "/f";
  Plan plan = at.plan(at.source + "/f", at.target + "/f");
  plan.sink_calls = &calls;
  const auto outcome = run_transfer(plan);
  CHECK(entry_error(outcome) == ErrorCode::FILE_EXISTS);
  CHECK(fs::read_symlink(at.target + "/f") == "/etc/passwd");
  CHECK(!at.has_partials());
}

}  // namespace penstock::storage::test
