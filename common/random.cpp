#include "common/random.h"

#include <bit>

#include "common/check.h"

namespace penstock {
namespace {

std::uint64_t splitmix64(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

}  // namespace

Rng::Rng(std::uint64_t seed) {
  // xoshiro must not start at all zeros; four outputs of splitmix64 are never all zero, since it is a bijection.
  for (auto& word : state_) word = splitmix64(seed);
}

std::uint64_t Rng::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Rng::below(std::uint64_t bound) {
  PENSTOCK_CHECK(bound > 0);
  // The 2^64 mod bound lowest draws would favour some results, so they are drawn again.
  const std::uint64_t biased = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t draw = next();
    if (draw >= biased) return draw % bound;
  }
}

std::uint64_t Rng::between(std::uint64_t low, std::uint64_t high) {
  PENSTOCK_CHECK(low <= high);
  const std::uint64_t span = high - low;
  return span == max() ? next() : low + below(span + 1);
}

bool Rng::chance(std::uint64_t numerator, std::uint64_t denominator) { return below(denominator) < numerator; }

void Rng::fill(std::span<std::byte> out) {
  // By shifts: the same on either byte order.
  const auto byte = [](std::uint64_t word, std::size_t i) { return static_cast<std::byte>(word >> (8 * i) & 0xff); };
  for (; out.size() >= 8; out = out.subspan(8)) {
    const std::uint64_t word = next();
    for (std::size_t i = 0; i < 8; ++i) out[i] = byte(word, i);
  }
  if (out.empty()) return;
  const std::uint64_t word = next();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = byte(word, i);
}

Rng Rng::split() { return Rng{next()}; }

}  // namespace penstock
