// Whole transfers from one directory to another, through reader, slabs, sink, journal and publishing.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "common/bytes/view.h"
#include "common/digest/sha256.h"
#include "common/digest/xxh3.h"
#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

std::string pattern(std::size_t size, std::uint64_t seed) {
  Rng rng{seed};
  std::string text(size, '\0');
  rng.fill(std::as_writable_bytes(std::span{text}));
  return text;
}

using Fixture = TransferFixture;

std::string difference(const std::string& a, const std::string& b) {
  const std::string command = "diff -r --no-dereference '" + a + "' '" + b + "' 2>&1 | head -c 2000";
  std::string text;
  FILE* const pipe = ::popen(command.c_str(), "r");
  char buffer[512];
  while (const auto got = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, got);
  ::pclose(pipe);
  return text;
}

struct stat status_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status;
}

void check_committed(const Outcome& outcome) {
  CHECK(outcome.finished);
  if (outcome.sink_error) MESSAGE("sink: " << outcome.sink_error->message);
  if (outcome.source_error) MESSAGE("source: " << outcome.source_error->message);
  for (const auto& [index, error] : outcome.entry_errors) MESSAGE("entry " << index << ": " << error.message);
  REQUIRE(outcome.totals.has_value());
  CHECK(outcome.totals->files_failed == 0);
}

/// Names, sizes, links, modes that a real tree may have.
void make_awkward_tree(const std::string& root) {
  const auto here = [&](const std::string& name) { return root + "/" + name; };
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{1024}, std::size_t{8191}, std::size_t{8192}, std::size_t{8193},
        std::size_t{1048575}, std::size_t{1048576}, std::size_t{1048577}, std::size_t{3 * 1048576 + 17}}) {
    write_file(here("size-" + std::to_string(size)), pattern(size, size + 1));
  }
  write_file(here("with space"), "space");
  write_file(here("new\nline"), "newline");
  write_file(here("-rf"), "dash");
  write_file(here("\xc3\xa9t\xc3\xa9"), "utf-8");
  write_file(here("bad\xff\xfe"), "not utf-8");
  write_file(here(std::string(255, 'n')), "long");
  fs::create_directories(here("a/b/c"));
  fs::create_directory(here("a.b"));
  fs::create_directory(here("empty"));
  write_file(here("a/x"), "ax");
  write_file(here("a.b/x"), "abx");
  REQUIRE(::symlink("../../somewhere/else", here("link-away").c_str()) == 0);
  REQUIRE(::symlink("/etc/passwd", here("link-absolute").c_str()) == 0);
  REQUIRE(::symlink("a", here("link-directory").c_str()) == 0);
  REQUIRE(::symlink("x\n\xff", here("a/link-odd").c_str()) == 0);
  write_file(here("read-only"), "ro");
  fs::permissions(here("read-only"), fs::perms::owner_read);
  write_file(here("executable"), "x");
  ::chmod(here("executable").c_str(), 0755);
  fs::create_directory(here("closed"));
  write_file(here("closed/inside"), "inside");
  const timespec times[2] = {{1'000'000'000, 123'456'789}, {1'234'567'890, 987'654'321}};
  REQUIRE(::utimensat(AT_FDCWD, here("executable").c_str(), times, 0) == 0);
  REQUIRE(::utimensat(AT_FDCWD, here("empty").c_str(), times, 0) == 0);
  ::chmod(here("closed").c_str(), 0555);
}

}  // namespace

