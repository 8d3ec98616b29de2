// What a disk that fills up or fails, and a journal that was cut, do to a transfer: nothing is published or claimed
// that is not so.
#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "common/path/safe_path.h"
#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

using Fixture = TransferFixture;

struct Faulty final : FileCalls {
  enum class What { write, fsync, fdatasync, syncfs, ftruncate };
  What what = What::write;
  int error = ENOSPC;
  int after = 0;
  std::atomic<int> calls{0};
  bool hit(What which) { return which == what && calls++ >= after; }
  // The journal's first records are small: they get through, so that the fault meets the data.
  ssize_t pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset) override {
    return data.size() > 4096 && hit(What::write) ? -error : FileCalls::pwrite(fd, data, offset);
  }
  int fsync(int fd) override { return hit(What::fsync) ? -error : FileCalls::fsync(fd); }
  int fdatasync(int fd) override { return hit(What::fdatasync) ? -error : FileCalls::fdatasync(fd); }
  int syncfs(int fd) override { return hit(What::syncfs) ? -error : FileCalls::syncfs(fd); }
  int ftruncate(int fd, std::uint64_t size) override {
    return hit(What::ftruncate) ? -error : FileCalls::ftruncate(fd, size);
  }
};

}  // namespace

TEST_CASE(
    "faults: a full or failing disk ends the transfer by name, publishes nothing, and the next run completes it") {
  for (const auto what : {Faulty::What::write, Faulty::What::fsync, Faulty::What::fdatasync, Faulty::What::syncfs,
                          Faulty::What::ftruncate}) {
    for (const int error : {ENOSPC, EIO}) {
      for (const int after : {0, 1, 2, 3}) {
        CAPTURE(static_cast<int>(what));
        CAPTURE(error);
        CAPTURE(after);
        const Fixture at;
        write_file(at.source + "/big", std::string(5 * MiB, 'b'));
        for (int i = 0; i < 40; ++i) write_file(at.source + "/s" + std::to_string(i), std::string(8000, 's'));
        Faulty calls;
        calls.what = what;
        calls.error = error;
        calls.after = after;
        Plan plan = at.plan(at.source, at.target + "/copy");
        plan.sink_calls = &calls;
        const auto outcome = run_transfer(plan);
        CHECK(outcome.finished);
        if (outcome.totals) continue;  // fewer such calls than `after`
        REQUIRE(outcome.sink_error);
        CHECK(outcome.sink_error->code == (error == ENOSPC ? ErrorCode::NO_SPACE : ErrorCode::IO_ERROR));
        for (const auto& entry : fs::recursive_directory_iterator(at.target)) {
          if (!entry.is_regular_file() || path::is_partial_name(entry.path().filename().string())) continue;
          CHECK(read_file(entry.path()) == read_file(at.source + "/" + entry.path().filename().string()));
        }
        plan.sink_calls = nullptr;
        const auto again = run_transfer(plan);
        REQUIRE(again.totals);
        CHECK(again.totals->files == 41);
        CHECK(read_file(at.target + "/copy/big") == read_file(at.source + "/big"));
        CHECK(!at.has_partials());
      }
    }
  }
}

TEST_CASE("resume: a journal cut at any byte never claims what is not there, and the result is right") {
  const Fixture at;
  // Small, since the transfer is repeated for each cut: two whole blocks, the end of a third, and three small files.
  write_file(at.source + "/big", std::string(2 * MiB + 7, 'b'));
  for (int i = 0; i < 3; ++i) write_file(at.source + "/a" + std::to_string(i), std::string(7'000, 'a'));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.stop_after = 2 * MiB + 1'000;
  REQUIRE(run_transfer(plan).finished);
  plan.stop_after.reset();
  const auto journal = fs::directory_iterator(at.scratch / "journals")->path();
  const std::string bytes = read_file(journal);
  REQUIRE(bytes.size() > 500);
  fs::copy(at.target, at.scratch / "kept", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  for (std::size_t size = 0; size <= bytes.size(); size += 1 + size / 40) {
    CAPTURE(size);
    // The inodes of the first attempt are gone after the first repetition: what is recorded then fits nothing.
    write_file(journal, bytes.substr(0, size));
    Plan again = plan;
    again.overwrite = Overwrite::always;
    const auto outcome = run_transfer(again);
    REQUIRE(outcome.totals);
    CHECK(read_file(at.target + "/copy/big") == read_file(at.source + "/big"));
    for (int i = 0; i < 3; ++i) CHECK(read_file(at.target + "/copy/a" + std::to_string(i)) == std::string(7'000, 'a'));
  }
}

}  // namespace penstock::storage::test
