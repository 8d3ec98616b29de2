#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/units.h"

namespace penstock::engine {

/// Which packet numbers were accepted, so that none is accepted twice. Numbers that lie `replay_window_size` or more
/// below the largest are taken for seen: their state is forgotten.
/// Source: RFC 6479's bitmap, where a move of the window clears whole words. Threads: one owner.
/// Memory: 64 KiB.
inline constexpr std::uint64_t replay_window_size = std::uint64_t{1} << 18;  // PROTOCOL section 2: at least

class ReplayWindow {
 public:
  ReplayWindow();

  /// Seen before, or too old to tell. Asked before opening.
  [[nodiscard]] bool is_seen(PacketNumber number) const;
  /// After the tag was right. Requires: !is_seen(number).
  void mark_seen(PacketNumber number);
  /// nullopt before the first.
  [[nodiscard]] std::optional<PacketNumber> largest() const {
    // Here, so that the caller sees through it: returned through memory, the optional is read back wider than it was
    // written, which waits for all stores of the cipher before it (an eighth of the time of a packet).
    if (end_ == 0) return std::nullopt;
    return PacketNumber{end_ - 1};
  }

 private:
  std::vector<std::uint64_t> words_;
  std::uint64_t end_ = 0;  // one past the largest number seen
};

}  // namespace penstock::engine
