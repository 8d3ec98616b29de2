#pragma once

#include <cstdint>

namespace penstock::engine {

/// The two low bits of IPv4's TOS and IPv6's traffic class. Source: RFC 3168 section 5.
enum class EcnMark : std::uint8_t {
  none = 0,
  ect1 = 1,  // we send none: RFC 9331 gave it another meaning
  ect0 = 2,  // the sender heeds marks
  ce = 3     // a queue on the way says that it is too long
};

/// Authentic packets of one direction of a lane that arrived so marked: running totals, as the receiver counts and
/// tells. The rest arrived without a mark.
struct EcnCounts {
  std::uint64_t ect0 = 0;
  std::uint64_t ect1 = 0;
  std::uint64_t ce = 0;

  void add(EcnMark mark) {
    if (mark == EcnMark::ect0) ++ect0;
    if (mark == EcnMark::ect1) ++ect1;
    if (mark == EcnMark::ce) ++ce;
  }
  EcnCounts& operator+=(const EcnCounts& other) {
    ect0 += other.ect0;
    ect1 += other.ect1;
    ce += other.ce;
    return *this;
  }
  [[nodiscard]] bool any() const { return (ect0 | ect1 | ce) != 0; }
  bool operator==(const EcnCounts&) const = default;
};

}  // namespace penstock::engine
