#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace penstock::erasure {

// Specification: both ends must agree (dataplane/engine/fec/README.md). Together they are all of GF(2^8).
inline constexpr std::size_t source_symbols_max = 128;
inline constexpr std::size_t repair_symbols_max = 128;
/// ISA-L's kernels want so many bytes; less is not worth a code.
inline constexpr std::size_t symbol_size_min = 64;

/// A source symbol and its slot, below source_symbols_max; or a repair symbol and its index, below repair_symbols_max.
struct Symbol {
  std::uint8_t number = 0;
  const std::byte* bytes = nullptr;
};

/// Systematic Reed-Solomon over GF(2^8) (polynomial 0x11d) with a Cauchy matrix: repair symbol j is the sum over slots
/// i of symbol i / ((128 + j) xor i). Every square part of a Cauchy matrix is invertible, so any e repair symbols
/// recover any e source symbols, from 1 to 128 of each. Slots that are not named count as zero. All symbols of a call
/// have one size. Slots, and indexes, of a call differ from each other. Cost: sources x results x size, at some GB/s
/// for each four to six results; recovery inverts an e x e matrix on top. Memory: tables of 32 bytes a coefficient, 512
/// KiB at most, kept for the next call; recovery e symbols more. Threads: one owner.
class ErasureCode {
 public:
  /// Writes repair symbols first_index.. to `repairs`. Requires: at least one source; size >= symbol_size_min.
  void encode(std::size_t size, std::span<const Symbol> sources, std::uint8_t first_index,
              std::span<std::byte* const> repairs);

  /// Computes the symbols of the slots `missing` from all others of the generation and as many repair symbols.
  /// Requires: missing.size() == repairs.size() == out.size() >= 1; `present` are all other slots that were encoded.
  void recover(std::size_t size, std::span<const Symbol> present, std::span<const Symbol> repairs,
               std::span<const std::uint8_t> missing, std::span<std::byte* const> out);

 private:
  void multiply(std::size_t size, std::size_t sources, std::size_t results);

  std::vector<std::uint8_t> coefficients_;  // of multiply, a row for each result
  std::vector<std::uint8_t> inverse_;
  std::vector<std::uint8_t> tables_;
  std::vector<std::uint8_t*> from_;
  std::vector<std::uint8_t*> to_;
  std::vector<std::byte> syndromes_;
};

/// The coefficient of slot `slot` in repair symbol `index`.
[[nodiscard]] std::uint8_t coefficient(std::uint8_t index, std::uint8_t slot);

}  // namespace penstock::erasure