TEST_CASE("transfer: a tree of awkward names, sizes, links and modes arrives as it was") {
  const Fixture at;
  make_awkward_tree(at.source);
  for (const bool shuffled : {false, true}) {
    for (const auto algorithm : {digest::Algorithm::xxh3, digest::Algorithm::sha256}) {
      CAPTURE(shuffled);
      Plan plan = at.plan(at.source,
                          at.target + "/copy" + std::to_string(shuffled) + std::to_string(static_cast<int>(algorithm)));
      plan.shuffled = shuffled;
      plan.algorithm = algorithm;
      const auto outcome = run_transfer(plan);
      check_committed(outcome);
      CHECK(difference(at.source, plan.destination) == "");
      CHECK(!at.has_partials());
      CHECK(outcome.sink_files.size() == outcome.source_files.size());
      CHECK(outcome.sink_files.size() == outcome.totals->files);
      for (const auto& [index, report] : outcome.source_files) {
        REQUIRE(outcome.sink_files.contains(index));
        CHECK(outcome.sink_files.at(index).digest == report.digest);
        CHECK(outcome.sink_files.at(index).size == report.size);
      }
      const auto executable = status_of(plan.destination + "/executable");
      CHECK(executable.st_mtim.tv_nsec == 987'654'321);
      CHECK((executable.st_mode & 0777) == 0755);
      CHECK(status_of(plan.destination + "/empty").st_mtim.tv_sec == 1'234'567'890);
      CHECK((status_of(plan.destination + "/closed").st_mode & 0777) == 0555);
      CHECK((status_of(plan.destination + "/read-only").st_mode & 0777) == 0400);
    }
  }
}

TEST_CASE("transfer: by several lanes all arrives as it was, while extents move from one to another") {
  const Fixture at;
  write_file(at.source + "/first", pattern(333'333, 1));  // so that no block of the next lies in one slab
  write_file(at.source + "/large", pattern(40 * MiB + 4321, 2));
  for (std::size_t i = 0; i < 300; ++i) write_file(at.source + "/small" + std::to_string(i), pattern(i * 97, 3));
  write_file(at.source + "/zlast", pattern(9 * MiB, 4));
  std::uint64_t moved = 0;
  for (const std::size_t lanes : {2U, 3U, 9U}) {
    CAPTURE(lanes);
    Plan plan = at.plan(at.source, at.target + "/copy" + std::to_string(lanes));
    plan.identity.resume_key[0] = static_cast<std::byte>(lanes);
    plan.lanes = lanes;
    plan.seed = lanes;
    plan.corrupt_every = 41;  // and is repaired
    const auto outcome = run_transfer(plan);
    check_committed(outcome);
    CHECK(outcome.rounds > 0);
    CHECK(difference(at.source, plan.destination) == "");
    moved += outcome.extents_moved;
  }
  CHECK(moved > 0);
}

TEST_CASE("transfer: what several lanes brought is resumed by another number of them") {
  const Fixture at;
  write_file(at.source + "/large", pattern(60 * MiB + 99, 5));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.lanes = 3;
  plan.stop_after = 30 * MiB;
  CHECK(run_transfer(plan).finished);
  plan.stop_after.reset();
  plan.lanes = 2;
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.totals->bytes_resumed >= 15 * MiB);
  CHECK(outcome.totals->bytes_resumed + outcome.totals->bytes_received == 60 * MiB + 99);
  CHECK(difference(at.source, plan.destination) == "");
}

TEST_CASE("transfer: a directory 200 deep arrives") {
  const Fixture at;
  std::string path = at.source;
  for (int i = 0; i < 200; ++i) path += "/d";
  fs::create_directories(path);
  write_file(path + "/leaf", "deep");
  const auto plan = at.plan(at.source, at.target + "/");
  check_committed(run_transfer(plan));
  CHECK(difference(at.source, at.target + "/source") == "");
}

TEST_CASE("transfer: thousands of small files arrive without a sync or a hop for each") {
  const Fixture at;
  for (int i = 0; i < 3000; ++i) write_file(at.source + "/f" + std::to_string(i), pattern(4096, std::uint64_t(i)));
  Plan plan = at.plan(at.source, at.target + "/copy");
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.totals->files == 3000);
  CHECK(difference(at.source, plan.destination) == "");
}

TEST_CASE("transfer: a sparse file sends its data alone and stays sparse") {
  const Fixture at;
  const std::string file = at.source + "/sparse";
  write_file(file, "begin");
  REQUIRE(::truncate(file.c_str(), 5LL << 30) == 0);
  {
    const UniqueFd fd{::open(file.c_str(), O_WRONLY)};
    REQUIRE(::pwrite(fd.get(), "middle", 6, (2LL << 30) + 5000) == 6);
  }
  const auto plan = at.plan(file, at.target + "/sparse");
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.bytes_on_wire < 1 * MiB);
  const auto status = status_of(plan.destination);
  CHECK(status.st_size == 5LL << 30);
  CHECK(status.st_blocks * 512 < 2 * static_cast<std::int64_t>(MiB));
  CHECK(outcome.sink_files.at(0).digest == outcome.source_files.at(0).digest);
  const UniqueFd fd{::open(plan.destination.c_str(), O_RDONLY)};
  char text[6];
  REQUIRE(::pread(fd.get(), text, 6, (2LL << 30) + 5000) == 6);
  CHECK(std::string(text, 6) == "middle");
}

