#include <doctest/doctest.h>

#include "common/units.h"
#include "tests/unit/storage/single_file_observer.h"
#include "tests/unit/storage/transfer_harness.h"

using namespace penstock;
using namespace penstock::storage;
using namespace penstock::storage::test;

namespace {

constexpr std::uint64_t promised = 3 * MiB;
constexpr std::uint64_t there = 1 * MiB;

/// One file, the root itself, that ends before its manifest says so.
class ShortSource final : public Source {
 public:
  Result<WalkBatch> walk(std::size_t) override {
    WalkBatch batch;
    batch.end = true;
    ManifestEntry entry;
    entry.size = promised;
    batch.entries.push_back(std::move(entry));
    return batch;
  }
  Result<std::unique_ptr<SourceFile>> open(const ManifestEntry&) override {
    return std::unique_ptr<SourceFile>{std::make_unique<File>()};
  }
  [[nodiscard]] std::string shown_path(const ManifestEntry&) const override { return "dir/film"; }

 private:
  class File final : public SourceFile {
   public:
    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override {
      return static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), there - std::min(offset, there)));
    }
    Result<FileIdentity> identity() override { return FileIdentity{}; }
  };
};

}  // namespace

TEST_CASE("reader: a file that became shorter is named as its user wrote it, in words and in the path") {
  SlabPool pool;
  TestWorker worker;
  StorageExecutor executor;
  SingleFileObserver observer;
  observer.reader = SourceReader::create({}, std::make_unique<ShortSource>(), std::move(*pool.open_account()), executor,
                                         worker.post(), observer);
  observer.reader->request_entries(10);
  REQUIRE(worker.run_until([&] { return observer.failed.has_value(); }));
  CHECK(observer.failed->code == ErrorCode::SOURCE_CHANGED);
  CHECK(observer.failed->path == "dir/film");
  CHECK(observer.failed->message.starts_with("dir/film: it became shorter"));
  CHECK(observer.failed_range == TransferRange{TransferOffset{0}, TransferOffset{promised}});
  observer.reader->close();
}
