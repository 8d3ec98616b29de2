// `--no-resume`: nothing of an earlier run counts as done, and nothing of it is lost before there is better.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

struct Fixture : TransferFixture {
  static constexpr std::uint64_t big_size = 6 * MiB + 1;
  static constexpr std::uint64_t all = big_size + 4;
  Plan again;  // of a run that was cut off with `a` published, and a part of `big` durable
  Fixture() {
    write_file(source + "/a", "tiny");
    write_file(source + "/big", std::string(big_size, 'b'));
    fs::create_symlink("a", source + "/link");
    again = plan(source, target + "/copy");
    Plan cut = again;
    cut.stop_after = 4 * MiB;
    const auto outcome = run_transfer(cut);
    REQUIRE_FALSE(outcome.totals);
    REQUIRE(exists(target + "/copy/a"));
    REQUIRE_FALSE(exists(target + "/copy/big"));
    REQUIRE(partials() == 1);
  }
  [[nodiscard]] int partials() const {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(target))
      count += path::is_partial_name(entry.path().filename().string()) ? 1 : 0;
    return count;
  }
};

}  // namespace

TEST_CASE("anew: everything is sent again, and what the earlier run published is replaced") {
  Fixture at;
  at.again.anew = true;
  const auto outcome = run_transfer(at.again);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->bytes_resumed == 0);
  CHECK(outcome.totals->bytes_received == at.all);
  CHECK(outcome.bytes_on_wire == at.all);
  CHECK(read_file(at.target + "/copy/big") == read_file(at.source + "/big"));
  CHECK(fs::read_symlink(at.target + "/copy/link") == "a");
  CHECK(at.partials() == 0);
}

TEST_CASE("anew: cut off before it has anything durable, the earlier run's state is there to resume") {
  Fixture at;
  Plan cut = at.again;
  cut.anew = true;
  cut.stop_after = 64 * 1024;
  cut.stop_without_checkpoint = true;
  REQUIRE_FALSE(run_transfer(cut).totals);
  const auto outcome = run_transfer(at.again);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->bytes_resumed >= 1 * MiB);
  CHECK(read_file(at.target + "/copy/big") == read_file(at.source + "/big"));
  CHECK(at.partials() == 0);
}

TEST_CASE("anew: cut off later, its own state is what resumes, and the earlier partial is gone") {
  Fixture at;
  Plan cut = at.again;
  cut.anew = true;
  cut.stop_after = 5 * MiB;
  REQUIRE_FALSE(run_transfer(cut).totals);
  CHECK(at.partials() == 1);
  const auto outcome = run_transfer(at.again);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->bytes_resumed >= 2 * MiB);
  CHECK(outcome.totals->bytes_resumed + outcome.totals->bytes_received == at.all);
  CHECK(read_file(at.target + "/copy/big") == read_file(at.source + "/big"));
  CHECK(at.partials() == 0);
}

TEST_CASE("anew: what somebody else has put in the place of our file is not replaced") {
  Fixture at;
  fs::remove(at.target + "/copy/a");
  write_file(at.target + "/copy/a", "theirs");
  at.again.anew = true;
  const auto outcome = run_transfer(at.again);
  REQUIRE(!outcome.exceptions.empty());
  CHECK(outcome.exceptions[0].error->code == ErrorCode::FILE_EXISTS);
  CHECK(read_file(at.target + "/copy/a") == "theirs");
}

}  // namespace penstock::storage::test
