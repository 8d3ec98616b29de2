#include "dataplane/storage/slab_sink_window.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace penstock::storage {

namespace {
// Holes in the map of what will not come only mean that a slab waits for on_quiet, so the bound may be refused.
constexpr std::size_t withheld_intervals_max = 65536;

std::uint64_t number_of(TransferOffset at) { return at.value / slab_bytes; }
}  // namespace

SlabSinkWindow::SlabSinkWindow(SlabAccount& slabs, HandOver hand_over, std::function<void()> on_quiet_lane,
                               std::size_t lanes)
    : slabs_(slabs),
      hand_over_(std::move(hand_over)),
      on_quiet_lane_(std::move(on_quiet_lane)),
      lanes_(lanes),
      withheld_(withheld_intervals_max) {}

std::span<std::byte> SlabSinkWindow::lend(TransferOffset at, std::size_t length) {
  const std::size_t inside = static_cast<std::size_t>(at.value % slab_bytes);
  if (length > slab_bytes - inside) return {};
  const auto found = open_.find(number_of(at));
  if (found == open_.end()) return {};
  return found->second.slab->bytes().subspan(inside, length);
}

void SlabSinkWindow::commit(TransferOffset at, std::size_t length) {
  const auto found = open_.find(number_of(at));
  PENSTOCK_CHECK(found != open_.end());
  note(found, at, length);
}

bool SlabSinkWindow::store(TransferOffset at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t inside = static_cast<std::size_t>(at.value % slab_bytes);
    const std::size_t length = std::min(bytes.size(), slab_bytes - inside);
    auto found = open_.find(number_of(at));
    if (found == open_.end()) {
      // Old partly filled slabs wait for repeats, which may take long: they must not keep new ones from opening.
      const std::size_t could_hold = static_cast<std::size_t>(room() / slab_bytes) + open_.size();
      if (open_.size() >= std::max<std::size_t>(2, could_hold / 2)) evict_one();
      Slab slab = slabs_.take();
      while (!slab && !retained_.empty()) {
        retained_.pop_front();
        slab = slabs_.take();
      }
      if (!slab) {
        // Others of the account may wait for what we keep; and it comes back to us as well.
        if (lanes_ > 1) evict_one();
        return false;
      }
      found = open_
                  .emplace(number_of(at), Open{.slab = std::make_shared<Slab>(std::move(slab)),
                                               .received = bytes::IntervalSet{},
                                               .handed = bytes::IntervalSet{}})
                  .first;
    }
    std::memcpy(found->second.slab->bytes().data() + inside, bytes.data(), length);
    note(found, at, length);
    at = at + length;
    bytes = bytes.subspan(length);
  }
  return true;
}

std::uint64_t SlabSinkWindow::room() const {
  // One that its writer is done with comes back the moment that it is wanted.
  const auto spare = std::count_if(retained_.begin(), retained_.end(),
                                   [](const Retained& retained) { return retained.slab.use_count() == 1; });
  return (std::uint64_t{slabs_.available()} + static_cast<std::uint64_t>(spare)) * slab_bytes / lanes_;
}

std::size_t SlabSinkWindow::spared() const {
  // Siblings were promised their parts of what was available, and can not reach what is retained here.
  return lanes_ == 1 ? retained_slabs_spared : std::max(retained_slabs_spared, retained_.size() * lanes_);
}

std::span<const std::byte> SlabSinkWindow::resident(TransferOffset at, std::size_t length_max) {
  const auto part_of = [&](const Slab& slab, const bytes::IntervalSet& received) -> std::span<const std::byte> {
    const auto run = received.find(at.value);
    if (!run) return {};
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(length_max, run->end - at.value));
    return slab.bytes().subspan(static_cast<std::size_t>(at.value % slab_bytes), length);
  };
  if (const auto found = open_.find(number_of(at)); found != open_.end())
    if (const auto part = part_of(*found->second.slab, found->second.received); !part.empty()) return part;
  for (auto retained = retained_.rbegin(); retained != retained_.rend(); ++retained) {
    if (retained->number != number_of(at)) continue;
    if (const auto part = part_of(*retained->slab, retained->received); !part.empty()) return part;
  }
  return {};
}

void SlabSinkWindow::retain(std::uint64_t bytes) {
  // The first and the last slab of the window may be there in part.
  retained_max_ = bytes == 0 ? 0 : static_cast<std::size_t>(bytes / slab_bytes) + 2;
  drop_retained(retained_max_);
}

void SlabSinkWindow::drop_retained(std::size_t slabs_kept) {
  while (retained_.size() > slabs_kept) retained_.pop_front();
}

