#include "dataplane/engine/fec/held_report.h"

#include <algorithm>

namespace penstock::engine {
namespace {

bool covers(const std::vector<TransferRange>& ranges, TransferOffset at) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const TransferRange& range) { return range.begin <= at && at < range.end; });
}

}  // namespace

void HeldReport::on_recovered(TransferOffset at) {
  ++recovered_;
  if (pieces_.size() >= pieces_max) pieces_.pop_front();
  pieces_.push_back({at, repeats});
}

HeldData HeldReport::next(const ReceivedRanges& ranges) {
  ranges_.clear();
  for (const Piece& piece : pieces_) {
    if (covers(ranges_, piece.at)) continue;
    // Bytes may have been forgotten since: a repair round.
    if (const auto held = ranges.held_around(piece.at)) ranges_.push_back(*held);
    if (ranges_.size() == ranges_told_max) break;
  }
  std::sort(ranges_.begin(), ranges_.end());
  return {.recovered = recovered_, .ranges = ranges_};
}

void HeldReport::on_told() {
  const std::size_t count = pieces_.size();
  for (std::size_t i = 0; i < count; ++i) {
    Piece piece = pieces_.front();
    pieces_.pop_front();
    if (!covers(ranges_, piece.at)) {
      // Those that had no room keep their order, before those that were told; the forgotten ones go with time.
      pieces_.push_back(piece);
    } else if (--piece.left > 0) {
      pieces_.push_back(piece);
    }
  }
  std::stable_sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) { return a.left > b.left; });
}

}  // namespace penstock::engine
