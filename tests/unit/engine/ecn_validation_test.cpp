#include "dataplane/engine/path/ecn_validation.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/random.h"

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

constexpr Duration probe_timeout = 100ms;

/// A sender, a path, and a peer that counts, one datagram after the other.
struct Path {
  EcnValidation ecn{EcnUse::heeded};
  TimePoint now{};
  std::uint64_t next = 0;
  EcnCounts counted;
  std::uint64_t excused = 0;
  bool queueing = false;
  EcnValidation::Signal last;

  /// One datagram that arrives as `arrives` would have it, and its ACK.
  void pass(EcnMark (*arrives)(EcnMark)) {
    const bool marked = send();
    counted.add(arrives(marked ? EcnMark::ect0 : EcnMark::none));
    ack(next - 1, marked, counted);
  }
  bool send() {
    const bool marked = ecn.marks(now);
    if (marked) ecn.on_marked_sent(now, 1, probe_timeout);
    ++next;
    now += 1ms;
    return marked;
  }
  void ack(std::uint64_t number, bool marked, std::optional<EcnCounts> counts) {
    EcnValidation::Tidings news;
    if (number >= ecn.first().value) {
      news.marked_acked = marked ? 1 : 0;
      (marked ? news.newest_marked_acked : news.newest_plain_acked) = number;
    }
    excused += ecn.on_tidings(news, {next});
    last = ecn.on_ack({number}, counts, {next}, queueing);
  }
  void lose(std::uint64_t number) {
    if (number < ecn.first().value) return;
    excused += ecn.on_tidings({.marked_lost = 1, .oldest_marked_lost = number}, {next});
  }
};

EcnMark honest(EcnMark mark) { return mark; }
EcnMark bleaching(EcnMark) { return EcnMark::none; }
EcnMark congested(EcnMark mark) { return mark == EcnMark::none ? mark : EcnMark::ce; }
EcnMark rewriting(EcnMark mark) { return mark == EcnMark::none ? mark : EcnMark::ect1; }

TEST_CASE("ecn: ten packets are marked, and all once an acknowledgement shows that marks arrive") {
  Path path;
  for (int i = 0; i < 30; ++i) CHECK(path.send() == (i < 10));
  CHECK(path.ecn.state() == EcnState::unknown);
  path.counted.ect0 = 1;
  path.ack(0, true, path.counted);
  CHECK(path.ecn.state() == EcnState::capable);
  CHECK(path.send());
}

TEST_CASE("ecn: who heeds no marks sends none") {
  EcnValidation ecn{EcnUse::none};
  CHECK(!ecn.marks({}));
  ecn.restart({5});
  CHECK(!ecn.marks({}));
  CHECK(ecn.state() == EcnState::off);
}

TEST_CASE("ecn: who only asks about the path marks ten packets at most, and knows what became of them") {
  for (const bool passes : {true, false}) {
    Path path;
    path.ecn = EcnValidation{EcnUse::tested};
    for (int i = 0; i < 30; ++i) CHECK(path.send() == (i < 10));
    path.counted.add(passes ? EcnMark::ect0 : EcnMark::ect1);
    path.ack(0, true, path.counted);
    CHECK(path.ecn.state() == (passes ? EcnState::capable : EcnState::failed));
    CHECK_FALSE(path.send());
  }
}

TEST_CASE("ecn: a test that nothing answers ends after three probe time-outs") {
  Path path;
  CHECK(path.send());
  path.now += 3 * probe_timeout;
  CHECK(!path.send());
}

TEST_CASE("ecn: a path that bleaches, or rewrites, is found out, and nothing more is marked") {
  for (const auto& [arrives, fault] :
       {std::pair{&bleaching, EcnFault::uncounted}, std::pair{&rewriting, EcnFault::rewritten}}) {
    Path path;
    for (int i = 0; i < 20; ++i) {
      // A receiver that never saw a mark says nothing about marks.
      const bool marked = path.send();
      path.counted.add(arrives(marked ? EcnMark::ect0 : EcnMark::none));
      path.ack(path.next - 1, marked, path.counted.any() ? std::optional{path.counted} : std::nullopt);
    }
    CHECK(path.ecn.state() == EcnState::failed);
    CHECK(path.ecn.fault() == fault);
    CHECK(!path.send());
  }
}

