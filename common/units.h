#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "common/time.h"

namespace penstock {

inline constexpr std::uint64_t KiB = 1024;
inline constexpr std::uint64_t MiB = 1024 * KiB;
inline constexpr std::uint64_t GiB = 1024 * MiB;

/// Position of a packet in one direction of one lane; never reset, never reused (PROTOCOL section 2).
struct PacketNumber {
  std::uint64_t value = 0;
  auto operator<=>(const PacketNumber&) const = default;
};

/// Byte position in the linear transfer space, in which the files of one session lie end to end. 48 bits on the wire.
struct TransferOffset {
  std::uint64_t value = 0;
  auto operator<=>(const TransferOffset&) const = default;
};
inline constexpr std::uint64_t transfer_space_max = (std::uint64_t{1} << 48) - 1;

constexpr TransferOffset operator+(TransferOffset at, std::uint64_t bytes) { return {at.value + bytes}; }
/// Requires: `to >= from`.
constexpr std::uint64_t operator-(TransferOffset to, TransferOffset from) { return to.value - from.value; }

/// Half-open run [begin, end) of transfer space.
struct TransferRange {
  TransferOffset begin;
  TransferOffset end;
  [[nodiscard]] constexpr std::uint64_t size() const { return end - begin; }
  [[nodiscard]] constexpr bool empty() const { return begin == end; }
  auto operator<=>(const TransferRange&) const = default;
};

/// Generation of a direction's packet protection keys; two low bits on the wire.
struct KeyEpoch {
  std::uint32_t value = 0;
  auto operator<=>(const KeyEpoch&) const = default;
};

/// Names (session, lane) at its receiver; random and unique there.
struct ConnectionId {
  std::uint64_t value = 0;
  auto operator<=>(const ConnectionId&) const = default;
};

/// Bits on the wire per second; decimal, as rates are.
class DataRate {
 public:
  constexpr DataRate() = default;
  static constexpr DataRate bits_per_second(std::uint64_t n) { return DataRate{n}; }
  static constexpr DataRate bytes_per_second(std::uint64_t n) { return DataRate{n * 8}; }
  static constexpr DataRate megabits_per_second(std::uint64_t n) { return DataRate{n * 1'000'000}; }

  [[nodiscard]] constexpr std::uint64_t bits_per_second() const { return bits_; }
  [[nodiscard]] constexpr std::uint64_t bytes_per_second() const { return bits_ / 8; }
  /// Time that `bytes` take at this rate. Requires: a rate above zero.
  [[nodiscard]] constexpr Duration time_for(std::uint64_t bytes) const {
    __extension__ using Wide = unsigned __int128;  // bytes x 8 x 10^9 passes 2^64 from 2.3 GB on
    return Duration{static_cast<Duration::rep>(Wide{bytes} * 8 * 1'000'000'000 / bits_)};
  }
  /// Bytes that pass in `time` (not negative) at this rate.
  [[nodiscard]] constexpr std::uint64_t bytes_in(Duration time) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(Wide{bits_} * static_cast<std::uint64_t>(time.count()) / 8 / 1'000'000'000);
  }
  auto operator<=>(const DataRate&) const = default;

 private:
  explicit constexpr DataRate(std::uint64_t bits) : bits_(bits) {}
  std::uint64_t bits_ = 0;
};

}  // namespace penstock
