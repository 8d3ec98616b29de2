#include "dataplane/engine/ranges/replay_window.h"

#include <algorithm>

#include "common/check.h"

namespace penstock::engine {
namespace {
// Twice the window: a power of two, and the word in which the window ends never holds bits of its other end.
constexpr std::uint64_t word_count = replay_window_size / 64 * 2;
constexpr std::uint64_t word_of(std::uint64_t number) { return number / 64 % word_count; }
constexpr std::uint64_t bit_of(std::uint64_t number) { return std::uint64_t{1} << (number % 64); }
}  // namespace

ReplayWindow::ReplayWindow() : words_(word_count) {}

bool ReplayWindow::is_seen(PacketNumber number) const {
  if (number.value >= end_) return false;
  if (end_ - number.value > replay_window_size) return true;
  return (words_[word_of(number.value)] & bit_of(number.value)) != 0;
}

void ReplayWindow::mark_seen(PacketNumber number) {
  PENSTOCK_CHECK(!is_seen(number));
  if (number.value >= end_) {
    // Words between the old end and the number's own still hold bits of one turn ago.
    const std::uint64_t first_stale = (end_ + 63) / 64;
    const std::uint64_t last_stale = number.value / 64;
    const std::uint64_t stale = last_stale + 1 > first_stale ? last_stale + 1 - first_stale : 0;
    for (std::uint64_t i = 0; i < std::min(stale, word_count); ++i) words_[(last_stale - i) % word_count] = 0;
    end_ = number.value + 1;
  }
  words_[word_of(number.value)] |= bit_of(number.value);
}

}  // namespace penstock::engine
