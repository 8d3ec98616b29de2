#include "control/session/mark_watch.h"

#include <doctest/doctest.h>

#include <string>

namespace penstock::control {
namespace {

using engine::EcnFault;
using engine::EcnState;
using engine::LaneStats;

LaneStats path_with(EcnState state, EcnFault fault) {
  LaneStats stats;
  stats.ecn = state;
  stats.ecn_fault = fault;
  return stats;
}

TEST_CASE("mark watch: a path on which all is well is no news") {
  MarkWatch watch;
  CHECK(!watch.on_stats(path_with(EcnState::testing, EcnFault::none)));
  CHECK(!watch.on_stats(path_with(EcnState::capable, EcnFault::none)));
}

TEST_CASE("mark watch: marks that can not be used are told once, and why, for each fault in words of its own") {
  std::string before;
  for (const EcnFault fault : {EcnFault::bleached, EcnFault::rewritten, EcnFault::uncounted, EcnFault::impossible,
                               EcnFault::black_hole, EcnFault::all_ce}) {
    MarkWatch watch;
    const auto news = watch.on_stats(path_with(EcnState::failed, fault));
    REQUIRE(news);
    CHECK(*news != before);
    before = *news;
    CHECK(!watch.on_stats(path_with(EcnState::failed, fault)));
  }
}

TEST_CASE("mark watch: another path that is tested anew is told, and what is found there") {
  MarkWatch watch;
  CHECK(watch.on_stats(path_with(EcnState::failed, EcnFault::bleached)));
  CHECK(watch.on_stats(path_with(EcnState::testing, EcnFault::none)));
  CHECK(watch.on_stats(path_with(EcnState::failed, EcnFault::rewritten)));
}

TEST_CASE("mark watch: the first mark of a queue is told at both ends, and no other") {
  for (const bool sender : {true, false}) {
    MarkWatch watch;
    LaneStats stats = path_with(EcnState::capable, EcnFault::none);
    CHECK(!watch.on_stats(stats));
    (sender ? stats.marks_told : stats.marks_received).ce = 1;
    CHECK(watch.on_stats(stats));
    (sender ? stats.marks_told : stats.marks_received).ce = 7;
    CHECK(!watch.on_stats(stats));
  }
}

TEST_CASE("mark watch: a word for the state says the fault too") {
  CHECK(ecn_word(EcnState::capable, EcnFault::none) == "capable");
  CHECK(ecn_word(EcnState::failed, EcnFault::black_hole) == "failed: black hole");
}

TEST_CASE("mark watch: an answer is one word, and none where nothing was found out") {
  CHECK(ecn_answer(EcnState::capable, EcnFault::none) == "usable");
  CHECK(ecn_answer(EcnState::failed, EcnFault::black_hole) == "black_hole");
  for (const EcnState state : {EcnState::off, EcnState::testing, EcnState::unknown})
    CHECK(ecn_answer(state, EcnFault::none).empty());
}

}  // namespace
}  // namespace penstock::control
