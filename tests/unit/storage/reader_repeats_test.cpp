#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>

#include "common/units.h"
#include "dataplane/storage/lane_residents.h"
#include "dataplane/storage/posix_source.h"
#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/single_file_observer.h"
#include "tests/unit/storage/transfer_harness.h"

using namespace penstock;
using namespace penstock::storage;
using namespace penstock::storage::test;

namespace {

constexpr std::size_t datagram = 1400;

std::string content_of(std::size_t size) {
  std::string content(size, 0);
  std::uint32_t state = 7;
  for (auto& byte : content) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return content;
}

Patch patch_of(std::uint64_t at, std::size_t length, std::byte fill) {
  return {{at}, std::make_shared<std::vector<std::byte>>(length, fill)};
}

LaneResidents window_alone() {
  return LaneResidents{{.on_missing = [](TransferRange) {}, .on_progress = [](TransferOffset, std::uint64_t, bool) {}}};
}

}  // namespace

TEST_CASE("repeats: a patch is lent from any byte of it, and no further than it goes") {
  auto window = window_alone();
  window.take(patch_of(5000, datagram, std::byte{1}));
  CHECK(window.resident({4999}, 10).empty());
  CHECK(window.resident({5000}, datagram).size() == datagram);
  CHECK(window.resident({5100}, 9000).size() == datagram - 100);
  CHECK(window.resident({5000 + datagram}, 10).empty());
}

TEST_CASE("repeats: a patch replaces all that it overlaps, so that none hides another") {
  auto window = window_alone();
  window.take(patch_of(1000, 500, std::byte{1}));
  window.take(patch_of(1200, 100, std::byte{2}));
  window.take(patch_of(900, 1000, std::byte{3}));
  CHECK(window.resident({900}, 1000).size() == 1000);
  CHECK(window.resident({1250}, 100).front() == std::byte{3});
}

TEST_CASE("repeats: patches go with what is acknowledged, with their extent, and when there are too many") {
  auto window = window_alone();
  window.take(patch_of(0, 100, std::byte{1}));
  window.take(patch_of(200, 100, std::byte{1}));
  window.on_progress({1000}, {250}, 0);
  CHECK(window.resident({0}, 1).empty());
  CHECK(window.resident({260}, 1).size() == 1);
  window.drop({0, 1000});
  CHECK(window.resident({260}, 1).empty());

  const std::size_t room = LaneResidents::patched_bytes_max / datagram;
  for (std::uint64_t i = 0; i < room; ++i) window.take(patch_of(i * 2 * datagram, datagram, std::byte{1}));
  REQUIRE(window.resident({0}, 1).size() == 1);  // used last
  window.take(patch_of(room * 2 * datagram, datagram, std::byte{1}));
  CHECK(window.resident({0}, 1).size() == 1);
  CHECK(window.resident({2 * datagram}, 1).empty());
}

TEST_CASE("repeats: of a slab that made room a datagram is read alone, and pushes out no other") {
  const ScratchDirectory scratch;
  const std::string content = content_of(24 * MiB);
  write_file(scratch.path() + "/film", content);
  SlabPool pool{{.shared = 0, .guaranteed = 3, .slabs_max = 3}};
  TestWorker worker;
  StorageExecutor executor;
  SingleFileObserver observer;
  auto roots = open_local_roots({scratch.path() + "/film"});
  REQUIRE(roots);
  auto& reader = observer.reader;
  reader = SourceReader::create({}, std::make_unique<PosixSource>(std::move(*roots), PosixSourceConfig{}),
                                std::move(*pool.open_account()), executor, worker.post(), observer);
  reader->request_entries(10);
  // All is sent once and nothing acknowledged: three slabs are kept, the last.
  std::uint64_t frontier = 0;
  REQUIRE(worker.run_until([&] {
    while (!reader->resident({frontier}, 1).empty()) frontier += MiB;
    reader->on_progress({frontier}, {0}, 0);
    if (frontier < content.size()) reader->prefetch({{frontier}, {frontier + MiB}});
    return observer.all_read && frontier == content.size();
  }));
  const auto lent = [&](std::uint64_t at) {
    const auto bytes = reader->resident({at}, datagram);
    return bytes.size() == datagram &&
           std::ranges::equal(bytes, std::as_bytes(std::span{content}.subspan(at, datagram)));
  };
  REQUIRE(lent(content.size() - MiB));
  const auto before = reader->stats();
  for (const std::uint64_t at : {std::uint64_t{12'345}, 2 * MiB, 5 * MiB - datagram}) {
    REQUIRE(reader->resident({at}, datagram).empty());
    reader->prefetch({{at}, {at + datagram}});
    REQUIRE(worker.run_until([&] { return lent(at); }));
  }
  CHECK(reader->stats().bytes_read_again - before.bytes_read_again == 3 * datagram);
  CHECK(lent(content.size() - MiB));

  SUBCASE("what the far end gave up is not read, and asks for no other try") {
    reader->abandon(0);
    const int told = observer.told_resident;
    reader->prefetch({{MiB}, {MiB + datagram}});
    // The strand answers in order: when this has come, so has all before it.
    const int released = observer.told_released;
    reader->release(1, {});
    REQUIRE(worker.run_until([&] { return observer.told_released > released; }));
    CHECK(observer.told_resident == told);
    CHECK_FALSE(lent(MiB));
  }
  SUBCASE("what lies far apart and is many brings the slab itself") {
    for (std::uint64_t i = 0; i < 40; ++i) reader->prefetch({{MiB + i * 20'000}, {MiB + i * 20'000 + datagram}});
    CHECK(worker.run_until([&] { return lent(MiB + 39 * 20'000) && lent(MiB + 39 * 20'000 + 5000); }));
  }
  reader->close();
}
