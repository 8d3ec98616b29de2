#include "common/erasure/erasure_code.h"

#include <isa-l/erasure_code.h>

#include <algorithm>

#include "common/check.h"

namespace penstock::erasure {
namespace {

constexpr std::size_t table_size = 32;  // of ISA-L, for each coefficient

// ISA-L takes sources by pointers to non-const and leaves them alone.
std::uint8_t* writable(const std::byte* bytes) {
  return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(bytes));
}

}  // namespace

std::uint8_t coefficient(std::uint8_t index, std::uint8_t slot) {
  return gf_inv(static_cast<unsigned char>((source_symbols_max + index) ^ slot));
}

void ErasureCode::encode(std::size_t size, std::span<const Symbol> sources, std::uint8_t first_index,
                         std::span<std::byte* const> repairs) {
  PENSTOCK_CHECK(!sources.empty() && sources.size() <= source_symbols_max);
  PENSTOCK_CHECK(first_index + repairs.size() <= repair_symbols_max);
  if (repairs.empty()) return;
  coefficients_.clear();
  from_.clear();
  to_.clear();
  for (const Symbol& source : sources) from_.push_back(writable(source.bytes));
  for (std::size_t row = 0; row < repairs.size(); ++row) {
    to_.push_back(reinterpret_cast<std::uint8_t*>(repairs[row]));
    for (const Symbol& source : sources)
      coefficients_.push_back(coefficient(static_cast<std::uint8_t>(first_index + row), source.number));
  }
  multiply(size, sources.size(), repairs.size());
}

void ErasureCode::recover(std::size_t size, std::span<const Symbol> present, std::span<const Symbol> repairs,
                          std::span<const std::uint8_t> missing, std::span<std::byte* const> out) {
  const std::size_t lost = missing.size();
  PENSTOCK_CHECK(lost > 0 && lost == repairs.size() && lost == out.size());
  PENSTOCK_CHECK(lost + present.size() <= source_symbols_max);
  // What is here is taken out of the repair symbols: what is left are sums over the missing ones alone.
  syndromes_.resize(lost * size);
  coefficients_.clear();
  from_.clear();
  to_.clear();
  for (const Symbol& source : present) from_.push_back(writable(source.bytes));
  for (std::size_t row = 0; row < lost; ++row) {
    to_.push_back(reinterpret_cast<std::uint8_t*>(syndromes_.data() + row * size));
    for (const Symbol& source : present) coefficients_.push_back(coefficient(repairs[row].number, source.number));
  }
  if (!present.empty()) {
    multiply(size, present.size(), lost);
  } else {
    std::fill(syndromes_.begin(), syndromes_.end(), std::byte{0});
  }
  for (std::size_t row = 0; row < lost; ++row) {
    std::byte* const sum = syndromes_.data() + row * size;
    const std::byte* const repair = repairs[row].bytes;
    for (std::size_t i = 0; i < size; ++i) sum[i] ^= repair[i];
  }
  // They are solved by the inverse of their own coefficients.
  inverse_.clear();
  for (std::size_t row = 0; row < lost; ++row)
    for (const std::uint8_t slot : missing) inverse_.push_back(coefficient(repairs[row].number, slot));
  coefficients_.assign(lost * lost, 0);
  PENSTOCK_CHECK(gf_invert_matrix(inverse_.data(), coefficients_.data(), static_cast<int>(lost)) == 0);
  from_.assign(to_.begin(), to_.end());
  to_.clear();
  for (std::byte* target : out) to_.push_back(reinterpret_cast<std::uint8_t*>(target));
  multiply(size, lost, lost);
}

void ErasureCode::multiply(std::size_t size, std::size_t sources, std::size_t results) {
  PENSTOCK_CHECK(size >= symbol_size_min && size <= 65536);
  if (tables_.size() < table_size * sources * results) tables_.resize(table_size * sources * results);
  ec_init_tables(static_cast<int>(sources), static_cast<int>(results), coefficients_.data(), tables_.data());
  ec_encode_data(static_cast<int>(size), static_cast<int>(sources), static_cast<int>(results), tables_.data(),
                 from_.data(), to_.data());
}

}  // namespace penstock::erasure
