#include "dataplane/engine/path/mark_ledger.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

/// Sends marked packets from 0 on, for as long as they are to be marked; how many.
std::uint64_t send_test(MarkLedger& marks) {
  std::uint64_t sent = 0;
  while (marks.mark(TimePoint{}) == EcnMark::ect0) {
    marks.on_sent(TimePoint{}, 1, 100ms);
    ++sent;
  }
  return sent;
}

TEST_CASE("mark ledger: marked packets that were acknowledged and counted make the path capable") {
  MarkLedger marks{EcnUse::heeded};
  const std::uint64_t sent = send_test(marks);
  for (std::uint64_t n = 0; n < sent; ++n) marks.on_acked(n, true);
  CHECK(marks.settle({sent}) == 0);
  (void)marks.on_ack({sent - 1}, EcnCounts{.ect0 = sent}, {sent}, false);
  CHECK(marks.validation().state() == EcnState::capable);
}

TEST_CASE("mark ledger: each acknowledged mark counts, so that one that is missing is found out") {
  for (const std::uint64_t told : {0U, 9U}) {
    MarkLedger marks{EcnUse::heeded};
    const std::uint64_t sent = send_test(marks);
    REQUIRE(sent == 10);
    for (std::uint64_t n = 0; n < sent; ++n) marks.on_acked(n, true);
    (void)marks.settle({sent});
    (void)marks.on_ack({sent - 1}, EcnCounts{.ect0 = told}, {sent}, false);
    CHECK(marks.validation().fault() == EcnFault::bleached);
  }
}

TEST_CASE("mark ledger: lost marks excuse themselves when an unmarked packet behind them passed, and only then") {
  for (const bool passed : {false, true}) {
    MarkLedger marks{EcnUse::heeded};
    const std::uint64_t sent = send_test(marks);
    for (std::uint64_t n = 0; n < sent; ++n) marks.on_lost(n, true);
    if (passed) marks.on_acked(sent, false);
    CHECK(marks.settle({sent + 1}) == (passed ? sent : 0));
    CHECK((marks.validation().fault() == EcnFault::black_hole) == passed);
  }
}

TEST_CASE("mark ledger: an unmarked packet that is lost says nothing of marks") {
  MarkLedger marks{EcnUse::heeded};
  const std::uint64_t sent = send_test(marks);
  for (std::uint64_t n = sent; n < 3 * sent; ++n) marks.on_lost(n, false);
  marks.on_acked(3 * sent, false);
  CHECK(marks.settle({3 * sent + 1}) == 0);
  CHECK(marks.validation().fault() == EcnFault::none);
}

TEST_CASE("mark ledger: what one input told is not told again") {
  MarkLedger marks{EcnUse::heeded};
  const std::uint64_t sent = send_test(marks);
  for (std::uint64_t n = 0; n + 1 < sent; ++n) marks.on_acked(n, true);
  (void)marks.settle({sent});
  (void)marks.settle({sent});
  (void)marks.on_ack({sent - 2}, EcnCounts{.ect0 = sent - 1}, {sent}, false);
  CHECK(marks.validation().state() == EcnState::capable);  // counted twice they would be bleached
}

TEST_CASE("mark ledger: on another path nothing counts that was sent on the one before") {
  MarkLedger marks{EcnUse::heeded};
  const std::uint64_t sent = send_test(marks);
  for (std::uint64_t n = 0; n < sent; ++n) marks.on_acked(n, true);  // not yet settled
  marks.restart({sent});
  for (std::uint64_t n = 0; n < sent; ++n) {
    marks.on_acked(n, true);
    marks.on_lost(n, true);
  }
  CHECK(marks.settle({sent}) == 0);
  CHECK(send_test(marks) == sent);
  marks.on_acked(sent, true);
  (void)marks.settle({2 * sent});
  (void)marks.on_ack({sent}, EcnCounts{.ect0 = 1}, {2 * sent}, false);
  CHECK(marks.validation().state() == EcnState::capable);
}

TEST_CASE("mark ledger: who heeds no marks sends none") {
  MarkLedger marks{EcnUse::none};
  CHECK(marks.mark(TimePoint{}) == EcnMark::none);
}

}  // namespace
}  // namespace penstock::engine
