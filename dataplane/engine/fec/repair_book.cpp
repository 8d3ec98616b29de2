#include "dataplane/engine/fec/repair_book.h"

#include <algorithm>
#include <utility>

#include "common/bytes/give_back.h"
#include "common/check.h"

namespace penstock::engine {
namespace {

using bytes::Interval;

// Repeats of repeats of what was sent before are protected as well, if it was cut on the grid.
constexpr std::uint64_t windows_cut = 3;
// A given ratio closes its groups after so much of the window: more delays repair, less lets a burst hit one
// generation often.
constexpr std::uint64_t group_share = 4;

Interval interval_of(TransferRange range) { return {range.begin.value, range.end.value}; }

void append(std::vector<TransferRange>& ranges, Interval part) { ranges.push_back({{part.begin}, {part.end}}); }

}  // namespace

// --- what to protect ------------------------------------------------------------------------------------------------

bool RepairBook::cuts_data(std::uint64_t ahead, std::uint64_t window) const {
  if (!is_active()) return false;
  return fec_.mode == FecMode::fixed || ahead <= windows_cut * window;
}

void RepairBook::protect_new(const RangeScheduler& scheduler, std::size_t datagram_size, std::uint64_t window) {
  if (!is_active() || fec_.mode != FecMode::fixed) return;
  const std::uint64_t sent_until = scheduler.sent_until().value;
  const std::uint64_t generation = std::uint64_t{ratio_.sources} * symbol_size_for(datagram_size);
  const std::uint64_t group =
      generation * std::clamp<std::uint64_t>(window / group_share / generation, 1, interleave_fixed_max);
  if (sent_until < given_until_ + group) return;
  const Interval within{given_until_, sent_until};
  given_until_ = lay(scheduler, within, datagram_size,
                     {.slots = ratio_.sources,
                      .interleave_max = interleave_fixed_max,
                      .fixed_repairs = ratio_.repairs,
                      .round_trip = {}});
}

void RepairBook::protect_rest(const RangeScheduler& scheduler, std::size_t datagram_size, Duration round_trip) {
  if (!is_active()) return;
  const bool given = fec_.mode == FecMode::fixed;
  const std::uint64_t sent_until = scheduler.sent_until().value;
  const Interval within{std::min(scheduler.oldest_unacknowledged().value, sent_until), sent_until};
  given_until_ = lay(scheduler, within, datagram_size,
                     {.slots = given ? ratio_.sources : slots_max,
                      .interleave_max = interleave_max,
                      .fixed_repairs = given ? std::optional<std::size_t>{ratio_.repairs} : std::nullopt,
                      .round_trip = round_trip});
}

/// Generations over all symbols within that are not protected, and of which no byte is settled: what is settled in part
/// may lie at the end of bytes that the peer never received, and does not have in memory. Returns where it stopped.
std::uint64_t RepairBook::lay(const RangeScheduler& scheduler, Interval within, std::size_t datagram_size,
                              const Plan& plan) {
  const SymbolGrid grid{symbol_size_for(datagram_size)};
  const std::uint64_t end = scheduler.offered().value;
  found_.clear();
  while (within.begin < within.end && symbols_ + found_.size() < symbols_max) {
    const auto open = scheduler.first_outstanding_part({{within.begin}, {within.end}});
    if (open.empty()) {
      within.begin = within.end;
      break;
    }
    const auto bare = protected_.first_gap(interval_of(open));
    if (!bare) {
      within.begin = open.end.value;
      continue;
    }
    const std::uint64_t symbol = grid.symbol_at(bare->begin);
    const Interval whole{grid.begin_of(symbol), std::min(grid.end_of(symbol), end)};
    if (whole.end > within.end) break;  // not all of it was sent
    const TransferRange range{{whole.begin}, {whole.end}};
    if (scheduler.first_outstanding_part(range) == range) found_.push_back(symbol);
    within.begin = whole.end;
  }
  std::span<const std::uint64_t> rest = found_;
  while (!rest.empty()) {
    // A stretch that interleave_max generations reach over, or the rest of an extent; the next one begins where it
    // ends.
    const std::uint64_t extent_end = scheduler.extent_end({grid.begin_of(rest.front())}).value;
    const std::uint64_t reach = std::min(rest.front() + plan.slots * plan.interleave_max, grid.symbol_at(extent_end));
    const auto stop = std::lower_bound(rest.begin(), rest.end(), reach);
    const auto count = static_cast<std::size_t>(stop - rest.begin());
    lay_stretch(rest.first(count), grid, end, plan);
    rest = rest.subspan(count);
  }
  return within.begin;
}

void RepairBook::lay_stretch(std::span<const std::uint64_t> symbols, const SymbolGrid& grid, std::uint64_t end,
                             const Plan& plan) {
  const std::uint64_t first = symbols.front();
  const std::uint64_t stride = (symbols.back() - first) / plan.slots + 1;
  for (std::uint64_t lane = 0; lane < stride; ++lane) {
    Generation generation;
    std::optional<std::uint64_t> base;
    for (const std::uint64_t symbol : symbols) {
      if ((symbol - first) % stride != lane) continue;
      if (!base) base = symbol;
      generation.layout.mask.add(static_cast<std::size_t>((symbol - *base) / stride));
      const std::uint64_t symbol_end = std::min(grid.end_of(symbol), end);
      generation.layout.last = static_cast<std::uint16_t>(symbol_end - grid.begin_of(symbol));
      (void)protected_.insert({grid.begin_of(symbol), symbol_end});
    }
    if (!base) continue;
    generation.layout.base = {grid.begin_of(*base)};
    generation.layout.size = static_cast<std::uint16_t>(grid.size());
    generation.layout.stride = static_cast<std::uint16_t>(stride);
    const std::size_t count = generation.layout.mask.count();
    generation.planned =
        plan.fixed_repairs ? *plan.fixed_repairs : repairs_for(count, ratio_.loss_ppm, plan.round_trip);
    symbols_ += count;
    queue_.push_back(first_serial_ + generations_.size());
    generations_.push_back(std::move(generation));
  }
}

// --- what leaves ----------------------------------------------------------------------------------------------------

std::optional<RepairBook::Outgoing> RepairBook::next(const RangeScheduler& scheduler, SourceWindow& window,
                                                     std::size_t datagram_size, std::deque<Prefetch>& wanted) {
  while (!queue_.empty()) {
    const std::uint64_t serial = queue_.front();
    Generation* const generation = find(serial);
    if (generation == nullptr || generation->over || generation->sent >= generation->planned) {
      queue_.pop_front();
      continue;
    }
    if (generation->layout.size > symbol_size_for(datagram_size)) {  // the path takes less than it did
      queue_.pop_front();
      generation->planned = generation->sent;
      generation->changed = true;
      continue;
    }
    if (!generation->encoded && !encode(*generation, scheduler, window, wanted)) {
      queue_.pop_front();
      if (!generation->over) parked_.push_back(serial);
      continue;
    }
    const std::span<const std::byte> parity = generation->parity;
    return Outgoing{
        .frame = {.layout = generation->layout,
                  .repairs = static_cast<std::uint8_t>(generation->planned),
                  .index = static_cast<std::uint8_t>(generation->sent),
                  .symbol = parity.subspan(generation->sent * generation->layout.size, generation->layout.size)},
        .generation = serial};
  }
  return std::nullopt;
}

void RepairBook::on_sent(TimePoint now, const Outgoing& repair) {
  Generation& generation = *find(repair.generation);
  ++generation.sent;
  ++generation.in_flight;
  generation.last_sent_at = now;
  queue_.pop_front();
  if (generation.sent == generation.planned) {
    parity_bytes_ -= generation.parity.size();
    bytes::give_back(generation.parity);
    generation.changed = true;  // its deadline begins
    return;
  }
  // The generations of a stretch take turns, so that a burst takes little from each; as many as their memory allows.
  const std::size_t each = std::max<std::size_t>(generation.parity.size(), 1);
  const std::size_t turns = std::clamp<std::size_t>(parity_max / each, 1, interleave_max) - 1;
  queue_.insert(queue_.begin() + static_cast<std::ptrdiff_t>(std::min(turns, queue_.size())), repair.generation);
}

bool RepairBook::encode(Generation& generation, const RangeScheduler& scheduler, SourceWindow& window,
                        std::deque<Prefetch>& wanted) {
  // What has arrived since it was laid, in part or whole, is left out.
  RepairLayout layout = generation.layout;
  std::optional<std::size_t> first;
  layout.mask = {};
  for_each_symbol(generation.layout, [&](std::size_t slot, TransferRange range) {
    if (scheduler.first_unsettled_part(range) != range) return let_go(range, left_out_);
    if (!first) {
      first = slot;
      layout.base = range.begin;
    }
    layout.mask.add(slot - *first);
    layout.last = static_cast<std::uint16_t>(range.size());
  });
  if (!left_out_.empty()) deadline_ = TimePoint{};  // the next review hands them on
  symbols_ -= generation.layout.mask.count() - layout.mask.count();
  generation.layout = layout;
  if (layout.mask.empty()) {
    finish(generation);
    return false;
  }

  std::vector<erasure::Symbol> sources;
  std::size_t padded = 0;
  bool complete = true;
  for_each_symbol(layout, [&](std::size_t slot, TransferRange range) {
    const auto length = static_cast<std::size_t>(range.size());
    const auto bytes = window.resident(range.begin, length);
    if (bytes.size() < length) {
      complete = false;
      wanted.push_back({range});
      return;
    }
    const std::byte* symbol = bytes.data();
    if (length < layout.size) {
      if (padded == padded_.size()) padded_.emplace_back();
      padded_[padded].assign(layout.size, std::byte{0});
      std::copy_n(bytes.begin(), length, padded_[padded].begin());
      symbol = padded_[padded++].data();
    }
    sources.push_back({static_cast<std::uint8_t>(slot), symbol});
  });
  if (!complete) return false;
  generation.parity.resize(generation.planned * layout.size);
  parity_bytes_ += generation.parity.size();
  std::vector<std::byte*> out;
  for (std::size_t i = 0; i < generation.planned; ++i) out.push_back(generation.parity.data() + i * layout.size);
  code_.encode(layout.size, sources, 0, out);
  generation.encoded = true;
  return true;
}

void RepairBook::on_source_ready() {
  queue_.insert(queue_.end(), parked_.begin(), parked_.end());
  parked_.clear();
}

// --- what became of it ----------------------------------------------------------------------------------------------

void RepairBook::on_data_sent(TransferRange range) {
  if (protected_.empty()) return;
  (void)protected_.erase(interval_of(range));
  (void)deferred_.erase(interval_of(range));
}

void RepairBook::on_lost(TransferRange range, std::vector<TransferRange>& repeat) {
  Interval part = interval_of(range);
  while (part.begin < part.end) {
    const auto kept = protected_.first_overlap(part);
    const std::uint64_t bare_end = kept ? kept->begin : part.end;
    if (part.begin < bare_end) append(repeat, {part.begin, bare_end});
    if (!kept) return;
    (void)deferred_.insert(*kept);
    const TransferRange waiting{{kept->begin}, {kept->end}};
    for (Generation& generation : generations_)
      generation.changed = generation.changed || (!generation.over && generation.layout.touches(waiting));
    part.begin = kept->end;
  }
}

void RepairBook::on_repair_acked(std::uint64_t serial) {
  Generation* const generation = find(serial);
  if (generation == nullptr || generation->over) return;
  --generation->in_flight;
  ++generation->arrived;
  generation->changed = true;
}

void RepairBook::on_repair_lost(std::uint64_t serial) {
  Generation* const generation = find(serial);
  if (generation == nullptr || generation->over) return;
  --generation->in_flight;
  generation->changed = true;
}

void RepairBook::forget(TransferRange range) {
  (void)deferred_.erase(interval_of(range));
  (void)protected_.erase(interval_of(range));
  // Symbols of what these bytes were are worth nothing any more, and what was kept back for them is to be sent now.
  for (Generation& generation : generations_) {
    if (generation.over || !generation.layout.touches(range)) continue;
    for_each_symbol(generation.layout, [&](std::size_t, TransferRange symbol) { let_go(symbol, left_out_); });
    finish(generation);
  }
  drop_finished();
  if (!left_out_.empty()) deadline_ = TimePoint{};  // the next review hands them on
}

void RepairBook::abandon(std::vector<TransferRange>& repeat) {
  for (const Interval& part : deferred_.intervals()) append(repeat, part);
  repeat.insert(repeat.end(), left_out_.begin(), left_out_.end());
  left_out_.clear();
  deferred_.clear();
  protected_.clear();
  queue_.clear();
  parked_.clear();
  for (Generation& generation : generations_)
    if (!generation.over) finish(generation);
  drop_finished();
  deadline_.reset();
}

void RepairBook::review(TimePoint now, const RangeScheduler& scheduler, Duration round_trip, Duration probe_timeout,
                        std::vector<TransferRange>& repeat) {
  const bool due = deadline_ && *deadline_ <= now;
  deadline_.reset();
  repeat.insert(repeat.end(), left_out_.begin(), left_out_.end());
  left_out_.clear();
  const auto look_again = [&](TimePoint at) { deadline_ = deadline_ ? std::min(*deadline_, at) : at; };
  for (Generation& generation : generations_) {
    if (generation.over) continue;
    const std::size_t unsent = generation.planned - generation.sent;
    const bool resolved = unsent == 0 && generation.in_flight == 0;
    if (resolved && generation.changed) generation.resolved_at = now;
    // Recovery is reported with the acknowledgement that completes it, or one of the next if that one is lost.
    std::optional<TimePoint> end;
    if (unsent == 0 && generation.last_sent_at) end = *generation.last_sent_at + 2 * probe_timeout;
    if (generation.resolved_at) end = *generation.resolved_at + round_trip / 2;
    if (!generation.changed && !due) {
      if (end) look_again(*end);
      continue;
    }
    generation.changed = false;
    std::size_t missing = 0;
    std::size_t lost = 0;
    for_each_symbol(generation.layout, [&](std::size_t, TransferRange range) {
      if (scheduler.first_unsettled_part(range).empty()) return;
      ++missing;
      lost += deferred_.intersects(interval_of(range)) ? 1U : 0U;
    });
    const bool hopeless = lost > unsent + generation.in_flight + generation.arrived;
    const bool late = end && *end <= now;
    if (missing > 0 && !hopeless && !late) {
      if (end) look_again(*end);
      continue;
    }
    failed_ += missing > 0 ? 1U : 0U;
    // What is still on its way, and lost later, waits for this one no more.
    for_each_symbol(generation.layout, [&](std::size_t, TransferRange range) { let_go(range, repeat); });
    finish(generation);
  }
  drop_finished();
}

std::size_t RepairBook::parity_memory() const {
  std::size_t bytes = 0;
  for (const Generation& generation : generations_) bytes += generation.parity.capacity();
  return bytes;
}

RepairBook::Generation* RepairBook::find(std::uint64_t serial) {
  if (serial < first_serial_ || serial - first_serial_ >= generations_.size()) return nullptr;
  return &generations_[static_cast<std::size_t>(serial - first_serial_)];
}

/// No generation speaks for these bytes any more: what of them is lost goes to `repeat`.
void RepairBook::let_go(TransferRange range, std::vector<TransferRange>& repeat) {
  Interval rest = interval_of(range);
  (void)protected_.erase(rest);
  while (const auto part = deferred_.first_overlap(rest)) {
    append(repeat, *part);
    (void)deferred_.erase(*part);
    rest.begin = part->end;
  }
}

void RepairBook::finish(Generation& generation) {
  generation.over = true;
  symbols_ -= generation.layout.mask.count();
  parity_bytes_ -= generation.parity.size();
  bytes::give_back(generation.parity);
}

void RepairBook::drop_finished() {
  while (!generations_.empty() && generations_.front().over) {
    generations_.pop_front();
    ++first_serial_;
  }
}

}  // namespace penstock::engine
