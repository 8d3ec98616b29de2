#include "tests/sim/memory_sink.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "dataplane/engine/lane_config.h"

namespace penstock::sim {
namespace {

bytes::Interval interval(TransferOffset at, std::size_t length) { return {at.value, at.value + length}; }

}  // namespace

MemorySink::MemorySink(EventQueue& events, std::span<const std::byte> truth, const SinkOptions& options,
                       std::function<void()> on_written)
    : events_(events),
      truth_(truth),
      options_(options),
      on_written_(std::move(on_written)),
      content_(truth.size(), std::byte{0xee}) {}

std::span<std::byte> MemorySink::lend(TransferOffset at, std::size_t length) {
  lent_ = {};
  if (at + length > expected_) return {};  // a forged header may point anywhere
  if (have_.intersects(interval(at, length))) ++violations_.lent_over_accepted;
  Slab* slab = open_slab_at(at.value);
  if (slab == nullptr || at.value + length > slab->base + slab->memory.size()) return {};
  lent_ = {at, at + length};
  return std::span{slab->memory}.subspan(at.value - slab->base, length);
}

void MemorySink::commit(TransferOffset at, std::size_t length) {
  Slab* slab = open_slab_at(at.value);
  if (slab == nullptr || at < lent_.begin || at + length > lent_.end) {
    ++violations_.committed_elsewhere;
    return;
  }
  accept(*slab, at, length);
}

bool MemorySink::store(TransferOffset at, std::span<const std::byte> bytes) {
  if (at + bytes.size() > expected_) {
    ++stores_refused_;
    return false;
  }
  Slab* slab = open_slab_at(at.value);
  if (slab == nullptr) slab = try_open_slab(at.value);
  if (slab == nullptr) {
    ++stores_refused_;
    return false;
  }
  PENSTOCK_CHECK(at.value + bytes.size() <= slab->base + slab->memory.size());  // DATA never crosses a slab
  std::copy(bytes.begin(), bytes.end(), slab->memory.begin() + static_cast<std::ptrdiff_t>(at.value - slab->base));
  accept(*slab, at, bytes.size());
  return true;
}

std::span<const std::byte> MemorySink::resident(TransferOffset at, std::size_t length_max) {
  for (const auto* slabs : {&slabs_, &retained_}) {
    for (const auto& slab : *slabs) {
      const auto run = slab->filled.find(at.value);
      if (!run) continue;
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(run->end - at.value, length_max));
      return std::span{slab->memory}.subspan(static_cast<std::size_t>(at.value - slab->base), length);
    }
  }
  return {};
}

void MemorySink::retain(std::uint64_t bytes) {
  retain_bytes_ = bytes;
  drop_retained();
}

/// Nothing is retained that others could use the room for.
void MemorySink::drop_retained() {
  while (!retained_.empty() && (retained_.size() * engine::slab_size > retain_bytes_ + engine::slab_size ||
                                slabs_.size() + retained_.size() > options_.slabs_max || retain_bytes_ == 0))
    retained_.erase(retained_.begin());
}

std::uint64_t MemorySink::room() const {
  std::uint64_t bytes = (options_.slabs_max - slabs_.size()) * engine::slab_size;
  if (options_.quiet == WhenQuiet::hands_on) return bytes;  // the rest of an open slab may be gone in a moment
  for (const auto& slab : slabs_) {
    if (!slab->writing) bytes += slab->memory.size() - slab->filled.size();
  }
  return bytes;
}

void MemorySink::on_quiet() {
  if (options_.quiet == WhenQuiet::hands_on) flush();
}

void MemorySink::flush() {
  for (const auto& slab : slabs_) {
    if (!slab->writing) write(*slab);
  }
}

void MemorySink::preload(TransferRange range) {
  std::copy(truth_.begin() + static_cast<std::ptrdiff_t>(range.begin.value),
            truth_.begin() + static_cast<std::ptrdiff_t>(range.end.value),
            content_.begin() + static_cast<std::ptrdiff_t>(range.begin.value));
  PENSTOCK_CHECK(have_.insert({range.begin.value, range.end.value}).accepted);
}

void MemorySink::damage(TransferRange range) {
  PENSTOCK_CHECK(is_written());
  std::fill(content_.begin() + static_cast<std::ptrdiff_t>(range.begin.value),
            content_.begin() + static_cast<std::ptrdiff_t>(range.end.value), std::byte{0xee});
  PENSTOCK_CHECK(have_.erase({range.begin.value, range.end.value}).accepted);
}

MemorySink::Slab* MemorySink::open_slab_at(std::uint64_t at) {
  for (const auto& slab : slabs_) {
    if (!slab->writing && at >= slab->base && at < slab->base + slab->memory.size()) return slab.get();
  }
  return nullptr;
}

MemorySink::Slab* MemorySink::try_open_slab(std::uint64_t at) {
  const auto is_open = [](const auto& slab) { return !slab->writing; };
  const auto open = static_cast<std::size_t>(std::count_if(slabs_.begin(), slabs_.end(), is_open));
  const std::size_t could_hold = options_.slabs_max - slabs_.size() + open;
  if (open >= std::max<std::size_t>(2, could_hold / 2) || (open > 0 && slabs_.size() >= options_.slabs_max)) {
    write(**std::find_if(slabs_.begin(), slabs_.end(), is_open));
  }
  if (slabs_.size() >= options_.slabs_max) return nullptr;
  auto slab = std::make_unique<Slab>();
  slab->base = at / engine::slab_size * engine::slab_size;
  slab->memory.resize(std::min(engine::slab_size, content_.size() - slab->base));
  slabs_.push_back(std::move(slab));
  drop_retained();
  return slabs_.back().get();
}

void MemorySink::accept(Slab& slab, TransferOffset at, std::size_t length) {
  const bytes::Interval range = interval(at, length);
  if (have_.insert(range).count != length) ++violations_.accepted_twice;
  slab.filled.insert(range);
  bytes_accepted_ += length;
  const auto expected = truth_.subspan(at.value, length);
  if (!std::equal(expected.begin(), expected.end(),
                  slab.memory.begin() + static_cast<std::ptrdiff_t>(at.value - slab.base))) {
    ++violations_.wrong_bytes;
  }
  if (have_.contains({slab.base, slab.base + slab.memory.size()})) write(slab);
}

/// Later bytes of the same slab go to a new one: what is being written does not change any more.
void MemorySink::write(Slab& slab) {
  slab.writing = true;
  events_.schedule(events_.now() + options_.latency, [this, id = &slab] { finish_writing(id); });
}

void MemorySink::finish_writing(const Slab* id) {
  const auto place = std::find_if(slabs_.begin(), slabs_.end(), [id](const auto& slab) { return slab.get() == id; });
  PENSTOCK_CHECK(place != slabs_.end());
  const Slab& slab = **place;
  for (const bytes::Interval& run : slab.filled.intervals()) {
    std::copy_n(slab.memory.begin() + static_cast<std::ptrdiff_t>(run.begin - slab.base), run.size(),
                content_.begin() + static_cast<std::ptrdiff_t>(run.begin));
  }
  retained_.push_back(std::move(*place));
  slabs_.erase(place);
  drop_retained();
  on_written_();
}

}  // namespace penstock::sim
