#include "control/server/transfer_places.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <utility>

using namespace penstock::control;

TEST_CASE("transfer places: as many are given as there are, and what was given back is given again") {
  TransferPlaces places{2};
  CHECK(places.empty());
  auto first = places.take();
  CHECK_FALSE(places.empty());
  CHECK_FALSE(places.full());
  auto second = places.take();
  CHECK(places.full());
  first.reset();
  CHECK_FALSE(places.full());
  const auto third = places.take();
  CHECK(places.full());
  second.reset();
  CHECK_FALSE(places.empty());
}

TEST_CASE("transfer places: a place is given back once, with its last holder, whatever ends that one") {
  TransferPlaces places{1};
  int heard = 0;
  places.on_given_back = [&heard] { ++heard; };
  try {
    const TransferPlace held = places.take();
    const TransferPlace also = held;
    throw std::runtime_error{"half-way"};
  } catch (const std::runtime_error&) {
    CHECK(heard == 1);
  }
  CHECK(places.empty());

  TransferPlace mine = places.take();
  TransferPlace moved = std::move(mine);
  mine.reset();
  CHECK(places.full());
  moved.reset();
  moved.reset();
  CHECK(heard == 2);
  CHECK(places.empty());
}

TEST_CASE("transfer places: that one was given back is news once") {
  TransferPlaces places{1};
  CHECK_FALSE(places.take_news());
  places.take().reset();
  CHECK(places.take_news());
  CHECK_FALSE(places.take_news());
}
