#include "control/gate/fec_words.h"

#include <algorithm>
#include <charconv>

#include "common/erasure/erasure_code.h"

namespace penstock::control {

std::optional<engine::Fec> fec_named(std::string_view name) {
  if (name == "off") return engine::Fec{};
  if (name == "auto") return engine::Fec{.mode = engine::FecMode::automatic};
  const auto comma = name.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view digits) -> std::optional<std::uint8_t> {
    unsigned value = 0;
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (fault != std::errc{} || end != digits.data() + digits.size() || value == 0 ||
        value > erasure::source_symbols_max)
      return std::nullopt;
    return static_cast<std::uint8_t>(value);
  };
  static_assert(erasure::source_symbols_max == erasure::repair_symbols_max);
  const auto sources = number(name.substr(0, comma));
  const auto repairs = number(name.substr(comma + 1));
  if (!sources || !repairs) return std::nullopt;
  return engine::Fec{.mode = engine::FecMode::fixed, .sources = *sources, .repairs = *repairs};
}

std::string fec_name(const engine::Fec& fec) {
  switch (fec.mode) {
    case engine::FecMode::off:
      return "off";
    case engine::FecMode::automatic:
      return "auto";
    case engine::FecMode::fixed:
      break;
  }
  return std::to_string(fec.sources) + "," + std::to_string(fec.repairs);
}

Result<engine::Fec> fec_for(const engine::Fec& wanted, const Agreement& agreement) {
  if (std::ranges::find(agreement.capabilities, capability_fec) != agreement.capabilities.end()) return wanted;
  if (wanted.mode != engine::FecMode::fixed) return engine::Fec{};
  return Error{ErrorCode::VERSION_MISMATCH,
               "the other end knows no forward error correction; leave --fec out, or use --fec off"};
}

}  // namespace penstock::control
