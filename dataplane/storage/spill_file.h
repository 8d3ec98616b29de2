#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "dataplane/storage/file_calls.h"
#include "dataplane/storage/state_space.h"

namespace penstock::storage {

/// What a transfer has to remember and memory should not: bytes appended to an unlinked file in the state directory,
/// which goes with the transfer however that ends. Short contents never reach the disk.
/// Bound: state_space.h. Threads: one owner, or a lock of the owner's.
class SpillFile {
 public:
  /// `directory` is borrowed; -1: everything stays in memory. `what` names it in errors ("manifest").
  SpillFile(int directory, std::string_view what, FileCalls& calls = FileCalls::kernel());

  /// The content grows by `bytes`. IO_ERROR, NO_SPACE, QUOTA_EXCEEDED: it is as before.
  [[nodiscard]] Status append(std::span<const std::byte> bytes);
  /// Fills `into` from `at` on. Requires: all of it was appended.
  [[nodiscard]] Status read(std::uint64_t at, std::span<std::byte> into) const;
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Forgets everything.
  void clear();

 private:
  [[nodiscard]] Status open();
  [[nodiscard]] Status write(std::span<const std::byte> bytes, std::uint64_t at);

  int directory_;
  std::string what_;
  FileCalls* calls_;
  StateSpace space_;
  UniqueFd file_;
  std::uint64_t size_ = 0;
  std::vector<std::byte> memory_;  // all of it, until there is a file
};

}  // namespace penstock::storage
