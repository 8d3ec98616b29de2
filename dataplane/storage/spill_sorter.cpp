#include "dataplane/storage/spill_sorter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/bytes/give_back.h"
#include "common/bytes/wire_reader.h"
#include "common/check.h"
#include "dataplane/storage/growing_writer.h"

namespace penstock::storage {

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t length_bytes = 4;
constexpr std::size_t write_bytes = 64 * 1024;

bool before(std::span<const std::byte> a, std::span<const std::byte> b) {
  const int order = std::memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
  return order != 0 ? order < 0 : a.size() < b.size();
}

}  // namespace

/// The records of one run, one after another.
class SpillSorter::RunReader {
 public:
  RunReader(const SpillFile& file, Run run) : file_(&file), at_(run.begin), end_(run.end) {}

  /// False at the end; else current() is the next record.
  [[nodiscard]] Result<bool> next() {
    position_ += size_;
    size_ = 0;
    if (position_ == buffer_.size() && at_ == end_) return false;
    if (auto filled = need(length_bytes); !filled) return std::move(filled).error();
    bytes::WireReader in{std::span{buffer_}.subspan(position_, length_bytes)};
    const std::size_t size = in.u32();
    position_ += length_bytes;
    if (auto filled = need(size); !filled) return std::move(filled).error();
    size_ = size;
    return true;
  }
  [[nodiscard]] std::span<const std::byte> current() const { return std::span{buffer_}.subspan(position_, size_); }

 private:
  [[nodiscard]] Status need(std::size_t count) {
    if (buffer_.size() - position_ >= count) return {};
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(position_));
    position_ = 0;
    const std::size_t kept = buffer_.size();
    const std::uint64_t more = std::min<std::uint64_t>(end_ - at_, std::max(count, page_bytes) - kept);
    PENSTOCK_CHECK(kept + more >= count);
    buffer_.resize(kept + static_cast<std::size_t>(more));
    if (auto read = file_->read(at_, std::span{buffer_}.subspan(kept)); !read) return read;
    at_ += more;
    return {};
  }

  const SpillFile* file_;
  std::uint64_t at_;
  std::uint64_t end_;
  std::vector<std::byte> buffer_;
  std::size_t position_ = 0;
  std::size_t size_ = 0;
};

/// Appends records to a file in pieces of a good size.
class SpillSorter::RunWriter {
 public:
  explicit RunWriter(SpillFile& file) : file_(file), begin_(file.size()) {}
  [[nodiscard]] Status put(std::span<const std::byte> record) {
    GrowingWriter out{buffer_};
    out.u32(static_cast<std::uint32_t>(record.size()));
    buffer_.insert(buffer_.end(), record.begin(), record.end());
    return buffer_.size() < write_bytes ? Status{} : flush();
  }
  [[nodiscard]] Result<Run> finish() {
    if (auto flushed = flush(); !flushed) return std::move(flushed).error();
    return Run{.begin = begin_, .end = file_.size()};
  }

 private:
  [[nodiscard]] Status flush() {
    Status written = file_.append(buffer_);
    buffer_.clear();
    return written;
  }
  SpillFile& file_;
  std::uint64_t begin_;
  std::vector<std::byte> buffer_;
};

SpillSorter::SpillSorter(int directory, std::string_view what, FileCalls& calls)
    : directory_(directory), what_(what), calls_(calls) {}

Status SpillSorter::add(std::span<const std::byte> record) {
  PENSTOCK_CHECK(record.size() <= record_bytes_max);
  const std::size_t used = memory_.size() + slots_.size() * sizeof(Slot);
  if (!slots_.empty() && used + record.size() + sizeof(Slot) > sort_run_bytes) {
    if (auto written = write_run(); !written) return written;
  }
  slots_.push_back(
      {.offset = static_cast<std::uint32_t>(memory_.size()), .size = static_cast<std::uint32_t>(record.size())});
  memory_.insert(memory_.end(), record.begin(), record.end());
  ++records_;
  return {};
}

void SpillSorter::sort_memory() {
  std::sort(slots_.begin(), slots_.end(),
            [this](const Slot& a, const Slot& b) { return before(bytes_of(a), bytes_of(b)); });
}

auto SpillSorter::level(std::size_t number) -> Level& {
  while (levels_.size() <= number) levels_.push_back({.file = SpillFile{directory_, what_, calls_}, .runs = {}});
  return levels_[number];
}

Status SpillSorter::write_run() {
  sort_memory();
  RunWriter writer{level(0).file};
  for (const auto& slot : slots_) {
    if (auto put = writer.put(bytes_of(slot)); !put) return put;
  }
  auto run = writer.finish();
  if (!run) return std::move(run).error();
  levels_[0].runs.push_back(*run);
  memory_.clear();
  slots_.clear();
  // A level that is full becomes one run of the next.
  for (std::size_t number = 0; levels_[number].runs.size() >= sort_runs_max; ++number) {
    RunWriter merged{level(number + 1).file};
    auto& full = levels_[number];
    std::vector<RunReader> readers;
    for (const auto& each : full.runs) readers.emplace_back(full.file, each);
    if (auto status = merge(readers, [&](std::span<const std::byte> record) { return merged.put(record); }); !status) {
      return status;
    }
    auto result = merged.finish();
    if (!result) return std::move(result).error();
    levels_[number + 1].runs.push_back(*result);
    full.runs.clear();
    full.file.clear();
  }
  return {};
}

Status SpillSorter::merge(std::vector<RunReader>& readers, const Use& use) const {
  std::vector<std::size_t> heap;  // of readers with a record, the least first
  const auto after = [&](std::size_t a, std::size_t b) { return before(readers[b].current(), readers[a].current()); };
  for (std::size_t i = 0; i < readers.size(); ++i) {
    auto more = readers[i].next();
    if (!more) return std::move(more).error();
    if (*more) heap.push_back(i);
  }
  std::make_heap(heap.begin(), heap.end(), after);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), after);
    const std::size_t least = heap.back();
    if (auto used = use(readers[least].current()); !used) return used;
    auto more = readers[least].next();
    if (!more) return std::move(more).error();
    if (*more) {
      std::push_heap(heap.begin(), heap.end(), after);
    } else {
      heap.pop_back();
    }
  }
  return {};
}

Status SpillSorter::for_each(const Use& use) {
  if (levels_.empty()) {
    sort_memory();
    for (const auto& slot : slots_) {
      if (auto used = use(bytes_of(slot)); !used) return used;
    }
    return {};
  }
  if (!slots_.empty()) {
    if (auto written = write_run(); !written) return written;
  }
  bytes::give_back(memory_);
  bytes::give_back(slots_);
  std::vector<RunReader> readers;
  for (const auto& each : levels_) {
    for (const auto& run : each.runs) readers.emplace_back(each.file, run);
  }
  return merge(readers, use);
}

}  // namespace penstock::storage
