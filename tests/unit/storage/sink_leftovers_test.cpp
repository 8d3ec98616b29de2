// What a transfer that fails, or is resumed, leaves behind: nothing that nobody can use, and nothing of others changed.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>
#include <thread>

#include "common/digest/xxh3.h"
#include "common/path/beneath.h"
#include "dataplane/storage/partial_sweep.h"
#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

namespace fs = std::filesystem;

struct Fixture : TransferFixture {
  [[nodiscard]] std::size_t partials() const {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(target)) {
      count += path::is_partial_name(entry.path().filename().string()) ? 1U : 0U;
    }
    return count;
  }
  [[nodiscard]] std::size_t journals() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(scratch / "journals")) ++count;
    return count;
  }
};

struct SyncFails final : FileCalls {
  std::atomic<bool> fails{false};
  int fsync(int fd) override { return fails ? -EIO : FileCalls::fsync(fd); }
  int syncfs(int fd) override { return fails ? -EIO : FileCalls::syncfs(fd); }
  int fdatasync(int fd) override { return fails ? -EIO : FileCalls::fdatasync(fd); }
};

struct Recorder final : SinkObserver {
  std::optional<Error> failed;
  std::size_t finished = 0;
  void on_verdicts(SinkVerdicts) override {}
  void on_entry_failed(std::uint64_t, const Error&) override {}
  void on_file_finished(FileReport) override { ++finished; }
  void on_room() override {}
  void on_audited(AuditResult) override {}
  void on_committed(SinkTotals) override {}
  void on_sink_failed(const Error& error) override { failed = error; }
};

/// The permissions of files count for this thread, and for those that it starts, though it may be root.
class WithoutOverride {
 public:
  WithoutOverride() {
    header_.version = _LINUX_CAPABILITY_VERSION_3;
    REQUIRE(::syscall(SYS_capget, &header_, before_) == 0);
    __user_cap_data_struct without[2] = {before_[0], before_[1]};
    without[0].effective &= ~(1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH);
    REQUIRE(::syscall(SYS_capset, &header_, without) == 0);
  }
  ~WithoutOverride() { (void)::syscall(SYS_capset, &header_, before_); }
  WithoutOverride(const WithoutOverride&) = delete;
  WithoutOverride& operator=(const WithoutOverride&) = delete;

 private:
  __user_cap_header_struct header_{};
  __user_cap_data_struct before_[2]{};
};

}  // namespace

TEST_CASE("checkpoint: one whose sync fails answers all the same, as does one that comes after the failure") {
  const Fixture at;
  SlabPool pool;
  TargetClaims claims;
  SyncFails calls;
  auto journals = std::move(*JournalStore::open(at.scratch / "journals"));
  TestWorker worker;
  StorageExecutor executor;
  Recorder observer;
  PosixSinkConfig config;
  config.destination = std::move(*open_local_destination(at.target + "/x"));
  config.roots = {{.name = "x", .contents = false}};
  auto sink = make_posix_sink(std::move(config), std::move(*journals->create({})), std::move(*pool.open_account()),
                              executor, claims, worker.post(), observer, calls);
  ManifestEntry entry;
  entry.size = 5 * MiB;
  sink->on_entries(0, {entry});
  const std::vector<std::byte> slab(slab_bytes);
  for (std::uint64_t number = 0; number < 4; ++number) REQUIRE(sink->window().store({number * slab_bytes}, slab));
  sink->on_digests({.index = 0, .first_block = 0, .blocks = {4, digest::xxh3(slab)}, .files = {}});
  calls.fails = true;
  int answers = 0;
  sink->checkpoint([&] { ++answers; });
  sink->checkpoint([&] { ++answers; });
  CHECK(worker.run_until([&] { return answers == 2; }));
  CHECK(observer.failed);
  sink->checkpoint([&] { ++answers; });
  CHECK(worker.run_until([&] { return answers == 3; }));
  // Slabs that come after the failure are taken off the count, not more.
  for (std::uint64_t number = 4; number < 5; ++number) CHECK(sink->window().store({number * slab_bytes}, slab));
  sink->checkpoint([&] { ++answers; });
  CHECK(worker.run_until([&] { return answers == 4; }));
  CHECK(sink->progress().slabs_waiting == 0);
  sink->close();
}

