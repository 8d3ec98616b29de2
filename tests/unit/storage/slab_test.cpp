#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "dataplane/storage/slab_pool.h"
#include "dataplane/storage/slab_sink_window.h"

namespace penstock::storage::test {

TEST_CASE("slab pool: every transfer gets its guarantee, and the rest is shared") {
  SlabPool pool{{.shared = 4, .guaranteed = 2, .slabs_max = 64}};
  auto a = pool.open_account();
  auto b = pool.open_account();
  REQUIRE((a && b));
  std::vector<Slab> held;
  while (auto slab = a->take()) held.push_back(std::move(slab));
  CHECK(held.size() == 6);
  CHECK(a->available() == 0);
  CHECK(b->available() == 2);
  CHECK(static_cast<bool>(b->take()));
  CHECK(pool.limit() == 8);
  held.clear();
  CHECK(pool.in_use() == 0);
  CHECK(b->available() == 6);
}

TEST_CASE("slab pool: a long path may take twice its bandwidth-delay product more, within the reservation") {
  SlabPool pool{{.shared = 2, .guaranteed = 2, .slabs_max = 32}};
  auto account = pool.open_account();
  REQUIRE(account);
  account->set_bandwidth_delay_product(5 * MiB);
  CHECK(account->available() == 14);
  account->set_bandwidth_delay_product(MiB / 2 - 1);
  CHECK(account->available() == 4);
  account->set_bandwidth_delay_product(~std::uint64_t{0} / 4);
  CHECK(account->available() == 32);
  account->set_bandwidth_delay_product(0);
  CHECK(account->available() == 4);
}

TEST_CASE("slab pool: accounts that could not be honoured are not opened, slabs may outlive theirs") {
  SlabPool pool{{.shared = 2, .guaranteed = 3, .slabs_max = 8}};
  auto a = pool.open_account();
  auto b = pool.open_account();
  CHECK(!pool.open_account());
  Slab slab = a->take();
  std::memset(slab.bytes().data(), 1, slab.bytes().size());
  a.reset();
  CHECK(!pool.open_account());
  slab.reset();
  CHECK(pool.open_account().has_value());
}

TEST_CASE("slab pool: what a crowd had goes back to the system with its accounts") {
  SlabPool pool{{.shared = 4, .guaranteed = 2, .slabs_max = 64, .idle_kept = 3}};
  {
    std::vector<SlabAccount> crowd;
    std::vector<Slab> held;
    for (int i = 0; i < 20; ++i) crowd.push_back(std::move(*pool.open_account()));
    for (auto& account : crowd) {
      while (auto slab = account.take()) held.push_back(std::move(slab));
    }
    CHECK(pool.resident() == 44);
    CHECK(pool.sharers() == 20);
  }
  CHECK(pool.sharers() == 0);
  CHECK(pool.resident() == 3);
  auto again = pool.open_account();
  CHECK(static_cast<bool>(again->take()));
}

namespace {
struct WindowFixture {
  SlabPool pool{{.shared = 0, .guaranteed = 4, .slabs_max = 4}};
  SlabAccount account = std::move(*pool.open_account());
  std::vector<FilledSlab> handed;
  SlabSinkWindow window{account, [this](FilledSlab slab) { handed.push_back(std::move(slab)); }};
  bool store(std::uint64_t at, std::size_t length, char fill = 'x') {
    const std::string bytes(length, fill);
    return window.store({at}, std::as_bytes(std::span{bytes}));
  }
};
}  // namespace

TEST_CASE("sink window: memory is lent for open slabs only, so that forged headers cost none") {
  WindowFixture at;
  CHECK(at.window.lend({100}, 10).empty());
  CHECK(at.pool.in_use() == 0);
  REQUIRE(at.store(0, 10));
  CHECK(at.window.lend({100}, 10).size() == 10);
  CHECK(at.window.lend({slab_bytes + 5}, 10).empty());
  CHECK(at.window.lend({slab_bytes - 5}, 10).empty());
}

TEST_CASE("sink window: a slab is handed on when it is full, or quiet, or the last one is complete") {
  WindowFixture at;
  REQUIRE(at.store(0, slab_bytes - 1));
  CHECK(at.handed.empty());
  const auto room = at.window.lend({slab_bytes - 1}, 1);
  REQUIRE(room.size() == 1);
  at.window.commit({slab_bytes - 1}, 1);
  REQUIRE(at.handed.size() == 1);
  CHECK(at.handed[0].runs == std::vector<bytes::Interval>{{0, slab_bytes}});

  REQUIRE(at.store(slab_bytes + 7, 3));
  REQUIRE(at.store(slab_bytes + 20, 5));
  at.window.on_quiet();
  REQUIRE(at.handed.size() == 2);
  CHECK(at.handed[1].base.value == slab_bytes);
  CHECK(at.handed[1].runs ==
        std::vector<bytes::Interval>{{slab_bytes + 7, slab_bytes + 10}, {slab_bytes + 20, slab_bytes + 25}});

  REQUIRE(at.store(2 * slab_bytes, 100));
  at.window.finish({2 * slab_bytes + 100});
  CHECK(at.handed.size() == 3);
}

TEST_CASE("sink window: a pause writes what has come and leaves the slab to what credit was granted for") {
  WindowFixture at;
  for (std::uint64_t slab = 0; slab < 2; ++slab) REQUIRE(at.store(slab * slab_bytes, 1000));
  const auto room = at.window.room();
  at.window.on_quiet();
  REQUIRE(at.handed.size() == 2);
  CHECK(at.handed[0].runs == std::vector<bytes::Interval>{{0, 1000}});
  CHECK(at.window.room() == room);
  at.window.on_quiet();
  CHECK(at.handed.size() == 2);  // nothing new
  // No slab is free any more, and all bytes that credit was granted for are taken nevertheless.
  REQUIRE(at.store(1000, slab_bytes - 1000));
  REQUIRE(at.handed.size() == 3);
  CHECK(at.handed[2].runs == std::vector<bytes::Interval>{{1000, slab_bytes}});
  CHECK(at.handed[2].slab == at.handed[0].slab);
  REQUIRE(at.store(slab_bytes + 1000, 500));
  at.window.on_quiet();
  REQUIRE(at.store(slab_bytes + 1500, 500));
  at.window.flush();
  REQUIRE(at.handed.size() == 5);
  CHECK(at.handed[4].runs == std::vector<bytes::Interval>{{slab_bytes + 1500, slab_bytes + 2000}});
  at.handed.clear();
  CHECK(at.pool.in_use() == 0);
}

TEST_CASE("sink window: while it pauses, a lane keeps no more slabs than it is guaranteed") {
  SlabPool pool{{.shared = 20, .guaranteed = 3, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  SlabSinkWindow window{account, [](FilledSlab) {}};
  for (std::uint64_t slab = 0; slab < 8; ++slab) REQUIRE(window.store({slab * slab_bytes}, std::vector<std::byte>(9)));
  CHECK(window.open_slabs() == 8);
  window.on_quiet();
  CHECK(window.open_slabs() == slabs_kept_when_quiet);
  CHECK(pool.in_use() <= 3);
}

TEST_CASE("sink window: what will not come is not waited for, until it is expected again") {
  WindowFixture at;
  at.window.withhold({{10}, {slab_bytes}});
  REQUIRE(at.store(0, 10));
  CHECK(at.handed.size() == 1);
  at.window.expect_again({{10}, {20}});
  REQUIRE(at.store(0, 10));
  CHECK(at.handed.size() == 1);
  REQUIRE(at.store(10, 10));
  CHECK(at.handed.size() == 2);
}

TEST_CASE("sink window: without room nothing is taken, and old slabs make room for new ones") {
  WindowFixture at;
  for (std::uint64_t slab = 0; slab < 4; ++slab) REQUIRE(at.store(slab * slab_bytes, 8));
  CHECK(at.handed.size() == 2);  // at most half stays open
  CHECK(at.handed[0].base.value == 0);
  CHECK(at.window.room() == 0);
  CHECK(!at.store(9 * slab_bytes, 8));
  at.handed.clear();
  CHECK(at.window.room() > 0);
  CHECK(at.store(9 * slab_bytes, 8));
}

TEST_CASE("sink window: what was handed on is kept in memory while it is worth it, and read back to the byte") {
  SlabPool pool{{.shared = 8, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  std::vector<FilledSlab> handed;
  SlabSinkWindow window{account, [&](FilledSlab slab) { handed.push_back(std::move(slab)); }};
  const auto byte_at = [](std::uint64_t at) { return static_cast<std::byte>(at * 31 >> 4); };
  const auto fill = [&](std::uint64_t begin, std::uint64_t end) {
    std::vector<std::byte> bytes;
    for (std::uint64_t at = begin; at < end; ++at) bytes.push_back(byte_at(at));
    return window.store({begin}, bytes);
  };
  REQUIRE(fill(0, slab_bytes));
  CHECK(window.resident({0}, 100).empty());  // nobody asked for it
  window.retain(1 * MiB);
  for (std::uint64_t slab = 1; slab < 5; ++slab) REQUIRE(fill(slab * slab_bytes, (slab + 1) * slab_bytes));
  REQUIRE(fill(5 * slab_bytes + 10, 5 * slab_bytes + 20));  // open still
  CHECK(handed.size() == 5);
  CHECK(window.resident({slab_bytes}, 100).empty());  // three slabs reach over a window of one
  for (const std::uint64_t at : {2 * slab_bytes, 4 * slab_bytes - 50, 5 * slab_bytes + 12}) {
    const auto bytes = window.resident({at}, 100);
    REQUIRE(!bytes.empty());
    CHECK(bytes.size() <= 100);
    for (std::size_t i = 0; i < bytes.size(); ++i) REQUIRE(bytes[i] == byte_at(at + i));
  }
  CHECK(window.resident({4 * slab_bytes - 50}, 100).size() == 50);  // never across a slab
  CHECK(window.resident({5 * slab_bytes + 12}, 100).size() == 8);   // nor beyond what came
  CHECK(window.resident({5 * slab_bytes + 20}, 100).empty());
  handed.clear();
  window.retain(0);
  CHECK(pool.in_use() == 1);
  CHECK(window.resident({4 * slab_bytes}, 100).empty());
}

TEST_CASE("sink window: a slab that was written in two parts is read back from both") {
  SlabPool pool{{.shared = 8, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  SlabSinkWindow window{account, [](FilledSlab) {}};
  window.retain(4 * MiB);
  REQUIRE(window.store({100}, std::vector<std::byte>(50, std::byte{1})));
  window.flush();
  REQUIRE(window.store({150}, std::vector<std::byte>(50, std::byte{2})));
  CHECK(window.resident({100}, 100).size() == 50);
  CHECK(window.resident({100}, 100).front() == std::byte{1});
  CHECK(window.resident({150}, 100).size() == 50);
  CHECK(window.resident({150}, 100).front() == std::byte{2});
}

TEST_CASE("sink window: a pause breaks no slab in two of which repair symbols may speak") {
  SlabPool pool{{.shared = 12, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  std::uint64_t written = 0;
  SlabSinkWindow window{account, [&](const FilledSlab& slab) {
                          for (const auto& run : slab.runs) written += run.size();
                        }};
  window.retain(3 * MiB);
  const std::uint64_t slabs = 5;
  for (std::uint64_t slab = 0; slab < slabs; ++slab)
    REQUIRE(window.store({slab * slab_bytes}, std::vector<std::byte>(1000, std::byte{1})));
  window.on_quiet();
  CHECK(written == slabs * 1000);  // durable all the same
  CHECK(window.open_slabs() == slabs);
  for (std::uint64_t slab = 0; slab < slabs; ++slab)
    REQUIRE(window.store({slab * slab_bytes + 1000}, std::vector<std::byte>(slab_bytes - 1000, std::byte{2})));
  CHECK(written == slabs * slab_bytes);
  for (std::uint64_t slab = 0; slab < slabs; ++slab)
    CHECK(window.resident({slab * slab_bytes}, slab_bytes).size() == slab_bytes);  // in one piece
  window.retain(0);
  CHECK(pool.in_use() == 0);
}

TEST_CASE("sink window: retained slabs are room, and never keep new bytes out") {
  SlabPool pool{{.shared = 4, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  SlabSinkWindow window{account, [](FilledSlab) {}};
  const auto room = window.room();
  window.retain(64 * MiB);
  for (std::uint64_t slab = 0; slab < 20; ++slab) {
    REQUIRE(window.store({slab * slab_bytes}, std::vector<std::byte>(slab_bytes)));
    CHECK(window.room() == room);
    CHECK(account.available() >= retained_slabs_spared);  // for others
  }
  CHECK(!window.resident({19 * slab_bytes}, 1).empty());
  CHECK(window.resident({0}, 1).empty());
}

TEST_CASE("sink window: what a lane retains it takes from its own part, so that no sibling goes without its own") {
  SlabPool pool{{.shared = 10, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account(2));
  SlabSinkWindow first{account, [](FilledSlab) {}, {}, 2};
  SlabSinkWindow second{account, [](FilledSlab) {}, {}, 2};
  const std::uint64_t promised = second.room() / slab_bytes;
  first.retain(64 * MiB);
  for (std::uint64_t slab = 0; slab < 20; ++slab)
    REQUIRE(first.store({slab * slab_bytes}, std::vector<std::byte>(slab_bytes)));
  CHECK(!first.resident({19 * slab_bytes}, 1).empty());
  // All that it has credit for, though its slabs stay with their writer.
  second.retain(0);
  for (std::uint64_t slab = 100; slab < 100 + promised; ++slab)
    REQUIRE(second.store({slab * slab_bytes}, std::vector<std::byte>(1)));
}

TEST_CASE("sink window: what one transfer retains leaves others their windows") {
  SlabPool pool{{.shared = 12, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  SlabAccount other = std::move(*pool.open_account());
  SlabSinkWindow window{account, [](FilledSlab) {}};
  window.retain(std::uint64_t{1} << 30);
  std::uint64_t next = 0;
  const auto fill = [&](std::uint64_t slabs) {
    for (const std::uint64_t end = next + slabs; next < end; ++next)
      REQUIRE(window.store({next * slab_bytes}, std::vector<std::byte>(slab_bytes)));
  };
  fill(20);
  CHECK(account.in_use() == 2 + 12 / 2);  // all of its part, and no more
  CHECK(other.available() == 2 + 12 / 2);
  // What its own path added is its own.
  account.set_bandwidth_delay_product(2 * MiB);
  fill(20);
  CHECK(account.in_use() == 2 + 4 + 12 / 2);
  CHECK(other.available() == 2 + 12 / 2);
  // One more comes: all of them have less, by the next slab, or the next pause.
  const SlabAccount third = std::move(*pool.open_account());
  SUBCASE("the next slab") { fill(1); }
  SUBCASE("the next pause") { window.on_quiet(); }
  CHECK(account.in_use() == 2 + 4 + 12 / 3);
  CHECK(other.available() == 2 + 2 * (12 / 3));
}

TEST_CASE("sink window: a pause keeps no more slabs open for repair than are the transfer's part") {
  SlabPool pool{{.shared = 12, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account());
  const SlabAccount other = std::move(*pool.open_account());
  SlabSinkWindow window{account, [](FilledSlab) {}};
  window.retain(std::uint64_t{1} << 30);
  for (std::uint64_t slab = 0; slab < 12; ++slab) {
    window.on_quiet();  // else it hands on what was touched longest ago, for want of room
    REQUIRE(window.store({slab * slab_bytes}, std::vector<std::byte>(1000)));
  }
  window.on_quiet();
  CHECK(account.in_use() == 2 + 12 / 2);
}

TEST_CASE("sink window: of bytes that went to another lane nothing stays in memory") {
  SlabPool pool{{.shared = 16, .guaranteed = 2, .slabs_max = 64}};
  SlabAccount account = std::move(*pool.open_account(2));
  std::uint64_t written = 0;
  SlabSinkWindow window{account,
                        [&](const FilledSlab& slab) {
                          for (const auto& run : slab.runs) written += run.size();
                        },
                        {},
                        2};
  window.retain(64 * MiB);
  for (std::uint64_t slab = 0; slab < 4; ++slab)
    REQUIRE(window.store({slab * slab_bytes}, std::vector<std::byte>(slab_bytes)));
  REQUIRE(window.store({4 * slab_bytes}, std::vector<std::byte>(1000)));
  REQUIRE(account.in_use() > 1);
  window.hand_on_within({{slab_bytes}, {2 * slab_bytes}});  // an extent
  CHECK(window.resident({slab_bytes}, 1).empty());
  CHECK(!window.resident({2 * slab_bytes}, 1).empty());
  window.hand_on_within({{0}, {transfer_space_max}});  // the lane is dead
  CHECK(written == 4 * slab_bytes + 1000);
  CHECK(account.in_use() == 0);
}

}  // namespace penstock::storage::test
