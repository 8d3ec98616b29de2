#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/units.h"
#include "dataplane/storage/file_calls.h"

namespace penstock::storage {

// Tuning: what one file beside the data (a manifest's pages, a receipt's list, a journal) may take of the state
// directory. A million files of usual names come to 0.1 to 0.3 GiB each. Less refuses large trees; more lets one client
// fill a larger disk.
inline constexpr std::uint64_t state_file_bytes_max = std::uint64_t{8} << 30;
// What stays free of the state directory's file system for the registry, receipts and others' journals; of a small one
// a twentieth.
inline constexpr std::uint64_t state_reserve_bytes = 256 * MiB;
inline constexpr std::uint64_t state_reserve_divisor = 20;
// The file system is asked once for so many bytes, so that small transfers never ask.
inline constexpr std::uint64_t state_check_step = 4 * MiB;

/// Keeps what a peer makes us remember from filling the state directory: one for each file that grows there.
/// Threads: one owner.
class StateSpace {
 public:
  /// `directory` is borrowed; `what` names the file in errors. -1: no limit but the file's own.
  StateSpace(int directory, std::string_view what, FileCalls& calls, std::uint64_t bytes_max = state_file_bytes_max)
      : directory_(directory), what_(what), calls_(&calls), bytes_max_(bytes_max) {}

  /// The file is about to reach `size`. QUOTA_EXCEEDED beyond its limit, NO_SPACE where the reserve would be touched;
  /// both name the directory.
  [[nodiscard]] Status allow(std::uint64_t size);
  /// The file is empty again.
  void restart() { checked_ = 0; }

 private:
  int directory_;
  std::string what_;
  FileCalls* calls_;
  std::uint64_t bytes_max_;
  std::uint64_t checked_ = 0;  // sizes up to here were asked about
};

}  // namespace penstock::storage