TEST_CASE(
    "failure: partials that nothing could resume are gone with the transfer, and so is a journal without a claim") {
  const Fixture at;
  for (int i = 0; i < 50; ++i) write_file(at.source + "/s" + std::to_string(i), std::string(3000, 's'));
  SyncFails calls;
  calls.fails = true;
  Plan plan = at.plan(at.source + "/s1", at.target + "/one");
  // The journal itself is made before the disk begins to fail.
  struct FailsLater final : FileCalls {
    std::atomic<int> left{2};
    int fsync(int fd) override { return left-- > 0 ? FileCalls::fsync(fd) : -EIO; }
  } later;
  plan.sink_calls = &later;
  auto outcome = run_transfer(plan);
  REQUIRE(outcome.sink_error);
  CHECK(outcome.sink_error->code == ErrorCode::IO_ERROR);
  CHECK(!exists(at.target + "/one"));
  CHECK(at.partials() == 0);

  // A directory that was made must be known to the next run; the partials in it go.
  plan = at.plan(at.source, at.target + "/tree");
  plan.identity.transfer[0] = std::byte{7};
  plan.identity.resume_key[0] = std::byte{7};
  plan.stop_after = 20'000;
  plan.stop_without_checkpoint = true;
  CHECK(run_transfer(plan).finished);
  CHECK(at.partials() == 0);
  plan.stop_after.reset();
  outcome = run_transfer(plan);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files == 50);
  CHECK(at.journals() == 0);
}

TEST_CASE("commit: until the receipt is kept, the same command finds all of it done before") {
  const Fixture at;
  fs::create_directory(at.source + "/sub");
  write_file(at.source + "/sub/f", std::string(3 * MiB + 5, 'f'));
  write_file(at.source + "/empty", "");
  fs::create_directory(at.source + "/nothing");
  fs::create_symlink("anywhere", at.source + "/link");
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.receipt_kept = false;
  REQUIRE(run_transfer(plan).totals);
  CHECK(at.journals() == 1);
  SUBCASE("and sends nothing") {
    for (const bool kept : {false, true}) {
      plan.receipt_kept = kept;
      const auto again = run_transfer(plan);
      REQUIRE(again.totals);
      CHECK(again.bytes_on_wire == 0);
      CHECK(again.totals->bytes_resumed == 3 * MiB + 5);
      CHECK(again.totals->bytes_received == 0);
      CHECK(again.totals->files == 2);
      CHECK(again.sink_files.size() == 2);
      CHECK(again.journal_finished == kept);
      CHECK(at.journals() == (kept ? 0 : 1));
    }
    const auto after = run_transfer(plan);
    REQUIRE(after.exceptions.size() > 0);
    CHECK(after.exceptions[0].action == Action::refuse);
  }
  SUBCASE("but a target that somebody else has written since is not ours") {
    fs::remove(at.target + "/copy/sub/f");
    write_file(at.target + "/copy/sub/f", "theirs");
    const auto again = run_transfer(plan);
    bool refused = false;
    for (const auto& verdict : again.exceptions) refused = refused || verdict.action == Action::refuse;
    CHECK(refused);
    CHECK(read_file(at.target + "/copy/sub/f") == "theirs");
  }
}

TEST_CASE("refusal: a target that exists leaves no journal behind") {
  const Fixture at;
  write_file(at.source + "/f", "new");
  write_file(at.target + "/f", "old");
  const auto outcome = run_transfer(at.plan(at.source + "/f", at.target + "/f"));
  REQUIRE(outcome.exceptions.size() == 1);
  CHECK(outcome.exceptions[0].action == Action::refuse);
  CHECK(at.journals() == 0);
  CHECK(read_file(at.target + "/f") == "old");
}

