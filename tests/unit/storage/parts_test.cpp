// The small parts: block tracking, file digests, claims, strands, inode sets.
#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <string>
#include <vector>

#include "common/random.h"
#include "dataplane/storage/block_tracker.h"
#include "dataplane/storage/early_digests.h"
#include "dataplane/storage/executor.h"
#include "dataplane/storage/inode_set.h"
#include "dataplane/storage/target_claims.h"

namespace penstock::storage::test {
namespace {

std::vector<std::byte> content(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  Rng rng{seed};
  rng.fill(bytes);
  return bytes;
}

/// Writes a part, and reads back what the tracker asks for.
void write(BlockTracker& tracker, std::span<const std::byte> file, std::uint64_t from, std::uint64_t to) {
  while (const auto gap = tracker.first_gap(from, to)) {
    tracker.on_written(gap->begin, file.subspan(gap->begin, gap->size()));
    from = gap->end;
    if (from >= to) break;
  }
  for (const auto block : tracker.take_unread()) {
    const auto begin = block * block_size;
    tracker.set_digest(block, digest::xxh3(file.subspan(begin, std::min(block_size, file.size() - begin))));
  }
}

digest::Xxh3 digest_of(std::span<const std::byte> file, std::uint64_t block) {
  const auto begin = block * block_size;
  return digest::xxh3(file.subspan(begin, std::min(block_size, file.size() - begin)));
}

}  // namespace

TEST_CASE("block tracker: in any order of pieces and digests, a right file ends verified and a wrong block is named") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("replay with seed ", seed);
    Rng rng{seed};
    const auto file = content(rng.between(1, 4 * MiB), seed);
    const auto blocks = block_count(file.size());
    const std::uint64_t bad = rng.below(blocks);
    BlockTracker tracker{file.size(), {}};
    FileDigestBuilder expected{file.size()};
    std::vector<std::uint64_t> order(blocks);
    for (std::uint64_t i = 0; i < blocks; ++i) order[i] = i;
    for (std::uint64_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    for (const auto block : order) {
      expected.add(block, digest_of(file, block));
      if (rng.chance(1, 2)) {
        const auto from = rng.below(file.size());
        write(tracker, file, from, from + rng.below(file.size() - from));
      }
      tracker.set_source_digest(block, block == bad ? digest::Xxh3{} : digest_of(file, block));
    }
    write(tracker, file, 0, file.size());
    CHECK(!tracker.verified());
    CHECK(tracker.take_wrong() == std::vector<std::uint64_t>{bad});
    CHECK(tracker.unverified() == std::vector<BlockRun>{{bad, 1}});
    tracker.set_source_digest(bad, digest_of(file, bad));
    write(tracker, file, 0, file.size());
    CHECK(tracker.verified());
    CHECK(tracker.file_digest() == expected.digest());
  }
}

TEST_CASE("block tracker: holes need no bytes, but the source's digest of zeros") {
  std::vector<std::byte> file(3 * MiB);
  std::fill(file.begin() + 2 * MiB + 100, file.end(), std::byte{1});
  const std::vector<Hole> holes{{0, 2 * MiB + 100}};
  BlockTracker tracker{file.size(), holes};
  CHECK(tracker.first_gap(0, file.size()) == bytes::Interval{2 * MiB + 100, 3 * MiB});
  CHECK(tracker.data_in(0, file.size()) == std::vector<bytes::Interval>{{2 * MiB + 100, 3 * MiB}});
  write(tracker, file, 0, file.size());
  CHECK(tracker.complete());
  CHECK(!tracker.verified());
  for (std::uint64_t block = 0; block < 3; ++block) tracker.set_source_digest(block, digest_of(file, block));
  CHECK(tracker.verified());
  CHECK(tracker.take_wrong().empty());
}

TEST_CASE("block tracker: held blocks count once they read back as recorded, else they are missing") {
  const auto file = content(3 * MiB, 1);
  BlockTracker tracker{file.size(), {}};
  tracker.add_held(0, digest_of(file, 0));
  tracker.add_held(1, digest_of(file, 1));
  CHECK(tracker.contiguous() == 2 * MiB);
  CHECK(tracker.held_bytes() == 2 * MiB);
  tracker.set_digest(0, digest_of(file, 0));
  tracker.set_digest(1, digest::Xxh3{});
  CHECK(tracker.is_verified(0));
  CHECK(tracker.take_wrong() == std::vector<std::uint64_t>{1});
  CHECK(tracker.contiguous() == 1 * MiB);
  CHECK(tracker.held_bytes() == 1 * MiB);
  CHECK(tracker.take_verified().empty());  // the journal knows block 0
}