TEST_CASE("ecn: marks that vanish later, even one, are found out with the next acknowledgement") {
  Path path;
  for (int i = 0; i < 100; ++i) path.pass(honest);
  REQUIRE(path.ecn.state() == EcnState::capable);
  path.pass(bleaching);
  CHECK(path.ecn.fault() == EcnFault::bleached);
}

TEST_CASE("ecn: acknowledgements that overtake each other accuse nobody") {
  Rng luck{3};
  for (int round = 0; round < 200; ++round) {
    Path path;
    struct Told {
      std::uint64_t largest;
      std::vector<std::uint64_t> news;
      EcnCounts counts;
    };
    std::vector<Told> told;
    for (int i = 0; i < 40; ++i) {
      const bool marked = path.send();
      if (marked) path.counted.add(luck.chance(1, 5) ? EcnMark::ce : EcnMark::ect0);
      told.push_back({path.next - 1, {path.next - 1}, path.counted});
      if (luck.chance(1, 3)) continue;
      while (!told.empty()) {
        const std::size_t pick = luck.below(told.size());
        path.ack(told[pick].largest, told[pick].largest < 10 || path.ecn.state() == EcnState::capable,
                 told[pick].counts);
        told.erase(told.begin() + static_cast<std::ptrdiff_t>(pick));
        REQUIRE(path.ecn.state() != EcnState::failed);
      }
    }
  }
}

TEST_CASE("ecn: a peer that counts more than was sent, or less than before, gains nothing") {
  Path path;
  for (int i = 0; i < 20; ++i) path.pass(honest);
  REQUIRE(path.ecn.state() == EcnState::capable);
  SUBCASE("more") {
    path.counted.ce += 1000;
    path.pass(honest);
    CHECK(path.ecn.fault() == EcnFault::impossible);
    CHECK(path.last.ce == 0);
  }
  SUBCASE("as much as there is") {
    path.counted = {.ect0 = ~std::uint64_t{0} >> 16, .ect1 = 0, .ce = ~std::uint64_t{0} >> 16};
    path.pass(honest);
    CHECK(path.ecn.fault() == EcnFault::impossible);
  }
  SUBCASE("less") {
    path.pass(congested);
    CHECK(path.last.ce == 1);
    const EcnCounts before = path.counted;
    path.counted.ce = 0;
    path.pass(honest);
    // One mark is missing now: what was told once stays told.
    CHECK(path.ecn.counts().ce == before.ce);
    path.pass(honest);
    path.counted.ce = 1;
    path.pass(honest);
    CHECK(path.last.ce == 0);  // and is not told again
  }
}

TEST_CASE("ecn: each packet that met a queue is told of once") {
  Path path;
  for (int i = 0; i < 10; ++i) path.pass(honest);
  path.pass(congested);
  CHECK(path.last.ce == 1);
  CHECK(path.last.begins);
  path.pass(honest);
  CHECK(path.last.ce == 0);
  path.pass(congested);
  CHECK(path.last.begins);
  path.pass(congested);
  CHECK(path.last.ce == 1);
  CHECK(!path.last.begins);
}

TEST_CASE("ecn: marks of the test count once the path has shown that it carries them") {
  Path path;
  for (int i = 0; i < 10; ++i) path.send();
  path.counted = {.ect0 = 1, .ect1 = 0, .ce = 2};
  for (std::uint64_t n = 0; n < 3; ++n)
    (void)path.ecn.on_tidings({.marked_acked = 1, .newest_marked_acked = n}, {path.next});
  const auto signal = path.ecn.on_ack({2}, path.counted, {path.next}, false);
  CHECK(path.ecn.state() == EcnState::capable);
  CHECK(signal.ce == 2);
}

