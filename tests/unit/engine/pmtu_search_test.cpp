#include "dataplane/engine/path/pmtu_search.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "common/random.h"

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 300ms;
constexpr Duration round_trip = 100ms;

/// A path that carries datagrams up to `limit`; each probe's fate is known a round trip later.
struct Path {
  explicit Path(const PmtuSearch::Config& config, std::size_t limit) : search(config), carries(limit) {}

  /// Round trips until nothing is tried any more.
  int settle(int most = 200) {
    int rounds = 0;
    for (; !search.settled() && rounds < most; ++rounds) round();
    return rounds;
  }
  void round() {
    if (const auto size = search.probe_due(now)) {
      const PacketNumber sent = number;
      ++number.value;
      tried.push_back(*size);
      search.on_probe_sent(now, sent, patience);
      now += round_trip;
      if (*size <= carries && !luck.chance(loss_percent, 100))
        search.on_probe_acked(now, sent, *size);
      else
        search.on_probe_lost(now, sent);
    } else {
      now += round_trip;
    }
  }

  PmtuSearch search;
  std::size_t carries;
  std::uint64_t loss_percent = 0;
  Rng luck{1};
  TimePoint now{1s};
  PacketNumber number{0};
  std::vector<std::size_t> tried;
};

constexpr PmtuSearch::Config ethernet{.start = 1200, .ceiling = 1472, .likely = 1472};
constexpr PmtuSearch::Config jumbo{.start = 1200, .ceiling = 8972, .likely = 1472};

PmtuSearch::Tidings large_lost(std::uint64_t oldest, std::uint64_t count) {
  PmtuSearch::Tidings news;
  news.lost = news.large_lost = count;
  news.oldest_large_lost = oldest;
  return news;
}
PmtuSearch::Tidings small_acked(std::uint64_t number) {
  PmtuSearch::Tidings news;
  news.acked = 1;
  news.newest_small_acked = number;
  return news;
}
PmtuSearch::Tidings large_acked(std::uint64_t number) {
  PmtuSearch::Tidings news;
  news.acked = 1;
  news.newest_large_acked = number;
  return news;
}

TEST_CASE("pmtu search: one round trip finds the usual path, two a jumbo one") {
  Path usual(ethernet, 1472);
  CHECK(usual.search.size() == 1200);
  CHECK(usual.settle() == 1);
  CHECK(usual.search.size() == 1472);
  Path large(jumbo, 8972);
  CHECK(large.settle() == 2);
  CHECK(large.search.size() == 8972);
  CHECK(large.tried == std::vector<std::size_t>{1472, 8972});
}

TEST_CASE("pmtu search: whatever the path carries is found to within 8 bytes, and never exceeded") {
  for (std::size_t carries = 1200; carries <= 1472; ++carries) {
    Path path(ethernet, carries);
    const int rounds = path.settle();
    CAPTURE(carries);
    CHECK(path.search.size() <= carries);
    CHECK(path.search.size() + 8 > carries);
    CHECK(rounds <= 25);
  }
  for (std::size_t carries = 1400; carries <= 8972; carries += 97) {
    Path path(jumbo, carries);
    const int rounds = path.settle();
    CAPTURE(carries);
    CHECK(path.search.size() <= carries);
    CHECK(path.search.size() + 8 > carries);
    CHECK(rounds <= 45);
  }
}

TEST_CASE("pmtu search: a path of the base size alone is no failure, and every size is tried three times at most") {
  Path path(ethernet, 1200);
  path.settle();
  CHECK(path.search.size() == 1200);
  for (const std::size_t size : path.tried) CHECK(std::count(path.tried.begin(), path.tried.end(), size) <= 3);
}

TEST_CASE("pmtu search: with base and ceiling equal nothing is searched") {
  PmtuSearch search({.start = 1472, .ceiling = 1472, .likely = 1472});
  CHECK(search.settled());
  CHECK_FALSE(search.probe_due(TimePoint{1s}));
  CHECK_FALSE(search.on_tidings(large_lost(1, 1000), {2000}));
  CHECK_FALSE(search.on_tidings(small_acked(1999), {2000}));
  CHECK(search.size() == 1472);
}

TEST_CASE("pmtu search: a ceiling below the likely size is respected") {
  Path path({.start = 1200, .ceiling = 1252, .likely = 1472}, 9000);
  path.settle();
  CHECK(path.search.size() == 1252);
  CHECK(*std::max_element(path.tried.begin(), path.tried.end()) == 1252);
}

