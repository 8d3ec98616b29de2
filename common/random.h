#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace penstock {

/// Seeded, deterministic random numbers for decisions that must replay (skipped packet numbers, the simulator, tests).
/// Never for keys, tokens or identifiers: those come from crypto/random.h. One seed gives one sequence on any machine;
/// integers only. Source: xoshiro256** (Blackman and Vigna), its state filled by splitmix64.
/// Satisfies std::uniform_random_bit_generator; std::shuffle and the std distributions differ between libraries, so
/// prefer the members. Threads: one owner.
class Rng {
 public:
  using result_type = std::uint64_t;

  explicit Rng(std::uint64_t seed);

  /// 64 uniform bits.
  std::uint64_t next();
  /// Uniform in [0, bound), without modulo bias. Requires: bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [low, high], both included. Requires: low <= high.
  std::uint64_t between(std::uint64_t low, std::uint64_t high);
  /// True in `numerator` of `denominator` cases. Requires: denominator > 0.
  bool chance(std::uint64_t numerator, std::uint64_t denominator);
  void fill(std::span<std::byte> out);
  /// An independent generator, seeded from this one: a part's draws then do not shift another part's sequence.
  Rng split();

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() { return next(); }

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace penstock