TEST_CASE("transfer: digests are those that xxhsum and sha256sum print") {
  const Fixture at;
  const std::string content = pattern(70'000, 5);
  write_file(at.source + "/f", content);
  Plan plan = at.plan(at.source + "/f", at.target + "/x");
  auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.sink_files.at(0).digest == digest::Digest{digest::xxh3(bytes::as_bytes(content))});
  plan.destination = at.target + "/s";
  plan.algorithm = digest::Algorithm::sha256;
  outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.sink_files.at(0).digest == digest::Digest{digest::sha256(bytes::as_bytes(content))});
}

TEST_CASE("transfer: more tiny files than may be begun at once, in a single slab") {
  const Fixture at;
  for (int i = 0; i < 9000; ++i) write_file(at.source + "/f" + std::to_string(i), std::to_string(i));
  const Plan plan = at.plan(at.source, at.target + "/copy");
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.totals->files == 9000);
  CHECK(outcome.sink_files.size() == 9000);
  CHECK(difference(at.source, plan.destination) == "");
}

TEST_CASE("transfer: digests are gathered, and the last are told when all is read") {
  const Fixture at;
  write_file(at.source + "/file", pattern(40 * MiB + 5, 3));
  write_file(at.source + "/next", pattern(1000, 4));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.digest_interval = std::chrono::hours{1};
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.digest_runs <= 2);  // the first may go at once
  CHECK(difference(at.source, plan.destination) == "");
}

TEST_CASE("transfer: a repair of more blocks than are read in one step brings them all, in one round") {
  const Fixture at;
  write_file(at.source + "/f", pattern(70 * MiB + 1, 5));
  Plan plan = at.plan(at.source + "/f", at.target + "/f");
  plan.corrupt_every = 16;  // one chunk of every block
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.rounds == 1);
  CHECK(difference(at.source + "/f", at.target + "/f") == "");
}

TEST_CASE("transfer: lost and corrupted bytes are repaired") {
  const Fixture at;
  write_file(at.source + "/big", pattern(5 * MiB + 3, 7));
  for (int i = 0; i < 100; ++i) write_file(at.source + "/s" + std::to_string(i), pattern(9000, std::uint64_t(i)));
  for (const auto algorithm : {digest::Algorithm::xxh3, digest::Algorithm::sha256}) {
    Plan plan = at.plan(at.source, at.target + "/copy" + std::to_string(static_cast<int>(algorithm)));
    plan.algorithm = algorithm;
    plan.shuffled = true;
    plan.corrupt_every = 7;
    plan.lose_every = 11;
    const auto outcome = run_transfer(plan);
    check_committed(outcome);
    CHECK(outcome.rounds >= 1);
    CHECK(difference(at.source, plan.destination) == "");
  }
}

