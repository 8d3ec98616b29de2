// What lands where, what may be replaced, and what happens when the machine or the peer misbehaves.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>

#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

struct Fixture : TransferFixture {
  [[nodiscard]] bool has_partials() const {
    for (const auto& entry : fs::recursive_directory_iterator(target)) {
      if (path::is_partial_name(entry.path().filename().string())) return true;
    }
    return false;
  }
};

ErrorCode refusal(const Outcome& outcome) {
  for (const auto& verdict : outcome.exceptions) {
    if (verdict.error) return verdict.error->code;
  }
  return ErrorCode::INTERNAL;
}

ErrorCode entry_error(const Outcome& outcome) {
  return outcome.entry_errors.empty() ? ErrorCode::INTERNAL : outcome.entry_errors.begin()->second.code;
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

namespace {
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

TEST_CASE("hostile manifest: nothing lands outside the target, and the sink says why it ends") {
  const auto forged = [](std::function<void(std::vector<ManifestEntry>&)> forge) {
    const Fixture at;
    write_file(at.source + "/f", "1");
    write_file(at.source + "/g", "1");
    Plan plan = at.plan(at.source, at.target + "/copy");
    plan.forge = std::move(forge);
    const auto outcome = run_transfer(plan);
    CHECK(outcome.finished);
    CHECK(!exists(at.scratch / "evil"));
    CHECK(!exists(at.target + "/evil"));
    return outcome.sink_error ? outcome.sink_error->code : ErrorCode::INTERNAL;
  };
  for (const auto* const path : {"../evil", "/evil", "x/../../evil", "f/evil"}) {
    CHECK(forged([path](std::vector<ManifestEntry>& entries) { entries.back().path = path; }) ==
          ErrorCode::PATH_REFUSED);
  }
  CHECK(forged([](std::vector<ManifestEntry>& entries) { entries.back().root = 5; }) == ErrorCode::PATH_REFUSED);
  CHECK(forged([](std::vector<ManifestEntry>& entries) { entries.back().size = ~std::uint64_t{0}; }) ==
        ErrorCode::PATH_REFUSED);
}

TEST_CASE("hostile manifest: set-id bits are masked away") {
  const Fixture at;
  write_file(at.source + "/f", "1");
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.forge = [](std::vector<ManifestEntry>& entries) { entries.back().mode = 07755; };
  REQUIRE(run_transfer(plan).totals);
  struct stat status {};
  REQUIRE(::stat((at.target + "/copy/f").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0755);
}

TEST_CASE("hostile peer: digests and bytes for what is not in the manifest end the transfer") {
  const Fixture at;
  SlabPool pool;
  TargetClaims claims;
  struct Observer final : SinkObserver {
    std::optional<Error> failed;
    void on_verdicts(SinkVerdicts) override {}
    void on_entry_failed(std::uint64_t, const Error&) override {}
    void on_file_finished(FileReport) override {}
    void on_room() override {}
    void on_audited(AuditResult) override {}
    void on_committed(SinkTotals) override {}
    void on_sink_failed(const Error& error) override { failed = error; }
  };
  for (const bool bytes : {false, true}) {
    auto journals = std::move(*JournalStore::open(at.scratch / (bytes ? "j1" : "j2")));
    TestWorker worker;
    StorageExecutor executor;
    Observer observer;
    PosixSinkConfig config;
    config.destination = std::move(*open_local_destination(at.target + "/x"));
    config.roots = {{.name = "x"}};
    auto sink = make_posix_sink(std::move(config), std::move(*journals->create({})), std::move(*pool.open_account()),
                                executor, claims, worker.post(), observer);
    ManifestEntry entry;
    entry.size = 10;
    sink->on_entries(0, {entry});
    if (bytes) {
      sink->on_manifest_end(1, 10);
      const std::byte data[20]{};
      REQUIRE(sink->window().store({0}, data));
      sink->window().on_quiet();
    } else {
      sink->on_digests({.index = 0, .first_block = 5, .blocks = {digest::Xxh3{}}, .files = {}});
    }
    CHECK(worker.run_until([&] { return observer.failed.has_value(); }));
    CHECK(observer.failed->code == ErrorCode::PATH_REFUSED);
    sink->close();
  }
}

}  // namespace penstock::storage::test
