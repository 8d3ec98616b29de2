#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/storage/executor.h"
#include "tests/unit/storage/transfer_fixture.h"

namespace penstock::storage::test {
namespace {

/// A disk whose syncs end when the test says so.
struct SyncsHang final : FileCalls {
  std::promise<void> release;
  std::shared_future<void> released{release.get_future()};
  std::promise<void> begun;
  std::atomic<int> waiting{0};
  std::atomic<bool> hang{false};
  int wait_for_it() {
    if (hang) {
      if (++waiting == 1) begun.set_value();
      released.wait();
    }
    return 0;
  }
  int fsync(int fd) override { return wait_for_it(), FileCalls::fsync(fd); }
  int fdatasync(int fd) override { return wait_for_it(), FileCalls::fdatasync(fd); }
  int syncfs(int fd) override { return wait_for_it(), FileCalls::syncfs(fd); }
};

struct Quiet final : SinkObserver {
  void on_verdicts(SinkVerdicts) override {}
  void on_entry_failed(std::uint64_t, const Error&) override {}
  void on_file_finished(FileReport) override {}
  void on_room() override {}
  void on_audited(AuditResult) override {}
  void on_committed(SinkTotals) override {}
  void on_sink_failed(const Error&) override {}
};

}  // namespace

TEST_CASE("executor: however many syncs wait for a disk, other work goes on") {
  // What tasks use outlives the executor, whose end runs them.
  std::promise<void> release;
  const auto released = release.get_future().share();
  std::atomic<int> synced{0};
  std::promise<void> done;
  StorageExecutor executor{ExecutorThreads{.work = 1, .sync = 1}};
  for (int i = 0; i < 5; ++i) {
    executor.post_sync([&] {
      released.wait();
      ++synced;
    });
  }
  executor.post([&] { done.set_value(); });
  done.get_future().wait();  // hangs for ever if syncs take the working thread
  CHECK(synced == 0);
  release.set_value();
}

TEST_CASE("executor: its end runs all that is queued, and what that posts, of either kind") {
  std::atomic<int> ran{0};
  {
    StorageExecutor executor{ExecutorThreads{.work = 1, .sync = 1}};
    for (int i = 0; i < 50; ++i) {
      executor.post_sync([&] {
        ++ran;
        executor.post([&] {
          ++ran;
          executor.post_sync([&] { ++ran; });
        });
      });
    }
  }
  CHECK(ran == 150);
}

TEST_CASE("sync: while a disk hangs in the sync of one transfer, another on a good disk finishes") {
  TransferFixture at;
  SlabPool pool;
  TargetClaims claims;
  SyncsHang calls;
  auto journals = std::move(*JournalStore::open(at.scratch / "hanging-journals", calls));
  Quiet observer;
  TestWorker worker;
  // One working thread: were syncs its business, the first transfer would keep it.
  auto executor = std::make_unique<StorageExecutor>(ExecutorThreads{.work = 1, .sync = 2});
  PosixSinkConfig config;
  config.destination = std::move(*open_local_destination(at.target + "/hangs"));
  config.roots = {{.name = "hangs", .contents = false}};
  auto hanging = make_posix_sink(std::move(config), std::move(*journals->create({})), std::move(*pool.open_account()),
                                 *executor, claims, worker.post(), observer, calls);
  ManifestEntry entry;
  entry.size = 2 * slab_bytes;
  calls.hang = true;
  hanging->on_entries(0, {entry});
  const std::vector<std::byte> slab(slab_bytes);
  REQUIRE(hanging->window().store({0}, slab));
  bool answered = false;
  hanging->checkpoint([&] { answered = true; });
  calls.begun.get_future().wait();

  write_file(at.source + "/f", std::string(100'000, 'f'));
  Plan plan = at.plan(at.source, at.target + "/copy");
  plan.executor = executor.get();
  const auto outcome = run_transfer(plan);
  REQUIRE(outcome.totals);
  CHECK(outcome.totals->files == 1);
  CHECK(!answered);

  calls.release.set_value();
  CHECK(worker.run_until([&] { return answered; }));
  hanging->close();
  executor.reset();  // what the sink's last tasks use outlives them
}

}  // namespace penstock::storage::test