TEST_CASE("resume: the partial of a file that the source has no more is gone after the commit") {
  const Fixture at;
  write_file(at.source + "/a", std::string(4 * MiB, 'a'));
  write_file(at.source + "/b", std::string(4 * MiB, 'b'));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.stop_after = 3 * MiB;
  REQUIRE(run_transfer(plan).finished);
  REQUIRE(at.partials() == 1);
  fs::remove(at.source + "/a");
  plan.stop_after.reset();
  REQUIRE(run_transfer(plan).totals);
  CHECK(at.partials() == 0);
  CHECK(at.journals() == 0);
  CHECK(read_file(at.target + "/copy/b") == read_file(at.source + "/b"));
}

TEST_CASE("resume: a finished file that was written to since is not taken for ours") {
  const Fixture at;
  write_file(at.source + "/a", "first");
  write_file(at.source + "/b", std::string(8 * MiB, 'b'));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.stop_after = 5 * MiB;
  REQUIRE(run_transfer(plan).finished);
  REQUIRE(read_file(at.target + "/copy/a") == "first");
  // In place: the same inode, the same size.
  {
    std::fstream file{at.target + "/copy/a", std::ios::in | std::ios::out};
    file << "SECND";
  }
  plan.stop_after.reset();
  const auto outcome = run_transfer(plan);
  bool refused = false;
  for (const auto& verdict : outcome.exceptions) {
    CHECK(verdict.action != Action::done_before);
    refused = refused || (verdict.action == Action::refuse && verdict.error->code == ErrorCode::FILE_EXISTS);
  }
  CHECK(refused);
  CHECK(read_file(at.target + "/copy/a") == "SECND");
}