TEST_CASE("file digest: of nothing, of one block, of the blocks' digests") {
  CHECK(*FileDigestBuilder{0}.digest() == digest::xxh3({}));
  FileDigestBuilder one{block_size};
  CHECK(!one.digest());
  one.add(0, digest::Xxh3{});
  CHECK(*one.digest() == digest::Xxh3{});
  FileDigestBuilder three{2 * block_size + 1};
  const auto a = digest_of_zeros(1);
  const auto b = digest_of_zeros(2);
  const auto c = digest_of_zeros(3);
  three.add(2, c);
  three.add(0, a);
  CHECK(!three.digest());
  three.add(1, b);
  std::vector<std::byte> all;
  for (const auto& digest : {a, b, c}) all.insert(all.end(), digest.bytes.begin(), digest.bytes.end());
  CHECK(*three.digest() == digest::xxh3(all));
}

TEST_CASE("target claims: one writer a target, until it lets go") {
  TargetClaims claims;
  const int a = 0;
  const int b = 0;
  const TargetClaims::Target target{1, 2, "f"};
  CHECK(claims.claim(target, &a));
  CHECK(claims.claim(target, &a));
  CHECK(!claims.claim(target, &b));
  CHECK(claims.claim({1, 2, "g"}, &b));
  claims.release(target, &b);
  CHECK(!claims.claim(target, &b));
  claims.release_all(&a);
  CHECK(claims.claim(target, &b));
}

TEST_CASE("strand: tasks run in order, one at a time, and a full queue refuses") {
  StorageExecutor executor{3};
  Strand strand{executor, 2};
  std::promise<void> gate;
  std::promise<void> started;
  strand.post([&] {
    started.set_value();
    gate.get_future().wait();
  });
  started.get_future().wait();
  std::vector<int> order;
  CHECK(strand.try_post([&] { order.push_back(1); }));
  CHECK(strand.try_post([&] { order.push_back(2); }));
  CHECK(!strand.try_post([&] { order.push_back(99); }));
  gate.set_value();
  for (int i = 3; i < 200; ++i) strand.post([&order, i] { order.push_back(i); });
  std::promise<void> done;
  strand.post([&] { done.set_value(); });
  done.get_future().wait();
  CHECK(order.size() == 199);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("inode set: holds what went in, and nothing else") {
  InodeSet set;
  CHECK(!set.contains(1, 2));
  for (std::uint64_t i = 0; i < 1000; ++i) set.insert(1, i * 7);
  for (std::uint64_t i = 0; i < 7000; ++i) CHECK(set.contains(1, i) == (i % 7 == 0));
  CHECK(!set.contains(2, 7));
}

TEST_CASE("early digests: each is given once, in any order of coming, and never more are kept than allowed") {
  EarlyDigests early{4};
  const auto digest = [](int value) {
    digest::Xxh3 result;
    result.bytes[0] = static_cast<std::byte>(value);
    return result;
  };
  const auto taken = [&](std::uint64_t index) {
    std::vector<std::pair<std::uint64_t, digest::Xxh3>> all;
    early.take(index, [&](std::uint64_t block, const digest::Xxh3& d) { all.emplace_back(block, d); });
    return all;
  };
  early.put(7, 0, digest(1));
  early.put(5, 1, digest(2));
  early.put(5, 0, digest(3));
  early.put(5, 0, digest(4));  // the newer one counts
  CHECK(taken(6).empty());
  CHECK(taken(5) == std::vector<std::pair<std::uint64_t, digest::Xxh3>>{{0, digest(4)}, {1, digest(2)}});
  CHECK(taken(5).empty());
  for (std::uint64_t index = 10; index < 20; ++index) early.put(index, 0, digest(9));
  CHECK(early.size() == 4);
  CHECK(taken(7).size() == 1);
  CHECK(taken(12).size() == 1);
  CHECK(taken(19).empty());
  early.put(19, 0, digest(8));
  CHECK(taken(19).size() == 1);
}

TEST_CASE("block tracker: forgetting a huge run takes no longer than a short one, and digests ahead are bounded") {
  const std::uint64_t size = std::uint64_t{1} << 47;
  BlockTracker blocks{size, {}};
  for (std::uint64_t block = 0; block < 70'000; ++block) blocks.set_source_digest(block, {});
  blocks.forget({0, block_count(size)});
  CHECK(blocks.unverified() == std::vector<BlockRun>{{0, block_count(size)}});
  CHECK(blocks.contiguous() == 0);
}

}  // namespace penstock::storage::test
