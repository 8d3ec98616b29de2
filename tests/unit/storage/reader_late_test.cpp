// Verdicts on a file that was released on trust: they come while it is read, or afterwards.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/digest/sha256.h"
#include "common/digest/xxh3.h"
#include "common/units.h"
#include "dataplane/storage/file_digest.h"
#include "dataplane/storage/posix_source.h"
#include "tests/unit/storage/scratch_directory.h"
#include "tests/unit/storage/single_file_observer.h"
#include "tests/unit/storage/transfer_harness.h"

using namespace penstock;
using namespace penstock::storage;
using namespace penstock::storage::test;

namespace {

constexpr std::size_t read_ahead = 1;  // slabs beyond the one that the sender is in

std::string content_of(std::size_t size) {
  std::string content(size, 0);
  std::uint32_t state = 11;
  for (auto& byte : content) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return content;
}

digest::Digest digest_of(const std::string& content, digest::Algorithm algorithm) {
  const auto bytes = std::as_bytes(std::span{content});
  if (algorithm == digest::Algorithm::sha256) return digest::Digest{digest::sha256(bytes)};
  FileDigestBuilder builder{content.size()};
  for (std::uint64_t block = 0; block < block_count(content.size()); ++block) {
    const auto from = static_cast<std::size_t>(block * block_size);
    builder.add(block, digest::xxh3(bytes.subspan(from, std::min<std::size_t>(block_size, content.size() - from))));
  }
  return digest::Digest{*builder.digest()};
}

/// A reader of one file, released at once, whose sender has not sent a byte: it stands behind what it reads ahead.
struct LateVerdict {
  ScratchDirectory scratch;
  SlabPool pool;
  TestWorker worker;
  StorageExecutor executor;
  SingleFileObserver observer;

  void begin(const std::string& content, SourceReaderConfig config) {
    write_file(scratch / "film", content);
    config.read_ahead_slabs = read_ahead;
    auto roots = open_local_roots({scratch / "film"});
    REQUIRE(roots);
    observer.reader =
        SourceReader::create(config, std::make_unique<PosixSource>(std::move(*roots), PosixSourceConfig{}),
                             std::move(*pool.open_account()), executor, worker.post(), observer);
    observer.reader->request_entries(10);
  }
  void hear(Action action, std::vector<BlockRun> held = {}) {
    const int told = observer.told_released;
    observer.reader->release(1, {{.index = 0, .action = action, .held = std::move(held), .error = {}}});
    REQUIRE(worker.run_until([&] { return observer.told_released > told; }));
  }
  ~LateVerdict() { observer.reader->close(); }
};

}  // namespace

TEST_CASE_FIXTURE(LateVerdict, "late verdict: on the file that is being read") {
  const std::string content = content_of((read_ahead + 2) * slab_bytes - 12'345);
  SourceReaderConfig config;
  auto action = Action::done_before;
  bool reported = true;
  SUBCASE("done before: it is in the receipt, so it is digested to its end and reported") {}
  SUBCASE("done before, with sha256") { config.algorithm = digest::Algorithm::sha256; }
  SUBCASE("done before, where nobody needs its digest") {
    config.held_digests = HeldDigests::skip;
    reported = false;
  }
  SUBCASE("left alone: it is in no receipt") {
    action = Action::skip;
    reported = false;
  }
  SUBCASE("refused: it is in no receipt") {
    action = Action::refuse;
    reported = false;
  }
  begin(content, config);
  REQUIRE(worker.run_until([&] { return observer.reader->stats().bytes_read == (read_ahead + 1) * slab_bytes; }));
  hear(action);
  observer.reader->on_progress({content.size()}, {content.size()}, 0);  // all of it is withheld
  REQUIRE(worker.run_until([&] { return observer.all_read; }));
  REQUIRE(observer.reports.size() == (reported ? 1 : 0));
  if (reported) CHECK(observer.reports.front().digest == digest_of(content, config.algorithm));
  CHECK_FALSE(observer.failed);
}

TEST_CASE_FIXTURE(LateVerdict, "late verdict: a file read to its end is reported once") {
  const std::string content = content_of(MiB + 12'345);
  begin(content, {});
  REQUIRE(worker.run_until([&] { return observer.all_read; }));
  hear(Action::done_before);
  hear(Action::done_before);  // behind whatever the first one began
  REQUIRE(observer.reports.size() == 1);
  CHECK(observer.reports.front().digest == digest_of(content, digest::Algorithm::xxh3));
}

TEST_CASE_FIXTURE(LateVerdict, "late verdict: of the file that is being read, blocks that are held are passed over") {
  static_assert(block_size == slab_bytes);
  constexpr std::size_t blocks = 9;
  const std::string content = content_of(blocks * block_size - 12'345);
  SourceReaderConfig config;
  bool reported = true;
  SUBCASE("xxh3") {}
  SUBCASE("sha256") { config.algorithm = digest::Algorithm::sha256; }
  SUBCASE("where nobody needs the digest of what is held") {
    config.held_digests = HeldDigests::skip;
    reported = false;
  }
  begin(content, config);
  constexpr std::size_t read_before = read_ahead + 1;
  REQUIRE(worker.run_until([&] { return observer.reader->stats().bytes_read == read_before * slab_bytes; }));
  hear(Action::held, {{0, 1}, {read_before - 1, 3}, {blocks - 3, 2}});
  observer.reader->on_progress({content.size()}, {content.size()}, 0);
  REQUIRE(worker.run_until([&] { return observer.all_read; }));
  // Behind what was read already: two are held, then two are not, two are, and the last is not.
  const std::size_t wanted = content.size() - (read_before + 2 + 2) * block_size;
  CHECK(observer.reader->stats().bytes_read == read_before * slab_bytes + wanted);
  REQUIRE(observer.reports.size() == (reported ? 1 : 0));
  if (reported) CHECK(observer.reports.front().digest == digest_of(content, config.algorithm));
  CHECK_FALSE(observer.failed);
}

TEST_CASE("late verdict: of the file that is being read, blocks that were read already are held") {
  for (const std::size_t held : {std::size_t{1}, read_ahead + 1}) {
    CAPTURE(held);
    LateVerdict late;
    const std::string content = content_of((read_ahead + 2) * slab_bytes);
    late.begin(content, {.algorithm = digest::Algorithm::sha256});
    REQUIRE(late.worker.run_until(
        [&] { return late.observer.reader->stats().bytes_read == (read_ahead + 1) * slab_bytes; }));
    late.hear(Action::held, {{0, held}});
    late.observer.reader->on_progress({content.size()}, {content.size()}, 0);
    REQUIRE(late.worker.run_until([&] { return late.observer.all_read; }));
    CHECK(late.observer.reader->stats().bytes_read == content.size());
    REQUIRE(late.observer.reports.size() == 1);
    CHECK(late.observer.reports.front().digest == digest_of(content, digest::Algorithm::sha256));
  }
}
