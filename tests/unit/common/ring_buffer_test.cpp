#include "common/bytes/ring_buffer.h"

#include <doctest/doctest.h>

#include <memory>

#include "tests/printers.h"

namespace penstock::bytes {
namespace {

TEST_CASE("ring buffer: first in, first out, around the end many times") {
  RingBuffer<int> ring{3};
  int pushed = 0;
  int popped = 0;
  for (int round = 0; round < 50; ++round) {
    while (ring.try_push(pushed)) ++pushed;
    CHECK(ring.full());
    CHECK(ring.front() == popped);
    CHECK(ring.back() == pushed - 1);
    CHECK(ring[1] == popped + 1);
    for (int i = 0; i <= round % 3; ++i) CHECK(ring.try_pop() == popped++);
  }
  CHECK(pushed - popped == static_cast<int>(ring.size()));
}

TEST_CASE("ring buffer: a full one refuses and leaves the value with its owner") {
  RingBuffer<std::unique_ptr<int>> ring{1};
  CHECK(ring.try_push(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  CHECK_FALSE(ring.try_push(std::move(second)));
  REQUIRE(second != nullptr);
  CHECK(**ring.try_pop() == 1);
  CHECK(ring.try_push(std::move(second)));
  ring.clear();
  CHECK(ring.empty());
  CHECK_FALSE(ring.try_pop().has_value());
}

}  // namespace
}  // namespace penstock::bytes
