// What a source offers, leaves out, or gives up on the way.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

using Fixture = TransferFixture;

}  // namespace

TEST_CASE("source: special and unreadable files are warnings, our own partials are invisible") {
  const Fixture at;
  write_file(at.source + "/f", "1");
  REQUIRE(::mkfifo((at.source + "/pipe").c_str(), 0600) == 0);
  write_file(at.source + "/.penstock-00112233445566778899aabbccddeeff.part", "partial");
  const auto outcome = run_transfer(at.plan(at.source, at.target + "/copy"));
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files == 1);
  REQUIRE(outcome.warnings.size() == 1);
  CHECK(outcome.warnings[0].code == ErrorCode::SPECIAL_FILE);
  CHECK(outcome.entries == 2);
}

TEST_CASE("source: a file that changes while it is sent fails by name, and the others complete") {
  const Fixture at;
  for (const auto* const name : {"/a", "/b", "/c"}) write_file(at.source + name, std::string(2 * MiB, name[1]));
  Plan plan = at.plan(at.source, at.target + "/copy");
  bool changed = false;
  plan.forge = [&](std::vector<ManifestEntry>&) {
    if (!std::exchange(changed, true)) write_file(at.source + "/b", std::string(2 * MiB, 'X'));
  };
  const auto outcome = run_transfer(plan);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files == 2);
  CHECK(outcome.totals->files_failed == 1);
  CHECK(entry_error(outcome) == ErrorCode::SOURCE_CHANGED);
  CHECK(!exists(at.target + "/copy/b"));
  CHECK(read_file(at.target + "/copy/c") == read_file(at.source + "/c"));
  CHECK(!at.has_partials());
}

TEST_CASE("source: a missing root is an error, links are kept, skipped or followed") {
  const Fixture at;
  CHECK(run_transfer(at.plan(at.source + "/nothing", at.target + "/x")).source_error->code == ErrorCode::NOT_FOUND);
  fs::create_directory(at.source + "/d");
  write_file(at.source + "/d/f", "1");
  fs::create_symlink("d/f", at.source + "/inside");
  fs::create_directory_symlink("d", at.source + "/dir");
  write_file(at.scratch / "beside", "2");
  fs::create_symlink(at.scratch / "beside", at.source + "/outside");
  fs::create_directory_symlink("..", at.source + "/d/up");
  Plan plan = at.plan(at.source, at.target + "/followed");
  plan.links = Links::follow;
  auto outcome = run_transfer(plan);
  REQUIRE(outcome.totals);
  CHECK(outcome.entry_errors.empty());
  CHECK(read_file(at.target + "/followed/inside") == "1");
  CHECK(!fs::is_symlink(at.target + "/followed/inside"));
  CHECK(fs::is_directory(at.target + "/followed/dir"));
  CHECK(read_file(at.target + "/followed/outside") == "2");
  CHECK(!fs::is_symlink(at.target + "/followed/outside"));
  CHECK(outcome.warnings.size() == 2);  // up, in d and in dir
  plan = at.plan(at.source, at.target + "/skipped");
  plan.links = Links::skip;
  outcome = run_transfer(plan);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files == 1);
  CHECK(!exists(at.target + "/skipped/inside"));
  // A root that is itself a link is followed: the user's own word.
  fs::create_directory_symlink(at.source, at.scratch / "alias");
  CHECK(run_transfer(at.plan(at.scratch / "alias", at.target + "/via")).totals);
  CHECK(exists(at.target + "/via/d/f"));
}

}  // namespace penstock::storage::test
