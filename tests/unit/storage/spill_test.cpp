#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes/view.h"
#include "common/random.h"
#include "dataplane/storage/journal_store.h"
#include "dataplane/storage/manifest_store.h"
#include "dataplane/storage/spill_file.h"
#include "dataplane/storage/spill_sorter.h"
#include "tests/unit/storage/scratch_directory.h"

namespace penstock::storage::test {
namespace {

/// A file system with as much room as it is given; what is written takes of it.
struct FakeSpace final : FileCalls {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = std::uint64_t{1} << 40;
  std::size_t asked = 0;
  ssize_t pwrite(int fd, std::span<const std::byte> data, std::uint64_t offset) override {
    free_bytes -= data.size();
    return FileCalls::pwrite(fd, data, offset);
  }
  std::optional<Space> space_of(int) override {
    ++asked;
    return Space{.free_bytes = free_bytes, .total_bytes = total_bytes};
  }
};

/// One whose reserve holds `allowed` bytes more than the reserve.
FakeSpace room_for(std::uint64_t allowed) {
  FakeSpace calls;
  calls.free_bytes = state_reserve_bytes + allowed;
  return calls;
}

std::string random_text(Rng& rng, std::size_t size_max) {
  std::string text(static_cast<std::size_t>(rng.below(size_max + 1)), 'x');
  for (char& c : text) c = static_cast<char>('a' + rng.below(4));
  return text;
}

std::vector<std::string> sorted_by(SpillSorter& sorter) {
  std::vector<std::string> out;
  const auto status = sorter.for_each([&](std::span<const std::byte> record) {
    out.emplace_back(bytes::as_text(record));
    return Status{};
  });
  REQUIRE(status.ok());
  return out;
}

}  // namespace

TEST_CASE("spill file: what went in comes out at its place, from memory and from disk, and no name is left") {
  const ScratchDirectory scratch;
  const auto directory = scratch.open();
  for (const int where : {-1, directory.get()}) {
    SpillFile file{where, "list"};
    Rng rng{3};
    std::string all;
    for (int i = 0; i < 300; ++i) {
      const std::string text = random_text(rng, 1000);
      REQUIRE(file.append(bytes::as_bytes(text)).ok());
      all += text;
    }
    CHECK(file.size() == all.size());
    for (int i = 0; i < 100; ++i) {
      const auto from = static_cast<std::size_t>(rng.below(all.size()));
      std::vector<std::byte> part(static_cast<std::size_t>(rng.below(all.size() - from + 1)));
      REQUIRE(file.read(from, part).ok());
      CHECK(bytes::as_text(part) == std::string_view{all}.substr(from, part.size()));
    }
    file.clear();
    CHECK(file.size() == 0);
  }
  CHECK(std::filesystem::is_empty(scratch.path()));
}

TEST_CASE("spill sorter: any records come out in the order of their bytes, over any number of runs and levels") {
  const ScratchDirectory scratch;
  const auto directory = scratch.open();
  for (const int where : {-1, directory.get()}) {
    for (const std::size_t count : {0U, 1U, 100U, 20'000U}) {
      SpillSorter sorter{where, "list"};
      Rng rng{count + 1};
      std::vector<std::string> records;
      for (std::size_t i = 0; i < count; ++i) {
        records.push_back(random_text(rng, 60));
        REQUIRE(sorter.add(bytes::as_bytes(records.back())).ok());
      }
      std::sort(records.begin(), records.end());
      CHECK(sorter.records() == count);
      CHECK(sorted_by(sorter) == records);
      CHECK(sorted_by(sorter) == records);  // and once more
    }
  }
  // Records so long that each few make a run: more runs than one level takes.
  SpillSorter sorter{directory.get(), "list"};
  std::vector<std::string> records;
  constexpr std::size_t count = 3 * (sort_runs_max + 5);
  for (std::size_t i = 0; i < count; ++i) {
    std::string record = std::to_string(i * 7919 % count);
    record.resize(100'000, 'y');
    REQUIRE(sorter.add(bytes::as_bytes(record)).ok());
    records.push_back(std::move(record));
  }
  std::sort(records.begin(), records.end());
  CHECK(sorted_by(sorter) == records);
}

TEST_CASE("state directory: a file may grow to its limit and down to the reserve, no further, and the error names it") {
  const ScratchDirectory scratch;
  const auto directory = scratch.open();
  FakeSpace roomy = room_for(std::uint64_t{1} << 39);
  StateSpace limited{directory.get(), "manifest", roomy, 100 * MiB};
  CHECK(limited.allow(100 * MiB).ok());
  const auto over = limited.allow(100 * MiB + 1);
  REQUIRE(!over.ok());
  CHECK(over.error().code == ErrorCode::QUOTA_EXCEEDED);
  CHECK(over.error().message.find(scratch.path()) != std::string::npos);

  FakeSpace tight = room_for(10 * MiB);
  StateSpace reserved{directory.get(), "manifest", tight};
  CHECK(reserved.allow(1).ok());
  CHECK(tight.asked == 0);  // small transfers do not ask
  CHECK(reserved.allow(10 * MiB).ok());
  tight.free_bytes -= 10 * MiB;  // they were written
  const auto full = reserved.allow(15 * MiB);
  REQUIRE(!full.ok());
  CHECK(full.error().code == ErrorCode::NO_SPACE);
  CHECK(full.error().message.find(scratch.path()) != std::string::npos);

  // A small file system keeps a twentieth.
  FakeSpace small;
  small.total_bytes = 100 * MiB;
  small.free_bytes = 20 * MiB;
  CHECK(StateSpace{directory.get(), "manifest", small}.allow(15 * MiB).ok());
  CHECK(!StateSpace{directory.get(), "manifest", small}.allow(16 * MiB).ok());
}

TEST_CASE("state directory: a manifest without end is refused before it fills the disk, and so is a journal") {
  const ScratchDirectory scratch;
  const auto directory = scratch.open();
  FakeSpace tight = room_for(6 * MiB);
  ManifestStore store{directory.get(), tight};
  ManifestEntry entry;
  entry.path = std::string(200, 'n');
  std::optional<Error> refused;
  std::uint64_t entries = 0;
  for (; entries < 200'000 && !refused; ++entries) {
    if (auto appended = store.append(entry); !appended) refused = appended.error();
  }
  REQUIRE(refused);
  CHECK(refused->code == ErrorCode::NO_SPACE);
  CHECK(entries * entry.path.size() < 7 * MiB);

  auto journals = std::move(*JournalStore::open(scratch / "journals", tight));
  auto journal = std::move(*journals->create({}));
  Status written;
  std::uint64_t bytes = 0;
  for (; bytes < 50 * MiB && written; bytes += entry.path.size()) {
    journal->append(PartialDropped{.path = entry.path});
    written = journal->write();
  }
  REQUIRE(!written.ok());
  CHECK(written.error().code == ErrorCode::NO_SPACE);
  CHECK(bytes < 7 * MiB);
  CHECK(!journal->write().ok());
}

}  // namespace penstock::storage::test
