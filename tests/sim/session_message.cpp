#include "tests/sim/session_message.h"

#include <algorithm>

namespace penstock::sim {
namespace {

constexpr std::size_t fixed_size = 33;

void put(std::vector<std::byte>& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
}

std::uint64_t take(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes.first(8)) value = value << 8 | std::to_integer<std::uint64_t>(byte);
  return value;
}

}  // namespace

std::vector<std::byte> encode_session_message(const SessionMessage& message) {
  std::vector<std::byte> out{static_cast<std::byte>(message.type)};
  put(out, message.range.begin.value);
  put(out, message.range.end.value);
  put(out,
      message.ratio.sources | std::uint64_t{message.ratio.repairs} << 8 | std::uint64_t{message.ratio.loss_ppm} << 16);
  put(out, message.ratio.window);
  out.insert(out.end(), message.filler.begin(), message.filler.end());
  return out;
}

std::optional<SessionMessage> decode_session_message(std::span<const std::byte> bytes) {
  if (bytes.size() < fixed_size || bytes[0] > static_cast<std::byte>(SessionMessage::Type::filler)) return std::nullopt;
  const auto rest = bytes.subspan(fixed_size);
  const std::uint64_t ratio = take(bytes.subspan(17));
  return SessionMessage{.type = static_cast<SessionMessage::Type>(bytes[0]),
                        .range = {{take(bytes.subspan(1))}, {take(bytes.subspan(9))}},
                        .filler = {rest.begin(), rest.end()},
                        .ratio = {.sources = static_cast<std::uint8_t>(ratio),
                                  .repairs = static_cast<std::uint8_t>(ratio >> 8),
                                  .loss_ppm = static_cast<std::uint32_t>(ratio >> 16),
                                  .window = take(bytes.subspan(25))}};
}

void MessageChecker::on_arrival(std::span<const std::byte> filler) {
  if (expected_.empty() ||
      !std::equal(filler.begin(), filler.end(), expected_.front().begin(), expected_.front().end())) {
    ++wrong_;
    return;
  }
  expected_.pop_front();
  ++delivered_;
}

}  // namespace penstock::sim