TEST_CASE("pmtu search: the more a path loses by chance, the more probes it takes to condemn a size") {
  PmtuSearch search(ethernet);
  CHECK(search.tries() == 3);
  (void)search.on_tidings({.acked = 900, .lost = 9}, {1000});
  CHECK(search.tries() == 3);
  (void)search.on_tidings({.acked = 0, .lost = 220}, {1300});
  CHECK(search.tries() == 5);  // 0.2 ^ 5 = 3 in 10 000
  (void)search.on_tidings({.acked = 0, .lost = 100'000}, {200'000});
  CHECK(search.tries() == 12);
}

TEST_CASE("pmtu search: at 20 % loss of probes the size is found all the same, nearly always at once") {
  int missed = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    Path path(ethernet, 1472);
    path.loss_percent = 20;
    path.luck = Rng{seed};
    (void)path.search.on_tidings({.acked = 80, .lost = 20}, {100});
    path.number = {100};
    path.settle();
    if (path.search.size() != 1472) ++missed;
  }
  CHECK(missed <= 3);
}

TEST_CASE(
    "pmtu search: a size condemned is tried again after a while, ever more seldom, and found when the path has grown") {
  Path path(ethernet, 1400);
  path.settle();
  const std::size_t found = path.search.size();
  REQUIRE(found <= 1400);
  const auto first_try = path.tried.size();
  const TimePoint settled_at = path.now;
  while (path.search.settled() && path.now < settled_at + 60s) {
    path.now += 100ms;
    if (path.search.probe_due(path.now)) break;
  }
  CHECK(path.now - settled_at >= 10s);
  CHECK(path.now - settled_at <= 11s);
  path.settle();
  CHECK(path.search.size() >= found);
  CHECK(path.tried.size() > first_try);
  path.carries = 1472;
  for (int i = 0; i < 2000 && path.search.size() != 1472; ++i) path.round();
  CHECK(path.search.size() == 1472);
}

TEST_CASE(
    "pmtu search: a probe of which nothing is heard counts as lost in time, and its late ACK counts all the same") {
  PmtuSearch search(ethernet);
  TimePoint now{1s};
  REQUIRE(search.probe_due(now));
  search.on_probe_sent(now, {7}, patience);
  CHECK_FALSE(search.probe_due(now));  // one at a time
  REQUIRE(search.deadline());
  CHECK(*search.deadline() == now + patience);
  search.on_deadline(now);  // early: harmless
  CHECK(search.probes_lost() == 0);
  now += patience;
  search.on_deadline(now);
  CHECK(search.probes_lost() == 1);
  CHECK_FALSE(search.deadline());
  REQUIRE(search.probe_due(now));
  search.on_probe_sent(now, {9}, patience);
  search.on_probe_acked(now, {7}, 1472);
  CHECK(search.size() == 1472);
}

TEST_CASE("pmtu search: larger ones lost in a row while a smaller one passes are a black hole") {
  Path path(ethernet, 1472);
  path.settle();
  CHECK_FALSE(path.search.on_tidings(large_lost(100, 7), {200}));
  CHECK_FALSE(path.search.on_tidings(small_acked(150), {200}));
  CHECK(path.search.size() == 1472);
  CHECK(path.search.on_tidings(large_lost(160, 1), {200}));
  CHECK(path.search.size() == 1200);
  CHECK(path.search.black_holes() == 1);
  // And the search begins anew.
  path.number = {200};
  path.carries = 1300;
  path.settle();
  CHECK(path.search.size() <= 1300);
  CHECK(path.search.size() > 1292);
}

TEST_CASE("pmtu search: an outage is no black hole, nor are losses that a larger one has overtaken") {
  Path path(ethernet, 1472);
  path.settle();
  CHECK_FALSE(path.search.on_tidings(large_lost(100, 1000), {2000}));  // nothing passes
  CHECK_FALSE(path.search.on_tidings(small_acked(99), {2000}));        // sent before
  CHECK_FALSE(path.search.on_tidings(large_acked(1500), {2000}));
  CHECK_FALSE(path.search.on_tidings(small_acked(1600), {2000}));
  CHECK(path.search.size() == 1472);
}

TEST_CASE("pmtu search: a probe sent before a black hole says nothing about the path after it") {
  Path path(jumbo, 1472);
  path.round();
  REQUIRE(path.search.size() == 1472);
  const auto size = path.search.probe_due(path.now);
  REQUIRE(size);
  path.search.on_probe_sent(path.now, {50}, patience);
  (void)path.search.on_tidings(large_lost(60, 8), {100});
  REQUIRE(path.search.on_tidings(small_acked(80), {100}));
  path.search.on_probe_acked(path.now, {50}, *size);
  CHECK(path.search.size() == 1200);
}

}  // namespace
}  // namespace penstock::engine
