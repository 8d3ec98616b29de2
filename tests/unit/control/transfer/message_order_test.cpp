#include "control/transfer/message_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/random.h"

using namespace penstock;
using namespace penstock::control;

namespace {

proto::Envelope numbered(std::uint64_t id, std::size_t size = 1) {
  proto::Envelope envelope;
  envelope.set_id(id);
  envelope.mutable_block_digests()->set_digests(std::string(size, 'x'));
  return envelope;
}

std::vector<std::uint64_t> drain(DualOrder& order) {
  std::vector<std::uint64_t> ids;
  while (auto envelope = order.poll()) ids.push_back(envelope->id());
  return ids;
}

}  // namespace

TEST_CASE("message order: numbers rise by one from one") {
  DualNumbering numbering;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    proto::Envelope envelope;
    numbering.stamp(envelope);
    CHECK(envelope.id() == id);
  }
}

TEST_CASE("message order: each message comes out once and in order, whichever way it took first") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    constexpr std::uint64_t count = 40;
    // The pipe brings a random selection in a random order; TCP brings all in order, at random moments between.
    std::vector<std::uint64_t> pipe;
    for (std::uint64_t id = 1; id <= count; ++id)
      if (rng.chance(2, 3)) pipe.push_back(id);
    for (std::size_t i = pipe.size(); i > 1; --i) std::swap(pipe[i - 1], pipe[rng.below(i)]);
    DualOrder order;
    std::vector<std::uint64_t> seen;
    std::uint64_t tcp = 0;
    while (tcp < count || !pipe.empty()) {
      if (!pipe.empty() && (tcp == count || rng.chance(1, 2))) {
        REQUIRE(order.accept(numbered(pipe.back()), DualOrder::Way::pipe));
        pipe.pop_back();
      } else {
        REQUIRE(order.accept(numbered(++tcp), DualOrder::Way::tcp));
      }
      for (const auto id : drain(order)) seen.push_back(id);
    }
    REQUIRE(seen.size() == count);
    for (std::uint64_t i = 0; i < count; ++i) CHECK(seen[i] == i + 1);
  }
}

TEST_CASE("message order: a gap or a repeat on TCP is the peer's fault") {
  DualOrder gap;
  REQUIRE(gap.accept(numbered(1), DualOrder::Way::tcp));
  CHECK_FALSE(gap.accept(numbered(3), DualOrder::Way::tcp));
  DualOrder repeat;
  REQUIRE(repeat.accept(numbered(1), DualOrder::Way::tcp));
  CHECK_FALSE(repeat.accept(numbered(1), DualOrder::Way::tcp));
}

TEST_CASE("message order: what the pipe brings too early is bounded, and TCP still brings it") {
  SUBCASE("by count") {
    DualOrder order;
    for (std::uint64_t id = 2; id < 2 + 2 * early_messages_max; ++id)
      REQUIRE(order.accept(numbered(id), DualOrder::Way::pipe));
    CHECK(order.waiting() == early_messages_max);
    for (std::uint64_t id = 1; id < 2 + 2 * early_messages_max; ++id) {
      REQUIRE(order.accept(numbered(id), DualOrder::Way::tcp));
      (void)drain(order);
    }
    CHECK(order.waiting() == 0);
  }
  SUBCASE("by bytes") {
    DualOrder order;
    REQUIRE(order.accept(numbered(2, early_bytes_max - 1000), DualOrder::Way::pipe));
    REQUIRE(order.accept(numbered(3, 2000), DualOrder::Way::pipe));
    CHECK(order.waiting() == 1);
  }
}
