#include "tools/cli/values.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "common/escape.h"

namespace penstock::tools {
namespace {

__extension__ using Wide = unsigned __int128;

inline constexpr std::size_t digits_max = 18;          // 10^18 fits 64 bits with room for the checks below
inline constexpr std::size_t fraction_digits_max = 9;  // finer than any rate or time that we can keep
inline constexpr std::uint64_t rate_max_bits = 1'000'000'000'000;
inline constexpr std::uint64_t duration_max_seconds = std::uint64_t{100} * 365 * 24 * 3600;

inline constexpr std::size_t quoted_max = 64;  // of a word that makes no sense

Error usage(std::string message) { return Error{ErrorCode::USAGE, std::move(message)}; }

/// DIGITS[.DIGITS] as an exact fraction, and what follows it.
struct Decimal {
  std::uint64_t numerator = 0;
  std::uint64_t denominator = 1;
  std::string_view rest;
};
std::optional<Decimal> take_decimal(std::string_view text) {
  Decimal out;
  std::size_t at = 0;
  const auto digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  for (; digit(); ++at) out.numerator = out.numerator * 10 + static_cast<std::uint64_t>(text[at] - '0');
  if (at == 0 || at > digits_max) return std::nullopt;
  if (at < text.size() && text[at] == '.') {
    const std::size_t point = at++;
    if (point > digits_max - fraction_digits_max) return std::nullopt;
    for (; digit(); ++at) {
      if (at - point > fraction_digits_max) return std::nullopt;
      out.numerator = out.numerator * 10 + static_cast<std::uint64_t>(text[at] - '0');
      out.denominator *= 10;
    }
    if (at == point + 1) return std::nullopt;
  }
  out.rest = text.substr(at);
  return out;
}

std::optional<std::uint64_t> scale_of(std::string_view unit) {
  if (unit.empty()) return 1;
  if (unit == "k") return 1'000;
  if (unit == "M") return 1'000'000;
  if (unit == "G") return 1'000'000'000;
  if (unit == "T") return 1'000'000'000'000;
  if (unit == "Ki") return KiB;
  if (unit == "Mi") return MiB;
  if (unit == "Gi") return GiB;
  return std::nullopt;
}

}  // namespace

Result<DataRate> parse_rate(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return usage(
        fmt::format("`{}` is not a rate{}; write 500M for 500 Mbit/s, or 60MB for 60 megabytes a second (k M G T are "
                    "powers of 1000, Ki Mi Gi of 1024)",
                    escape_for_display(text, quoted_max), why));
  };
  const auto number = take_decimal(text);
  if (!number) return refuse("");
  std::string_view unit = number->rest;
  const bool bytes = unit.ends_with('B');
  if (bytes) unit.remove_suffix(1);
  const auto scale = scale_of(unit);
  if (!scale) return refuse("");
  const Wide bits = Wide{number->numerator} * *scale * (bytes ? 8U : 1U) / number->denominator;
  if (bits < 8) return refuse(": it is too low");
  if (bits > rate_max_bits) return refuse(": it is above 1 Tbit/s");
  return DataRate::bits_per_second(static_cast<std::uint64_t>(bits));
}

Result<Duration> parse_duration(std::string_view text) {
  const auto refuse = [&] {
    return usage(fmt::format("`{}` is not a time; write it with its unit: 15s, 5m, 24h, or 0",
                             escape_for_display(text, quoted_max)));
  };
  const auto number = take_decimal(text);
  if (!number) return refuse();
  std::uint64_t unit_ns = 0;
  if (number->rest == "us") unit_ns = 1'000;
  if (number->rest == "ms") unit_ns = 1'000'000;
  if (number->rest == "s") unit_ns = 1'000'000'000;
  if (number->rest == "m") unit_ns = 60'000'000'000;
  if (number->rest == "h") unit_ns = 3'600'000'000'000;
  if (number->rest == "d") unit_ns = 86'400'000'000'000;
  if (unit_ns == 0 && !(number->rest.empty() && number->numerator == 0)) return refuse();
  const Wide ns = Wide{number->numerator} * unit_ns / number->denominator;
  if (ns > Wide{duration_max_seconds} * 1'000'000'000) return refuse();
  return Duration{static_cast<Duration::rep>(ns)};
}

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most) {
  const auto number = take_decimal(text);
  if (!number || !number->rest.empty() || number->denominator != 1 || number->numerator < least ||
      number->numerator > most)
    return usage(fmt::format("`{}` is not a number from {} to {}", escape_for_display(text, quoted_max), least, most));
  return number->numerator;
}

}  // namespace penstock::tools