TEST_CASE("transfer: any order of arrival, with evictions and little memory, gives the same files") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    INFO("replay with seed ", seed);
    const Fixture at;
    Rng rng{seed};
    for (int i = 0; i < 12; ++i) {
      write_file(at.source + "/f" + std::to_string(i),
                 pattern(rng.below(rng.chance(1, 3) ? 4 * MiB : 50'000), seed + 100));
    }
    Plan plan = at.plan(at.source, at.target + "/copy");
    plan.seed = seed;
    plan.shuffled = true;
    plan.shared_slabs = rng.below(3);
    plan.slabs_max = 6 + plan.shared_slabs;
    plan.await_verdicts = rng.chance(1, 2);
    plan.lose_every = rng.below(20);
    check_committed(run_transfer(plan));
    CHECK(difference(at.source, plan.destination) == "");
  }
}

TEST_CASE("resume: what was durable is not sent again, and small files that were published count as resumed") {
  const Fixture at;
  write_file(at.source + "/big", pattern(20 * MiB, 3));
  for (int i = 0; i < 50; ++i) write_file(at.source + "/a" + std::to_string(i), pattern(5000, std::uint64_t(i)));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.stop_after = 12 * MiB;
  const auto first = run_transfer(plan);
  CHECK(first.finished);
  CHECK(!first.totals);
  CHECK(!exists(at.target + "/copy/big"));
  plan.stop_after.reset();
  for (const auto held : {HeldDigests::compute}) {
    plan.held_digests = held;
    const auto second = run_transfer(plan);
    check_committed(second);
    CHECK(second.totals->bytes_resumed >= 10 * MiB);
    CHECK(second.bytes_on_wire < 11 * MiB);
    CHECK(difference(at.source, plan.destination) == "");
    CHECK(second.sink_files.size() == 51);
    CHECK(second.source_files.size() == 51);
    for (const auto& [index, report] : second.source_files) CHECK(second.sink_files.at(index).digest == report.digest);
  }
  CHECK(!at.has_partials());
  CHECK(fs::is_empty(at.scratch / "journals"));
}

TEST_CASE("resume: dying at any moment without a checkpoint never yields a wrong file") {
  for (std::uint64_t stop = 1; stop < 8; ++stop) {
    for (const auto algorithm : {digest::Algorithm::xxh3, digest::Algorithm::sha256}) {
      CAPTURE(stop);
      const Fixture at;
      write_file(at.source + "/big", pattern(6 * MiB + 1, stop));
      for (int i = 0; i < 20; ++i) write_file(at.source + "/z" + std::to_string(i), pattern(100'000, std::uint64_t(i)));
      Plan plan = at.plan(at.source, at.target + "/copy");
      plan.algorithm = algorithm;
      plan.shuffled = true;
      plan.seed = stop;
      plan.stop_after = stop * MiB;
      plan.stop_without_checkpoint = (stop & 1) != 0;
      CHECK(run_transfer(plan).finished);
      plan.stop_after.reset();
      check_committed(run_transfer(plan));
      CHECK(difference(at.source, plan.destination) == "");
      CHECK(!at.has_partials());
    }
  }
}

TEST_CASE("resume: a partial that was tampered with is sent again where it differs") {
  const Fixture at;
  write_file(at.source + "/big", pattern(8 * MiB, 3));
  Plan plan = at.plan(at.source + "/big", at.target + "/big");
  plan.stop_after = 5 * MiB;
  CHECK(run_transfer(plan).finished);
  for (const auto& entry : fs::directory_iterator(at.target)) {
    const UniqueFd fd{::open(entry.path().c_str(), O_WRONLY)};
    REQUIRE(::pwrite(fd.get(), "tampered", 8, 1'500'000) == 8);
  }
  plan.stop_after.reset();
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.rounds == 1);
  CHECK(outcome.bytes_on_wire >= 4 * MiB);
  CHECK(outcome.bytes_on_wire < 6 * MiB);
  CHECK(read_file(plan.destination) == read_file(at.source + "/big"));
}

TEST_CASE("resume: a source that changed since is sent whole") {
  const Fixture at;
  write_file(at.source + "/big", pattern(4 * MiB, 3));
  Plan plan = at.plan(at.source + "/big", at.target + "/big");
  plan.stop_after = 3 * MiB;
  CHECK(run_transfer(plan).finished);
  write_file(at.source + "/big", pattern(4 * MiB, 4));
  plan.stop_after.reset();
  const auto outcome = run_transfer(plan);
  check_committed(outcome);
  CHECK(outcome.bytes_on_wire == 4 * MiB);
  CHECK(read_file(plan.destination) == read_file(at.source + "/big"));
  CHECK(!at.has_partials());
}

}  // namespace penstock::storage::test
