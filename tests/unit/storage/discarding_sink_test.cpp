#include "dataplane/storage/discarding_sink.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/storage/transfer_harness.h"

namespace penstock::storage {
namespace {

struct News final : SinkObserver {
  void on_verdicts(SinkVerdicts news) override { verdicts.push_back(std::move(news)); }
  void on_entry_failed(std::uint64_t, const Error&) override { FAIL("nothing of it can fail"); }
  void on_file_finished(FileReport) override { FAIL("no file is finished: there is none"); }
  void on_room() override { ++rooms; }
  void on_audited(AuditResult result) override { audited = std::move(result); }
  void on_committed(SinkTotals sums) override { totals = sums; }
  void on_sink_failed(const Error& error) override { failed = error; }
  std::vector<SinkVerdicts> verdicts;
  int rooms = 0;
  std::optional<AuditResult> audited;
  std::optional<SinkTotals> totals;
  std::optional<Error> failed;
};

ManifestEntry directory() {
  ManifestEntry entry;
  entry.type = FileType::directory;
  return entry;
}
ManifestEntry file(const std::string& path, std::uint64_t size, std::vector<Hole> holes = {}) {
  ManifestEntry entry;
  entry.path = path;
  entry.size = size;
  entry.holes = std::move(holes);
  return entry;
}

struct Scene {
  SlabPool pool{{.shared = 2, .guaranteed = 3, .slabs_max = 64}};
  test::TestWorker worker;
  News news;
  std::shared_ptr<Sink> sink = make_discarding_sink(1, std::move(*pool.open_account()), {worker.post()}, news);
  ~Scene() {
    sink->close();
    CHECK(pool.in_use() == 0);
  }
};

TEST_CASE("discarding sink: takes more than its slabs hold, wants everything but holes, and finishes no file") {
  Scene scene;
  auto& sink = *scene.sink;
  constexpr std::uint64_t size = 100 * MiB;
  const Hole hole{10 * MiB, 3 * MiB};
  sink.on_entries(0, {directory(), file("a", size, {hole}), file("b", 1)});
  sink.on_manifest_end(3, size + 1);
  REQUIRE(scene.worker.run_until([&] { return !scene.news.verdicts.empty(); }));
  const auto& verdicts = scene.news.verdicts.front();
  CHECK(verdicts.decided == 3);
  CHECK(verdicts.exceptions.empty());
  CHECK(verdicts.space_end.value == size + 1);
  REQUIRE(verdicts.withhold.size() == 1);
  CHECK(verdicts.withhold[0] == TransferRange{{hole.offset}, {hole.offset + hole.length}});

  const std::vector<std::byte> bytes(64 * KiB);
  for (std::uint64_t at = 0; at <= size; at += bytes.size()) {
    if (at >= hole.offset && at < hole.offset + hole.length) continue;
    const auto part =
        std::span{bytes}.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size + 1 - at)));
    REQUIRE(sink.window().store({at}, part));
  }
  CHECK(scene.pool.in_use() == 0);  // handed back as they fill, the last one at the end of transfer space
  CHECK(sink.progress().bytes_durable == size + 1 - hole.length);
  sink.audit();
  REQUIRE(scene.worker.run_until([&] { return scene.news.audited.has_value(); }));
  CHECK(scene.news.audited->repair.empty());
  CHECK(scene.news.rooms > 0);
  sink.commit();
  REQUIRE(scene.worker.run_until([&] { return scene.news.totals.has_value(); }));
  CHECK(scene.news.totals->files == 2);
  CHECK(scene.news.totals->bytes == size + 1 - hole.length);
  CHECK(scene.news.totals->bytes == scene.news.totals->bytes_received);
  CHECK_FALSE(scene.news.failed);
}

TEST_CASE("discarding sink: a manifest that a real sink would refuse is refused") {
  Scene scene;
  scene.sink->on_entries(0, {directory(), file("../up", 1)});
  REQUIRE(scene.worker.run_until([&] { return scene.news.failed.has_value(); }));
  CHECK(scene.news.failed->code == ErrorCode::PATH_REFUSED);
  CHECK(scene.news.verdicts.empty());
}

TEST_CASE("discarding sink: an end that does not add up is refused") {
  Scene scene;
  scene.sink->on_entries(0, {directory(), file("a", 1)});
  scene.sink->on_manifest_end(2, 2);
  REQUIRE(scene.worker.run_until([&] { return scene.news.failed.has_value(); }));
  CHECK(scene.news.failed->code == ErrorCode::PATH_REFUSED);
}

}  // namespace
}  // namespace penstock::storage
