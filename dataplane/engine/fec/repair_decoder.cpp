#include "dataplane/engine/fec/repair_decoder.h"

#include <algorithm>
#include <utility>

#include "common/bytes/give_back.h"

namespace penstock::engine {

std::span<const RepairDecoder::Recovered> RepairDecoder::on_repair(const RepairFrame& frame,
                                                                   const ReceivedRanges& ranges, SinkWindow& window) {
  find_missing(frame.layout, ranges);
  auto which =
      std::find_if(open_.begin(), open_.end(), [&](const Generation& open) { return open.layout == frame.layout; });
  if (missing_.empty()) {
    if (which != open_.end()) drop(which);
    return {};
  }
  if (which != open_.end() && std::any_of(which->repairs.begin(), which->repairs.end(),
                                          [&](const Kept& kept) { return kept.index == frame.index; }))
    return {};
  if (which == open_.end()) {
    if (open_.size() >= generations_max) crowd_out_oldest();
    open_.push_back({.layout = frame.layout, .repairs = {}});
  } else {
    std::rotate(which, std::next(which), open_.end());  // the youngest: it is alive
  }
  open_.back().repairs.push_back({frame.index, {frame.symbol.begin(), frame.symbol.end()}});
  memory_ += frame.symbol.size();
  if (open_.back().repairs.size() >= missing_.size()) {
    const auto recovered = decode(open_.back(), window);
    drop(std::prev(open_.end()));
    return recovered;
  }
  while (memory_ > memory_max_) crowd_out_oldest();
  return {};
}

void RepairDecoder::on_data(TransferRange range) {
  for (Generation& open : open_) open.changed = open.changed || open.layout.touches(range);
}

std::span<const RepairDecoder::Recovered> RepairDecoder::poll(const ReceivedRanges& ranges, SinkWindow& window) {
  for (std::size_t i = 0; i < open_.size();) {
    Generation& open = open_[i];
    if (!open.changed) {
      ++i;
      continue;
    }
    open.changed = false;
    find_missing(open.layout, ranges);
    if (open.repairs.size() < missing_.size()) {
      ++i;
      continue;
    }
    const auto recovered = missing_.empty() ? std::span<const Recovered>{} : decode(open, window);
    drop(open_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!recovered.empty()) return recovered;
  }
  return {};
}

void RepairDecoder::forget(TransferRange range) {
  for (std::size_t i = open_.size(); i-- > 0;)
    if (open_[i].layout.touches(range)) drop(open_.begin() + static_cast<std::ptrdiff_t>(i));
}

void RepairDecoder::rest() {
  if (scratch() <= scratch_kept) return;
  recovered_.clear();
  bytes::give_back(results_);
  padded_.clear();
  padded_used_ = padded_bytes_ = 0;
}

void RepairDecoder::drop(Generations::iterator which) {
  for (const Kept& kept : which->repairs) memory_ -= kept.symbol.size();
  open_.erase(which);
}

void RepairDecoder::crowd_out_oldest() {
  drop(open_.begin());
  ++crowded_out_;
}

void RepairDecoder::find_missing(const RepairLayout& layout, const ReceivedRanges& ranges) {
  missing_.clear();
  for_each_symbol(layout, [&](std::size_t slot, TransferRange range) {
    if (!ranges.first_missing(range).empty()) missing_.push_back(static_cast<std::uint8_t>(slot));
  });
}

std::span<const RepairDecoder::Recovered> RepairDecoder::decode(const Generation& generation, SinkWindow& window) {
  const RepairLayout& layout = generation.layout;
  const std::size_t size = layout.size;
  recovered_.clear();
  padded_used_ = 0;
  std::vector<erasure::Symbol> present;
  bool complete = true;
  std::size_t next_missing = 0;
  for_each_symbol(layout, [&](std::size_t slot, TransferRange range) {
    if (next_missing < missing_.size() && missing_[next_missing] == slot) {
      ++next_missing;
      return;
    }
    const std::byte* bytes = complete ? fetch(range, size, window) : nullptr;
    complete = complete && bytes != nullptr;
    present.push_back({static_cast<std::uint8_t>(slot), bytes});
  });
  if (!complete) {
    ++undecodable_;
    return {};
  }
  std::vector<erasure::Symbol> repairs;
  std::vector<std::byte*> out;
  results_.resize(missing_.size() * size);
  for (std::size_t i = 0; i < missing_.size(); ++i) {
    repairs.push_back({generation.repairs[i].index, generation.repairs[i].symbol.data()});
    out.push_back(results_.data() + i * size);
  }
  code_.recover(size, present, repairs, missing_, out);
  for (std::size_t i = 0; i < missing_.size(); ++i) {
    const TransferRange range = layout.bytes_of(missing_[i]);
    recovered_.push_back({range, std::span(results_).subspan(i * size, static_cast<std::size_t>(range.size()))});
  }
  return recovered_;
}

/// The symbol in one piece, filled up with zeros; null when some of it is not in memory.
const std::byte* RepairDecoder::fetch(TransferRange range, std::size_t size, SinkWindow& window) {
  const auto length = static_cast<std::size_t>(range.size());
  const auto whole = window.resident(range.begin, length);
  if (whole.size() == size) return whole.data();
  if (padded_used_ == padded_.size()) padded_.emplace_back();
  auto& padded = padded_[padded_used_++];
  padded_bytes_ -= padded.capacity();
  padded.assign(size, std::byte{0});
  padded_bytes_ += padded.capacity();
  for (std::size_t at = 0; at < length;) {
    const auto piece = window.resident(range.begin + at, length - at);
    if (piece.empty()) return nullptr;
    std::copy(piece.begin(), piece.end(), padded.begin() + static_cast<std::ptrdiff_t>(at));
    at += piece.size();
  }
  return padded.data();
}

}  // namespace penstock::engine