TEST_CASE("resume: directories that the transfer made get their mode, those that it found keep theirs") {
  const Fixture at;
  fs::create_directory(at.source + "/made");
  fs::create_directory(at.source + "/found");
  write_file(at.source + "/made/f", "1");
  write_file(at.source + "/z", std::string(8 * MiB, 'z'));
  REQUIRE(::chmod((at.source + "/found").c_str(), 0777) == 0);
  REQUIRE(::chmod((at.source + "/made").c_str(), 0751) == 0);
  fs::create_directory(at.target + "/found");
  write_file(at.target + "/found/private", "mine");
  REQUIRE(::chmod((at.target + "/found").c_str(), 0700) == 0);
  Plan plan = at.plan(at.source + "/.", at.target);
  plan.stop_after = 5 * MiB;
  REQUIRE(run_transfer(plan).finished);
  plan.stop_after.reset();
  REQUIRE(run_transfer(plan).totals);
  struct stat status {};
  REQUIRE(::stat((at.target + "/found").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
  REQUIRE(::stat((at.target + "/made").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0751);
}

TEST_CASE("sweep: a link under a partial's name goes, a second name is respected unless it is the target's") {
  const Fixture at;
  const auto name = [](char digit) { return ".penstock-" + std::string(32, digit) + ".part"; };
  fs::create_symlink("anywhere", at.target + "/" + name('1'));
  write_file(at.target + "/" + name('2'), "two");
  fs::create_hard_link(at.target + "/" + name('2'), at.target + "/two");
  write_file(at.target + "/" + name('3'), "three");
  fs::create_hard_link(at.target + "/" + name('3'), at.target + "/elsewhere");
  auto journals = std::move(*JournalStore::open(at.scratch / "journals"));
  {
    auto journal = std::move(*journals->create({}));
    journal->append(PartialIntended{.path = "one", .partial_name = name('1')});
    journal->append(PartialIntended{.path = "two", .partial_name = name('2')});
    journal->append(PartialIntended{.path = "three", .partial_name = name('3')});
    REQUIRE(journal->write().ok());
  }
  const auto journal = std::move(*journals->find(OwnerId{}, TransferId{}));
  const auto base = std::move(*path::open_trusted_directory(at.target));
  CHECK(sweep_partials(base.get(), journal->earlier()) == 2);
  CHECK(!fs::is_symlink(at.target + "/" + name('1')));
  CHECK(read_file(at.target + "/two") == "two");
  CHECK(!exists(at.target + "/" + name('2')));
  CHECK(exists(at.target + "/" + name('3')));
}

TEST_CASE("drop box: files, links and directories go where one may create but not look") {
  const Fixture at;
  fs::create_directory(at.source + "/d");
  write_file(at.source + "/d/f", "1");
  write_file(at.source + "/big", std::string(3 * MiB, 'b'));
  fs::create_symlink("d/f", at.source + "/link");
  fs::create_directory(at.target + "/box");
  REQUIRE(::chmod((at.target + "/box").c_str(), 0300) == 0);
  {
    const WithoutOverride weak;
    REQUIRE(!path::open_trusted_directory(at.target + "/box"));
    const auto outcome = run_transfer(at.plan(at.source + "/.", at.target + "/box/"));
    REQUIRE_MESSAGE(outcome.totals, (outcome.sink_error ? outcome.sink_error->message : std::string{}));
    CHECK(outcome.entry_errors.empty());
    CHECK(outcome.totals->files == 2);
  }
  CHECK(read_file(at.target + "/box/d/f") == "1");
  CHECK(fs::read_symlink(at.target + "/box/link") == "d/f");
  CHECK(read_file(at.target + "/box/big") == std::string(3 * MiB, 'b'));
  CHECK(at.partials() == 0);
  struct stat status {};
  REQUIRE(::stat((at.target + "/box").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0300);
}

TEST_CASE("read-only files: repaired and published though their partial shuts us out") {
  const Fixture at;
  for (int i = 0; i < 200; ++i) {
    const std::string name = at.source + "/f" + std::to_string(i);
    write_file(name, std::string(2000, static_cast<char>('a' + i % 26)));
    REQUIRE(::chmod(name.c_str(), 0444) == 0);
  }
  for (const auto algorithm : {digest::Algorithm::xxh3, digest::Algorithm::sha256}) {
    const WithoutOverride weak;
    Plan plan = at.plan(at.source, at.target + (algorithm == digest::Algorithm::sha256 ? "/s" : "/x"));
    plan.identity.transfer[0] = plan.identity.resume_key[0] = static_cast<std::byte>(algorithm);
    plan.algorithm = algorithm;
    plan.shuffled = true;
    plan.corrupt_every = 3;
    const auto outcome = run_transfer(plan);
    REQUIRE(outcome.totals);
    CHECK(outcome.entry_errors.empty());
    CHECK(outcome.totals->files == 200);
  }
  CHECK(at.partials() == 0);
}

TEST_CASE("journal store: one that looks for journals never unlinks another that is just being made") {
  const ScratchDirectory scratch;
  auto store = std::move(*JournalStore::open(scratch / "j"));
  std::atomic<bool> over{false};
  std::thread finder{[&] {
    auto other = std::move(*JournalStore::open(scratch / "j"));
    while (!over) (void)other->find(OwnerId{}, ResumeKey{std::byte{1}});
  }};
  int lost = 0;
  for (int i = 0; i < 300; ++i) {
    TransferIdentity identity;
    identity.transfer[0] = static_cast<std::byte>(i);
    identity.transfer[1] = static_cast<std::byte>(i >> 8);
    identity.resume_key[0] = std::byte{2};
    auto journal = store->create(identity);
    if (!journal || fs::is_empty(scratch / "j")) {
      ++lost;
      continue;
    }
    lost += (*journal)->remove().ok() && fs::is_empty(scratch / "j") ? 0 : 1;
  }
  over = true;
  finder.join();
  CHECK(lost == 0);
}

}  // namespace penstock::storage::test
