#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "dataplane/storage/spill_file.h"

namespace penstock::storage {

// Tuning: a sorted run is made in so much memory; smaller runs mean more of them to merge.
inline constexpr std::size_t sort_run_bytes = 256 * 1024;
// So many runs become one of the next level: 16 MiB, 1 GiB, 64 GiB. More runs need a read buffer each.
inline constexpr std::size_t sort_runs_max = 64;

/// Puts any number of byte strings in ascending order (as memcmp, a prefix first) with little memory: runs are sorted
/// in memory, appended to spill files, and merged. Memory: sort_run_bytes while records come, then a page for each run,
/// a few hundred KiB in all; more only where single records are longer than a page. Bound: record_bytes_max each; the
/// spill files' limits. Threads: one owner.
class SpillSorter {
 public:
  static constexpr std::size_t record_bytes_max = 128 * 1024;

  /// `directory` is borrowed, -1 for memory; `what` names it in errors.
  SpillSorter(int directory, std::string_view what, FileCalls& calls = FileCalls::kernel());

  /// Requires: at most record_bytes_max bytes. After an error the sorter is of no more use.
  [[nodiscard]] Status add(std::span<const std::byte> record);
  [[nodiscard]] std::uint64_t records() const { return records_; }

  /// Each record, ascending, equal ones in a row; the view is good for that call alone. Ends at the first error of
  /// `use`. May be called again, but not mixed with add.
  using Use = std::function<Status(std::span<const std::byte>)>;
  [[nodiscard]] Status for_each(const Use& use);

 private:
  struct Run {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  struct Level {
    SpillFile file;
    std::vector<Run> runs;
  };
  struct Slot {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
  };
  class RunReader;
  class RunWriter;

  void sort_memory();
  [[nodiscard]] std::span<const std::byte> bytes_of(const Slot& slot) const {
    return std::span{memory_}.subspan(slot.offset, slot.size);
  }
  [[nodiscard]] Status write_run();
  [[nodiscard]] Level& level(std::size_t number);
  [[nodiscard]] Status merge(std::vector<RunReader>& readers, const Use& use) const;

  int directory_;
  std::string what_;
  FileCalls& calls_;
  std::uint64_t records_ = 0;
  std::vector<std::byte> memory_;
  std::vector<Slot> slots_;
  std::deque<Level> levels_;
};

}  // namespace penstock::storage
