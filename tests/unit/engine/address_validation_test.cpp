#include "dataplane/engine/path/address_validation.h"

#include <doctest/doctest.h>

#include <chrono>

namespace penstock::engine {
namespace {

using namespace std::chrono_literals;

constexpr PathData question{std::byte{1}, std::byte{2}, std::byte{3}};
constexpr PathData nonsense{std::byte{9}};
constexpr std::uint64_t size = 40;
constexpr Duration repeat = 100ms;

TEST_CASE("address validation: the right answer moves the peer, a wrong one, or one to nothing, does not") {
  AddressValidation address;
  TimePoint now{5s};
  CHECK_FALSE(address.on_response(now, question));
  REQUIRE(address.propose(now, AddressChange::host, question, 1200));
  CHECK(address.challenge_due(now, size) == question);
  address.on_challenge_sent(now, size, repeat);
  CHECK_FALSE(address.challenge_due(now, size));
  CHECK_FALSE(address.on_response(now, nonsense));
  CHECK(address.asking());
  const auto move = address.on_response(now, question);
  REQUIRE(move);
  CHECK(move->change == AddressChange::host);
  CHECK_FALSE(address.asking());
  CHECK_FALSE(address.on_response(now, question));  // once
  CHECK_FALSE(address.deadline());
}

TEST_CASE("address validation: one address at a time, and one move a second") {
  AddressValidation address;
  TimePoint now{5s};
  REQUIRE(address.propose(now, AddressChange::port, question, 1200));
  CHECK_FALSE(address.propose(now, AddressChange::port, nonsense, 1200));
  CHECK_FALSE(address.on_response(now, question));  // which was never asked
  address.on_challenge_sent(now, size, repeat);
  REQUIRE(address.on_response(now, question));
  CHECK_FALSE(address.propose(now + 999ms, AddressChange::port, question, 1200));
  CHECK(address.propose(now + 1s, AddressChange::port, question, 1200));
}

TEST_CASE("address validation: the answer tells the round trip, as exactly as the challenge's repeats let it") {
  AddressValidation address;
  TimePoint now{5s};
  REQUIRE(address.propose(now, AddressChange::host, question, 1200));
  address.on_challenge_sent(now, size, repeat);
  const auto once = address.on_response(now + 30ms, question);
  REQUIRE(once);
  CHECK(once->rtt_least == 30ms);
  CHECK(once->rtt_most == 30ms);

  now += 2s;
  REQUIRE(address.propose(now, AddressChange::host, question, 1200));
  for (const Duration after : {0ms, 100ms, 200ms}) address.on_challenge_sent(now + after, size, repeat);
  const auto repeated = address.on_response(now + 250ms, question);
  REQUIRE(repeated);
  CHECK(repeated->rtt_least == 50ms);
  CHECK(repeated->rtt_most == 250ms);
}

TEST_CASE("address validation: asked five times and given up, so that another address may be proposed") {
  AddressValidation address;
  TimePoint now{5s};
  REQUIRE(address.propose(now, AddressChange::port, question, 1200));
  int asked = 0;
  while (address.deadline()) {
    now = *address.deadline();
    address.on_deadline(now, size, repeat);
    if (!address.challenge_due(now, size)) continue;
    address.on_challenge_sent(now, size, repeat);
    ++asked;
  }
  CHECK(asked == 5);
  CHECK(now == TimePoint{5s} + 5 * repeat);
  CHECK_FALSE(address.on_response(now, question));
  CHECK(address.propose(now, AddressChange::port, nonsense, 1200));
}

TEST_CASE("address validation: no more than three times what came leaves, and it ends all the same") {
  AddressValidation address;
  TimePoint now{5s};
  REQUIRE(address.propose(now, AddressChange::port, question, 30));  // 90 bytes
  std::uint64_t sent = 0;
  for (int turns = 0; address.deadline(); ++turns) {
    REQUIRE(turns < 100);
    now = *address.deadline();
    address.on_deadline(now, size, repeat);
    if (!address.challenge_due(now, size)) continue;
    address.on_challenge_sent(now, size, repeat);
    sent += size;
  }
  CHECK(sent == 80);
  CHECK_FALSE(address.asking());
  REQUIRE(address.propose(now, AddressChange::port, question, 10));
  CHECK_FALSE(address.challenge_due(now, size));
  address.on_bytes_received(4);
  CHECK(address.challenge_due(now, size));
}

}  // namespace
}  // namespace penstock::engine