void SlabSinkWindow::trim_retained() {
  while (!retained_.empty() && (slabs_.available() < spared() || slabs_.in_use() > slabs_.part()))
    retained_.pop_front();
}

void SlabSinkWindow::on_quiet() {
  // With siblings a slab that is kept may be the one that another lane goes without. What would be retained stays open
  // instead: repeats and recovered bytes come to the same slab, and repair symbols find all of it in one.
  std::size_t kept = lanes_ > 1 ? 0 : slabs_kept_when_quiet;
  trim_retained();
  if (lanes_ == 1 && slabs_.available() >= retained_slabs_spared) {
    const std::size_t beyond = slabs_.in_use() - std::min(slabs_.in_use(), slabs_.part());
    kept = std::max(kept, std::min(retained_max_, open_.size() - std::min(open_.size(), beyond)));
  }
  while (open_.size() > kept) evict_one();
  for (auto at = open_.begin(); at != open_.end(); ++at) hand_new_runs(at);
  if (on_quiet_lane_) on_quiet_lane_();
}

void SlabSinkWindow::flush() {
  while (!open_.empty()) hand_on(open_.begin());
}

void SlabSinkWindow::hand_on_within(TransferRange range) {
  for (auto at = open_.lower_bound(number_of(range.begin));
       at != open_.end() && at->first * slab_bytes < range.end.value;)
    hand_on(at++);
  std::erase_if(retained_, [&](const Retained& retained) {
    return retained.number >= number_of(range.begin) && retained.number * slab_bytes < range.end.value;
  });
}

void SlabSinkWindow::withhold(TransferRange range) {
  (void)withheld_.insert({range.begin.value, range.end.value});
  if (range.empty()) return;
  auto at = open_.lower_bound(number_of(range.begin));
  while (at != open_.end() && at->first * slab_bytes < range.end.value) {
    const auto next = std::next(at);
    if (complete(at->first, at->second)) hand_on(at);
    at = next;
  }
}

void SlabSinkWindow::expect_again(TransferRange range) { (void)withheld_.erase({range.begin.value, range.end.value}); }

void SlabSinkWindow::finish(TransferOffset end) {
  end_ = end;
  if (open_.empty()) return;
  const auto last = std::prev(open_.end());
  if (complete(last->first, last->second)) hand_on(last);
}

void SlabSinkWindow::note(OpenSlabs::iterator which, TransferOffset at, std::size_t length) {
  auto& open = which->second;
  open.received.insert({at.value, at.value + length});
  open.touched = ++turn_;
  if (complete(which->first, open)) hand_on(which);
}

bool SlabSinkWindow::complete(std::uint64_t number, const Open& open) const {
  const std::uint64_t begin = number * slab_bytes;
  const std::uint64_t end = end_ ? std::min(end_->value, begin + slab_bytes) : begin + slab_bytes;
  const std::uint64_t got = open.received.size();
  if (got + begin >= end) return true;
  if (withheld_.empty()) return false;
  return got + withheld_.count_in({begin, std::max(begin, end)}) + begin >= end;
}

void SlabSinkWindow::hand_on(OpenSlabs::iterator which) {
  Open open = std::move(which->second);
  const TransferOffset base{which->first * slab_bytes};
  open_.erase(which);
  FilledSlab filled{.base = base, .slab = std::move(open.slab), .runs = {}};
  if (retained_max_ > 0) {
    retained_.push_back({number_of(base), filled.slab, open.received});
    drop_retained(retained_max_);
    trim_retained();
  }
  if (open.handed.empty()) {
    const auto runs = open.received.intervals();
    filled.runs.assign(runs.begin(), runs.end());
  } else {
    for (const auto& run : open.handed.intervals()) open.received.erase(run);
    const auto runs = open.received.intervals();
    filled.runs.assign(runs.begin(), runs.end());
    if (filled.runs.empty()) return;  // all of it went before
  }
  hand_over_(std::move(filled));
}

void SlabSinkWindow::hand_new_runs(OpenSlabs::iterator which) {
  auto& open = which->second;
  bytes::IntervalSet fresh = open.received;
  for (const auto& run : open.handed.intervals()) fresh.erase(run);
  if (fresh.empty()) return;
  const auto runs = fresh.intervals();
  hand_over_(FilledSlab{
      .base = {which->first * slab_bytes}, .slab = open.slab, .runs = std::vector(runs.begin(), runs.end())});
  open.handed = open.received;
}

void SlabSinkWindow::evict_one() {
  const auto oldest = std::min_element(
      open_.begin(), open_.end(), [](const auto& a, const auto& b) { return a.second.touched < b.second.touched; });
  if (oldest != open_.end()) hand_on(oldest);
}

}  // namespace penstock::storage
