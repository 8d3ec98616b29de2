#include "tools/output/quantities.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace penstock::tools {
namespace {

/// Two or three digits with a decimal prefix before the unit.
std::string show_scaled(double value, std::string_view unit) {
  static constexpr std::array<std::string_view, 7> prefixes = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t step = 0;
  // 999.5 would be printed as 1000, so it belongs to the next prefix already.
  while (step + 1 < prefixes.size() && value >= 999.5) {
    value /= 1000;
    ++step;
  }
  const int decimals = step == 0 || value >= 9.95 ? 0 : 1;
  return fmt::format("{:.{}f} {}{}", value, decimals, prefixes[step], unit);
}

}  // namespace

std::string show_bytes(std::uint64_t bytes) { return show_scaled(static_cast<double>(bytes), "B"); }

std::string show_rate(std::uint64_t bits_per_second) {
  const auto bits = static_cast<double>(bits_per_second);
  return fmt::format("{} ({})", show_scaled(bits / 8, "B/s"), show_scaled(bits, "bit/s"));
}

std::string show_seconds(std::uint64_t seconds) {
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{:02}h", seconds / 86400, seconds / 3600 % 24);
}

std::string show_share(double share) {
  if (!(share > 0)) return "0 %";
  const double percent = share * 100;
  if (percent < 0.1) return "<0.1 %";
  return fmt::format("{:.{}f} %", percent, percent < 10 ? 1 : 0);
}

}  // namespace penstock::tools
