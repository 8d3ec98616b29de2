// What a source that lies about its manifest, its digests or its bytes can not do to a sink.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/transfer_fixture.h"
#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage::test {
namespace {

using Fixture = TransferFixture;

}  // namespace

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