TEST_CASE("ecn: a path that swallows marked packets is found when unmarked ones pass, not before") {
  Path path;
  for (int i = 0; i < 30; ++i) path.send();
  for (std::uint64_t n = 0; n < 10; ++n) path.lose(n);
  CHECK(path.ecn.state() == EcnState::unknown);  // an outage, for all we know
  CHECK(path.excused == 0);
  path.ack(12, false, std::nullopt);
  CHECK(path.ecn.fault() == EcnFault::black_hole);
  CHECK(path.excused == 10);
}

TEST_CASE("ecn: a transfer of two packets learns of a black hole as well") {
  Path path;
  path.send();
  path.send();
  path.now += 3 * probe_timeout;
  CHECK(!path.send());
  path.lose(0);
  path.lose(1);
  path.ack(2, false, std::nullopt);
  CHECK(path.ecn.fault() == EcnFault::black_hole);
}

TEST_CASE("ecn: after an outage a capable path is tested again, and used again") {
  Path path;
  for (int i = 0; i < 20; ++i) path.pass(honest);
  const std::uint64_t first_lost = path.next;
  for (int i = 0; i < 15; ++i) path.send();
  const std::uint64_t probe = path.next++;
  for (std::uint64_t n = first_lost; n < probe; ++n) path.lose(n);
  path.ack(probe, false, path.counted);
  CHECK(path.ecn.state() == EcnState::testing);
  for (int i = 0; i < 20; ++i) path.pass(honest);
  CHECK(path.ecn.state() == EcnState::capable);
}

TEST_CASE("ecn: marked packets that chance takes are no black hole") {
  Path path;
  for (int i = 0; i < 20; ++i) path.pass(honest);
  for (int i = 0; i < 200; ++i) {
    path.send();
    path.lose(path.next - 1);
    if (i % 5 == 4) path.pass(honest);
    const std::uint64_t plain = path.next++;
    path.ack(plain, false, path.counted);
  }
  CHECK(path.ecn.state() == EcnState::capable);
}

TEST_CASE("ecn: where nothing but congestion is told of for six round trips, all of it is withdrawn") {
  Path path;
  int told = 0;
  while (path.ecn.state() != EcnState::failed && path.next < 1000) {
    path.pass(congested);
    if (path.last.ce > 0) {
      CHECK(path.last.begins == (told == 0));
      ++told;
    }
  }
  CHECK(path.ecn.fault() == EcnFault::all_ce);
  CHECK(path.last.withdrawn);
  CHECK(told >= 6);
  CHECK(path.next < 60);
}

TEST_CASE("ecn: congestion that the round trip tells of as well is believed for as long as it lasts") {
  Path path;
  path.queueing = true;
  for (int i = 0; i < 1000; ++i) path.pass(congested);
  CHECK(path.ecn.state() == EcnState::capable);
}

TEST_CASE("ecn: one packet in twenty that met no queue keeps a path") {
  Path path;
  for (int i = 0; i < 2000; ++i) path.pass(i % 20 == 0 ? honest : congested);
  CHECK(path.ecn.state() == EcnState::capable);
}

TEST_CASE("ecn: another path is tested from scratch, and late counts of the old one accuse nobody") {
  Path path;
  for (int i = 0; i < 20; ++i) path.pass(honest);
  path.pass(bleaching);
  REQUIRE(path.ecn.state() == EcnState::failed);
  path.ecn.restart({path.next});
  CHECK(path.ecn.state() == EcnState::testing);
  CHECK(path.ecn.fault() == EcnFault::none);
  for (int i = 0; i < 30; ++i) path.pass(honest);
  CHECK(path.ecn.state() == EcnState::capable);
}

}  // namespace
}  // namespace penstock::engine
